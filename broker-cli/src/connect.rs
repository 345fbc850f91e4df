//! Finding the log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::{Broker, Options};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, filter};

use crate::cli::Global;
use crate::failure::{NoAnswer, Usage};

/// A host that drops what is sent to it would be waited for over two minutes.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// `--url` or `BROKER_URL`, which the parser has read, else `DATABASE_URL`.
pub fn url(global: &Global) -> Result<String, Usage> {
    let url = global.url.clone().or_else(|| std::env::var("DATABASE_URL").ok());
    url.filter(|url| !url.is_empty()).ok_or_else(|| {
        Usage("which log? --url postgres://user:password@host:5432/database, or BROKER_URL".into())
    })
}

/// Connects, and sees to it that all that was published before now has its offset: another
/// command may have published it, and ended before a sequencer came by.
pub async fn connect(global: &Global) -> anyhow::Result<Broker> {
    let options = Options::new(url(global)?).application_name("broker-cli").max_connections(4);
    let connected = tokio::time::timeout(PATIENCE, options.connect()).await;
    let broker = connected.map_err(|_| NoAnswer)??;
    broker.sequenced().await?;
    Ok(broker)
}

static ENDING: AtomicBool = AtomicBool::new(false);

/// What is given up on the way out is given up on purpose.
pub fn ending() {
    ENDING.store(true, Ordering::Relaxed);
}

/// The crate's own log lines go to standard error: trouble always, all else when asked for.
pub fn tell(verbose: bool) {
    // The driver's warnings are of connections, and what comes of them is told anyway.
    let default = if verbose { "info" } else { "warn,sqlx=error" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .with_filter(filter)
        .with_filter(filter::dynamic_filter_fn(move |_, _| {
            verbose || !ENDING.load(Ordering::Relaxed)
        }));
    // Set once, at the start.
    let _ = tracing_subscriber::registry().with(lines).try_init();
}
