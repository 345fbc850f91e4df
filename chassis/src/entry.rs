//! A service's `main`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use sqlx::postgres::PgPoolOptions;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Descriptor, Service, Settings, health, telemetry};

/// A service's command line: its settings, and what it can be asked to do instead of running.
pub fn command<S: Args>(descriptor: &Descriptor) -> Command {
    let command = Command::new(descriptor.name).no_binary_name(true);
    telemetry::Settings::augment_args(S::augment_args(command))
        .subcommand(
            Command::new("migrate")
                .about("Makes the log, its topics and this service's schema; needs an owner's URL"),
        )
        .subcommand(
            Command::new("health")
                .about("Asks the service that listens on HTTP_ADDR whether it is ready"),
        )
}

/// Runs a service until SIGTERM or SIGINT; with `migrate` makes its schema, with `health` asks
/// whether it is ready.
///
/// `args` are the command line without the program's name; `start` builds the service up
/// from its settings.
pub fn main<S, F>(
    descriptor: Descriptor,
    args: impl IntoIterator<Item = OsString>,
    start: impl FnOnce(S) -> F,
) -> ExitCode
where
    S: Args,
    F: Future<Output = anyhow::Result<Service>>,
{
    let matches = command::<S>(&descriptor).get_matches_from(args);
    let result = match matches.subcommand_name() {
        Some("health") => health::ask(parsed::<Settings>(&matches).http_addr(&descriptor)),
        Some("migrate") => {
            let settings = parsed(&matches);
            block_on(told(&matches, &descriptor, migrate(&descriptor, settings)))
        }
        _ => {
            let settings = parsed(&matches);
            block_on(told(&matches, &descriptor, serve(async { start(settings).await })))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", descriptor.name);
            ExitCode::FAILURE
        }
    }
}

fn parsed<S: FromArgMatches>(matches: &ArgMatches) -> S {
    S::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

fn block_on(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    // Connections live on the runtime that opens them: not on the HTTP workers' threads.
    let system = actix_rt::System::with_tokio_rt(|| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all();
        runtime.build().unwrap_or_else(|error| panic!("no threads to run on: {error}"))
    });
    system.block_on(task)
}

/// Does something with its log lines and spans going where they are to.
async fn told(
    matches: &ArgMatches,
    descriptor: &Descriptor,
    task: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let export = telemetry::start(&parsed(matches), descriptor.name)?;
    let result = task.await;
    if let Some(export) = export {
        export.stop().await;
    }
    result
}

async fn migrate(descriptor: &Descriptor, settings: Settings) -> anyhow::Result<()> {
    let url = settings.database_url()?;
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await;
    let pool = pool.context("cannot use the database: is DATABASE_URL right?")?;
    crate::migrate(&pool, descriptor).await
}

async fn serve(start: impl Future<Output = anyhow::Result<Service>>) -> anyhow::Result<()> {
    // Before the start: the first process of a container is sent no signal that it does not
    // handle.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut asked_to_stop = async || {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let service = tokio::select! {
        service = start => service?,
        () = asked_to_stop() => return Ok(()),
    };
    asked_to_stop().await;
    service.stop().await;
    Ok(())
}
