//! The HTTP shell around a service's routes: limits, errors, health, metrics, description.

use std::net::SocketAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::{Compress, Next, from_fn};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{
    App, HttpMessage, HttpRequest, HttpResponse, HttpServer, Responder, ResponseError,
};
use opentelemetry::trace::FutureExt;
use sqlx::PgPool;

use crate::{Problem, Step, Trace, otlp, telemetry};

/// The largest body that is read.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

pub(crate) fn start(
    addr: SocketAddr,
    grace_seconds: u64,
    pool: PgPool,
    api: utoipa::openapi::OpenApi,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> std::io::Result<(SocketAddr, Server)> {
    let api = Data::new(api);
    let server = HttpServer::new(move || {
        App::new()
            .wrap(Compress::default())
            .wrap(from_fn(explain))
            .wrap(from_fn(follow))
            .app_data(Data::new(pool.clone()))
            .app_data(api.clone())
            .app_data(json_config())
            .app_data(web::PathConfig::default().error_handler(|error, _| {
                Problem::not_found(format!("the address is not valid here: {error}")).into()
            }))
            .app_data(web::QueryConfig::default().error_handler(|error, _| {
                Problem::bad_request(format!("the query is not valid: {error}")).into()
            }))
            .route("/healthz", web::get().to(healthz))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics))
            .route("/openapi.json", web::get().to(openapi))
            .configure(&routes)
            .default_service(web::to(|request: HttpRequest| async move {
                Problem::not_found(format!("nothing is at {}", request.path())).error_response()
            }))
    })
    .workers(2)
    .disable_signals()
    .shutdown_timeout(grace_seconds)
    .bind(addr)?;
    let addr = server.addrs().first().copied().unwrap_or(addr);
    Ok((addr, server.run()))
}

fn json_config() -> web::JsonConfig {
    use actix_web::error::JsonPayloadError::*;
    web::JsonConfig::default().limit(MAX_BODY_BYTES).error_handler(|error, _| {
        let status = match &error {
            Overflow { .. } | OverflowKnownLength { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Deserialize(error) if error.is_data() => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::BAD_REQUEST,
        };
        let detail = match &error {
            ContentType => "the body must be sent as content-type: application/json".to_owned(),
            Overflow { .. } | OverflowKnownLength { .. } => {
                format!("the body has more than {MAX_BODY_BYTES} bytes")
            }
            error => format!("the body is not valid: {error}"),
        };
        Problem::new(status, detail).into()
    })
}

/// Gives errors that the framework makes without a body, as 405, their explanation.
async fn explain(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let response = next.call(request).await?;
    let status = response.status();
    let bare = status.is_client_error() && !response.headers().contains_key(header::CONTENT_TYPE);
    if !bare {
        return Ok(response.map_into_left_body());
    }
    let (request, old) = response.into_parts();
    let detail = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            format!("{} is not allowed for {}", request.method(), request.path())
        }
        status => status.canonical_reason().unwrap_or("refused").to_lowercase(),
    };
    let mut response = Problem::new(status, detail).error_response();
    if let Some(allow) = old.headers().get(header::ALLOW) {
        response.headers_mut().insert(header::ALLOW, allow.clone());
    }
    Ok(ServiceResponse::new(request, response).map_into_right_body())
}

/// Makes a request a step of its trace. What is asked for again and again by machines is none.
async fn follow(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if otlp::tracer().is_none() || ["/healthz", "/readyz", "/metrics"].contains(&request.path()) {
        return next.call(request).await;
    }
    let step = Step::serve(&request);
    request.extensions_mut().insert(step.trace().clone());
    let response = next.call(request).with_context(step.context()).await?;
    step.answered(&response);
    Ok(response)
}

/// The trace that a request continues or starts.
pub fn trace_of(request: &HttpRequest) -> Trace {
    if let Some(trace) = request.extensions().get::<Trace>() {
        return trace.clone();
    }
    let header = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    Trace::from_header(header)
}

async fn healthz() -> impl Responder {
    no_store(HttpResponse::Ok().body("alive\n"))
}

async fn readyz(pool: Data<PgPool>) -> Result<HttpResponse, Problem> {
    sqlx::query("select 1")
        .execute(&**pool)
        .await
        .map_err(|_| Problem::overloaded("the database cannot be reached", 1))?;
    Ok(no_store(HttpResponse::Ok().body("ready\n")))
}

fn no_store(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn metrics() -> impl Responder {
    let text = telemetry::metrics().map(|metrics| metrics.render()).unwrap_or_default();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text)
}

async fn openapi(api: Data<utoipa::openapi::OpenApi>) -> impl Responder {
    HttpResponse::Ok().json(&**api)
}
