//! The web page and Mailpit's API, on actix-web.

mod api;
mod page;
mod part;
mod search;
mod shape;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{Data, PayloadConfig, ServiceConfig, block};
use actix_web::{App, HttpResponse, HttpServer, ResponseError};
use tokio::sync::watch;

use crate::mail::Mail;
use crate::store::Store;

/// What the pages may load: their style sheet, the mail's own frame, and
/// nothing from anywhere else. No script runs.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; frame-src 'self'; \
    img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Bytes of a request: the ids of all mails to be deleted are the most.
const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// Serves until `stop` says so, or its sender is gone; not at all without a
/// listener.
pub(crate) async fn serve(
    listener: Option<TcpListener>,
    store: Arc<Store>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let Some(listener) = listener else { return Ok(()) };
    let app = move || {
        let headers = DefaultHeaders::new()
            .add(("X-Content-Type-Options", "nosniff"))
            .add(("Referrer-Policy", "no-referrer"))
            .add(("Cross-Origin-Resource-Policy", "same-origin"))
            .add(("Cache-Control", "no-store"))
            .add(("Content-Security-Policy", PAGE_POLICY));
        App::new()
            .wrap(headers)
            .app_data(PayloadConfig::new(MAX_REQUEST))
            .app_data(Data::from(Arc::clone(&store)))
            .configure(routes)
    };
    let server = HttpServer::new(app)
        .workers(1)
        .worker_max_blocking_threads(8)
        .max_connections(256)
        .client_request_timeout(Duration::from_secs(10))
        .disable_signals()
        .listen(listener)?
        .run();
    let handle = server.handle();
    let stopped = async {
        _ = stop.wait_for(|stop| *stop).await;
        handle.stop(false).await;
    };
    tokio::join!(server, stopped).0
}

fn routes(config: &mut ServiceConfig) {
    api::routes(config);
    page::routes(config);
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("404 page not found")]
    NotFound,
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("the mail could not be read")]
    Unreadable,
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        match self {
            Failure::NotFound => StatusCode::NOT_FOUND,
            Failure::BadRequest(_) => StatusCode::BAD_REQUEST,
            Failure::Unreadable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code())
            .content_type("text/plain; charset=utf-8")
            .body(self.to_string())
    }
}

/// A mail dropped while it is being read is as good as one that never was.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound {
            return Failure::NotFound;
        }
        tracing::error!(%error, "a mail could not be read");
        Failure::Unreadable
    }
}

/// Runs `read`, which may read files and parse, off the server's thread.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    block(read).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request panicked");
        Err(Failure::Unreadable)
    })
}

/// Reads from the mail of that id, off the server's thread.
async fn with_mail<T: Send + 'static>(
    store: Data<Store>,
    id: String,
    read: impl FnOnce(&Mail) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    blocking(move || read(&*store.get(&id).ok_or(Failure::NotFound)?)).await
}
