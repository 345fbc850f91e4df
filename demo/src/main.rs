//! `waybill`: the whole system on one machine, to watch, to break and to count after.
//!
//! - [`up`] brings it up: [`database`], mailbox, and what [`plans`] say, by the [`supervisor`] of
//!   [`processes`]; [`world`] says where things are
//! - [`story`] places an order and tells what becomes of it, as [`client`] hears it
//! - [`load`] places many and measures; [`bench`] compares two ways in one run
//! - [`control`] breaks it, for the dashboard
//! - [`verify`] recounts everything
//! - [`migrate`] prepares a database for services that run elsewhere, as on containers

mod bench;
mod client;
#[cfg(test)]
mod containers;
mod control;
mod database;
mod load;
mod migrate;
mod plans;
mod process_log;
mod processes;
mod services;
mod story;
mod supervisor;
mod up;
mod verify;
mod world;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// An order system that you can watch: without a command it comes up and shows an order
/// going through.
#[derive(Debug, Parser)]
#[command(name = "waybill", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    up: up::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings the system up and shows an order going through
    Up(up::Args),
    /// Places many orders and measures, then verifies
    Load(load::Args),
    /// Compares: the writer actor with a transaction a request, an effect with its floor
    Bench(bench::Args),
    /// Recounts everything; exits with 1 and names what it finds
    Verify(verify::Args),
    /// Makes the log and every schema in a database, and sets the services' passwords
    Migrate(migrate::Args),
    /// Prints the running system's database, for `broker` and psql
    Url(Folder),
    /// Deletes the data of all runs
    Reset(Folder),
    /// Runs one service in this process: order, delivery, invoice, email or dashboard
    #[command(hide = true, disable_help_flag = true)]
    Service {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

/// Where a run keeps its data.
#[derive(Debug, Clone, clap::Args)]
struct Folder {
    /// The folder of the run's data
    #[arg(long, env = "WAYBILL_DATA", default_value = ".waybill")]
    data: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Up(cli.up));
    // A service has a runtime of its own.
    if let Command::Service { name, args } = command {
        return services::run(&name, args);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let result = runtime.block_on(async {
        match command {
            Command::Up(args) => up::run(args).await,
            Command::Load(args) => load::run(args).await,
            Command::Bench(args) => bench::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Migrate(args) => migrate::run(args).await,
            Command::Url(folder) => url(&folder),
            Command::Reset(folder) => world::reset(&folder.data).await.map(|()| ExitCode::SUCCESS),
            Command::Service { .. } => Ok(ExitCode::SUCCESS),
        }
    });
    runtime.shutdown_background();
    result.unwrap_or_else(|error| failed(&error))
}

fn url(folder: &Folder) -> anyhow::Result<ExitCode> {
    let run = world::Run::find(&folder.data);
    let run = run.context("nothing runs on this folder: start it with `cargo run`")?;
    println!("{}", run.database_url);
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("waybill: {error:#}");
    ExitCode::FAILURE
}
