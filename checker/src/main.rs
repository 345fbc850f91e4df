//! `broker-checker`: see the crate's page.

use std::process::ExitCode;

use broker_checker::{ActorOptions, RunOptions, Stuck, act, run};
use clap::Parser;

/// Breaks the broker at random and looks for what must not be.
#[derive(Debug, Parser)]
#[command(version, about)]
enum Command {
    /// Runs producers, members and a reader, breaks them and their server, and tells what is
    /// wrong: exit code 1 where the log is, 2 where the run proves nothing.
    Run(RunOptions),
    /// One process under test: started by `run`.
    #[command(hide = true)]
    Actor(ActorOptions),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Command::parse() {
        Command::Run(options) => match run(&options).await {
            Ok(report) => {
                match options.json {
                    true => println!("{:#}", report.json()),
                    false => print!("{report}"),
                }
                ExitCode::from(report.exit_code())
            }
            Err(error) if error.is::<Stuck>() => {
                eprintln!("SOMETHING IS WRONG: {error:#}");
                ExitCode::from(1)
            }
            Err(error) => {
                eprintln!("this run proves nothing: {error:#}");
                ExitCode::from(2)
            }
        },
        Command::Actor(options) => match act(options).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        },
    }
}
