//! A service's `main`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command};
use sqlx::postgres::PgPoolOptions;
use tokio::signal::unix::{SignalKind, signal};

use crate::{Descriptor, Service, telemetry};

/// Runs a service until SIGTERM or SIGINT, or with `migrate` makes its schema.
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
    telemetry::log();
    let command =
        S::augment_args(Command::new(descriptor.name).no_binary_name(true))
            .subcommand(Command::new("migrate").about(
                "Makes the log, its topics and this service's schema; needs an owner's URL",
            ));
    let matches = command.get_matches_from(args);
    let settings = S::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let database_url = matches.get_one::<String>("database_url").cloned().unwrap_or_default();
    let migrating = matches.subcommand_name() == Some("migrate");

    // Connections live on the runtime that opens them: not on the HTTP workers' threads.
    let system = actix_rt::System::with_tokio_rt(|| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all();
        runtime.build().unwrap_or_else(|error| panic!("no threads to run on: {error}"))
    });
    let result = system.block_on(async {
        if migrating {
            let pool = PgPoolOptions::new().max_connections(1).connect(&database_url).await;
            let pool = pool.context("cannot use the database: is DATABASE_URL right?")?;
            return crate::migrate(&pool, &descriptor).await;
        }
        let service = start(settings).await?;
        asked_to_stop().await?;
        service.stop().await;
        Ok(())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", descriptor.name);
            ExitCode::FAILURE
        }
    }
}

async fn asked_to_stop() -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
