//! Log lines and metrics.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::watch;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::log_topic::LogTopic;

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Plain,
    Json,
}

fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Log lines to standard error, and to topic `log` once the service is connected.
pub(crate) fn log(settings: &Settings, service: &'static str) {
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.log_format {
        Format::Json => lines.json().flatten_event(true).boxed(),
        Format::Plain => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(ansi).with_target(false).boxed()
        }
    };
    // A second call in one process (tests) finds it done.
    let _ = tracing_subscriber::registry()
        .with(EnvFilter::new(&settings.log))
        .with(lines)
        .with(LogTopic::new(service))
        .try_init();
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
