//! Log lines, spans and metrics.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::log_topic::LogTopic;
use crate::otlp;

const UPKEEP: Duration = Duration::from_secs(5);

/// How a process writes its log lines.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(crate) struct Settings {
    /// Which log lines are written.
    #[arg(long, env = "RUST_LOG", default_value = "info,sqlx=warn,actix_server=warn", value_parser = parse_filter)]
    log: String,

    /// Plain lines for people, JSON for machines.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = Format::Plain)]
    log_format: Format,

    /// An OpenTelemetry collector, for traces: OTLP over HTTP. None where this is empty. The SDK's
    /// own variables hold besides, as OTEL_TRACES_SAMPLER.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        default_value = "",
        hide_default_value = true
    )]
    otlp_endpoint: otlp::Endpoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Plain,
    Json,
}

fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Log lines to standard error, and to topic `log` once the service is connected; spans to a
/// collector, where one is named.
///
/// # Errors
/// Naming the setting that is wrong.
pub(crate) fn start(
    settings: &Settings,
    service: &'static str,
) -> anyhow::Result<Option<otlp::Export>> {
    let export = otlp::start(&settings.otlp_endpoint, service)?;
    let spans = otlp::tracer().map(|tracer| {
        tracing_opentelemetry::layer()
            .with_tracer(tracer.clone())
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(LevelFilter::INFO)
    });
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.log_format {
        Format::Json => lines.json().flatten_event(true).boxed(),
        Format::Plain => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(ansi).with_target(false).boxed()
        }
    };
    // A batch of spans that is not sent is told by `otlp`, once an outage and with its cause.
    let told = filter_fn(|line| {
        !line.target().starts_with("opentelemetry") || !line.name().contains("Export")
    });
    let lines = lines.and_then(LogTopic::new(service));
    // A second call in one process (tests) finds it done.
    let _ = tracing_subscriber::registry()
        .with(spans)
        .with(lines.with_filter(EnvFilter::new(&settings.log).and(told)))
        .try_init();
    Ok(export)
}

/// The process's metrics, as Prometheus reads them.
pub(crate) fn metrics() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE.get_or_init(|| PrometheusBuilder::new().install_recorder().ok()).as_ref()
}

/// Folds samples into their summaries until the service stops: else those of a process that
/// nobody scrapes would pile up.
pub(crate) async fn keep_up(mut stopping: watch::Receiver<bool>) {
    let stopped = async {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            () = tokio::time::sleep(UPKEEP) => {}
        }
        if let Some(metrics) = metrics() {
            metrics.run_upkeep();
        }
    }
}
