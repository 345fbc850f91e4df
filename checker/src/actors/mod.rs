//! The processes under test: each with a broker, a history and nothing in common with the
//! others but the database.

mod member;
mod producer;
mod reader;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use broker::Broker;
use tokio::signal::unix::{SignalKind, signal};

use crate::history::Recorder;

/// What a process under test is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Sends records.
    Producer,
    /// Handles them in the consumer group.
    Member,
    /// Reads all of them without a group.
    Reader,
}

/// What a process under test is told; its parent, `run`, fills it in.
#[derive(Debug, clap::Args)]
pub struct ActorOptions {
    /// What to be.
    #[arg(long)]
    pub role: Role,
    /// The name, as `p1`; and `application_name` in the database.
    #[arg(long)]
    pub name: String,
    /// Which life of that name this is.
    #[arg(long)]
    pub life: u32,
    /// The log.
    #[arg(long, env = "CHECKER_URL", hide_env_values = true)]
    pub url: String,
    /// The file to write the history to.
    #[arg(long)]
    pub history: PathBuf,
    /// What this life's random choices come from.
    #[arg(long)]
    pub seed: u64,
    /// Records a second that a producer aims at.
    #[arg(long)]
    pub rate: f64,
}

/// Runs until it is asked to end with SIGTERM.
///
/// # Errors
/// Where the history cannot be written: it would prove nothing.
pub async fn act(options: ActorOptions) -> anyhow::Result<()> {
    let _ = tracing_subscriber::fmt()
        .with_env_filter("broker=info,warn")
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .try_init();
    let mut terminate = signal(SignalKind::terminate()).context("no handler for SIGTERM")?;
    let recorder = Recorder::create(&options.history)?;
    let broker = tokio::select! {
        broker = connect(&options) => broker,
        _ = terminate.recv() => return Ok(()),
    };
    let stop = async move {
        terminate.recv().await;
    };
    match options.role {
        Role::Producer => producer::run(&options, broker.clone(), recorder, stop).await?,
        Role::Member => member::run(&options, broker.clone(), recorder, stop).await?,
        Role::Reader => reader::run(&options, broker.clone(), recorder, stop).await?,
    }
    broker.shutdown().await;
    Ok(())
}

/// The server may be down just now.
async fn connect(options: &ActorOptions) -> Broker {
    loop {
        let broker = broker::Options::new(&options.url)
            .application_name(&options.name)
            .max_connections(6)
            .connect();
        match broker.await {
            Ok(broker) => return broker,
            Err(error) => eprintln!("not connected yet: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
