//! Spans to an OpenTelemetry collector, where a setting names one.
//!
//! What to sample, how many spans wait and how long for company is the SDK's to read from its
//! standard variables. Nothing waits for the collector: what the queue cannot hold, or the
//! collector does not take, is dropped.

use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, ResponseBodyTooLarge};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{info, warn};
use url::Url;

/// What a collector that hangs costs an attempt, and the spans of the last seconds a stop.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER_BYTES: usize = 64 * 1024;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Makes spans, where they are exported.
pub(crate) fn tracer() -> Option<&'static SdkTracer> {
    TRACER.get()
}

/// The spans' way out.
pub(crate) struct Export(SdkTracerProvider);

/// A collector's address, if there is one: an empty setting is none.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint(Option<Url>);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        if text.is_empty() {
            return Ok(Endpoint(None));
        }
        let url: Option<Url> = text.parse().ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
        url.map(|url| Endpoint(Some(url)))
            .ok_or("must be a URL like http://127.0.0.1:4318".to_owned())
    }
}

/// Starts to export, where a collector is named. Needs a runtime, on which it sends.
///
/// # Errors
/// Where a variable of the SDK's is wrong, naming it.
pub(crate) fn start(endpoint: &Endpoint, service: &'static str) -> anyhow::Result<Option<Export>> {
    let Endpoint(Some(endpoint)) = endpoint else { return Ok(None) };
    let client = Client {
        http: reqwest::Client::builder().timeout(PATIENCE).build()?,
        runtime: Handle::current(),
        fails: AtomicBool::new(false),
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')))
        .build()
        .context("spans cannot be exported")?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource(service))
        .build();
    TRACER.get_or_init(|| provider.tracer("chassis"));
    Ok(Some(Export(provider)))
}

/// What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say; the service's name where they say none.
fn resource(service: &'static str) -> Resource {
    let told = Resource::builder().build();
    let name = told.get(&"service.name".into()).map(|name| name.to_string());
    match name.filter(|name| !name.starts_with("unknown_service")) {
        Some(_) => told,
        None => Resource::builder().with_service_name(service).build(),
    }
}

impl Export {
    /// Sends what waits, if the collector takes it soon.
    pub async fn stop(self) {
        // It blocks, and sends on this runtime meanwhile.
        let stop = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(PATIENCE));
        if let Ok(Err(error)) = stop.await {
            warn!("the last spans were not sent: {error}");
        }
    }
}

/// Sends from the exporter's own thread, which has no runtime.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    fails: AtomicBool,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri().clone();
        let sent = self.runtime.spawn(send(self.http.clone(), request)).await;
        let sent = sent.map_err(HttpError::from).flatten();
        let trouble = match &sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(error) => Some(with_causes(&**error)),
        };
        let fails = trouble.is_some();
        // Once an outage, not once a batch.
        match (trouble, self.fails.swap(fails, Ordering::Relaxed)) {
            (Some(trouble), false) => {
                warn!("spans are not sent to {uri} and will be dropped: {trouble}")
            }
            (None, true) => info!("spans are sent to {uri} again"),
            _ => {}
        }
        sent
    }
}

async fn send(
    http: reqwest::Client,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            return Err(ResponseBodyTooLarge::new().into());
        }
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}

/// An error of the client's says what failed, and its causes why.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
