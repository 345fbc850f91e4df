//! The API: `GET /status` and `POST /changes`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data, Json, JsonConfig};
use actix_web::{App, HttpResponse, HttpServer, body::MessageBody};
use anyhow::Context;
use chassis::{Problem, same_secret};
use dashboard::control::{CHANGES_PATH, Change, STATUS_PATH, Status};
use tokio::task::JoinHandle;

use super::Control;

const MAX_CHANGE_BYTES: usize = 4096;
const MAX_CONNECTIONS: usize = 64;

/// A port on loopback, and the token of whoever may ask there: another one each start.
pub struct Listener {
    listener: TcpListener,
    pub url: String,
    pub token: String,
}

impl Listener {
    pub fn bind(token: String) -> anyhow::Result<Listener> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .context("no free port on 127.0.0.1 for the page that breaks things")?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Listener { listener, url, token })
    }
}

/// The API, served.
pub struct Server {
    control: Arc<Control>,
    handle: ServerHandle,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub fn start(listener: Listener, control: Control) -> anyhow::Result<Server> {
        let control = Arc::new(control);
        let (shared, token) = (control.clone(), listener.token);
        let server = HttpServer::new(move || {
            let token = token.clone();
            App::new()
                .wrap(from_fn(move |request, next| admit(token.clone(), request, next)))
                .app_data(Data::from(shared.clone()))
                .app_data(JsonConfig::default().limit(MAX_CHANGE_BYTES).error_handler(
                    |error, _| Problem::bad_request(format!("this is no change: {error}")).into(),
                ))
                .route(STATUS_PATH, web::get().to(status))
                .route(CHANGES_PATH, web::post().to(change))
        })
        .workers(1)
        .max_connections(MAX_CONNECTIONS)
        .disable_signals()
        .listen(listener.listener)?
        .run();
        let handle = server.handle();
        Ok(Server { control, handle, task: tokio::spawn(server) })
    }

    /// Ends it, and what was started by it.
    pub async fn stop(self) {
        self.handle.stop(false).await;
        let _ = self.task.await;
        self.control.burst.abort();
        self.control.count.abort();
    }
}

async fn admit(
    token: String,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let shown = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    let shown = shown.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
    if !same_secret(shown, token.as_bytes()) {
        let detail = "only the dashboard that `waybill up` started may ask here";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail).into());
    }
    next.call(request).await
}

async fn status(control: Data<Control>) -> Json<Status> {
    Json(control.status().await)
}

async fn change(control: Data<Control>, change: Json<Change>) -> Result<HttpResponse, Problem> {
    control.change(change.into_inner()).await?;
    Ok(HttpResponse::NoContent().finish())
}
