//! `broker`: topics, records and consumer groups from the command line.
//!
//! - [`cli`] is what there is to say; each command is a file of its name
//! - [`connect`] finds the log, [`failure`] tells what went wrong and how it ends
//! - [`out`] is all that is printed: tables, JSON lines, colours; [`text`] how values look

mod cli;
mod completions;
mod connect;
mod consume;
mod dead_letters;
mod failure;
mod grant;
mod groups;
mod migrate;
mod out;
mod produce;
mod progress;
mod record;
mod redrive;
mod replay;
mod retention;
mod seek;
mod signals;
mod text;
mod topics;
mod verify;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&error.into()),
    };
    let end = runtime.block_on(cli.run());
    // A thread that waits for standard input would be waited for.
    runtime.shutdown_background();
    match end {
        Ok(exit) => exit.into(),
        Err(error) => failure::report(&error),
    }
}
