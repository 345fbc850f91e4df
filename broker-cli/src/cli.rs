//! What there is to say.

use clap::{Parser, Subcommand};

use crate::failure::Exit;
use crate::out::Out;
use crate::{
    completions, connect, consume, dead_letters, grant, groups, migrate, produce, redrive, replay,
    retention, seek, topics, verify,
};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; also where the reader of the output went away, and after Ctrl-C in what follows
  1  failed, or verify found something
  2  this command line makes no sense
  3  the topic, group, partition, offset or role does not exist, or not now
  4  not permitted
  5  the database cannot be reached, or has no log";

/// Topics, records and consumer groups in Postgres.
#[derive(Debug, Parser)]
#[command(name = "broker", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,

    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The log: postgres://user:password@host:5432/database; without it DATABASE_URL
    #[arg(long, global = true, env = "BROKER_URL", hide_env_values = true)]
    pub url: Option<String>,

    /// JSON instead of text, one object a line
    #[arg(long, global = true)]
    pub json: bool,

    /// Tells what happens underneath, on standard error; RUST_LOG says more precisely what
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes, shows and deletes topics
    #[command(subcommand)]
    Topics(topics::Command),
    /// Publishes standard input, a record a line
    ///
    /// Reads to the end and returns once everything is durable. A line that is no record ends
    /// it: what came before is published, what comes after is not.
    ///
    /// With --json each line is an object: {"value": …, "key": …, "headers": {…}, "partition": n}.
    /// Key and value are a string, {"base64": …}, or any other JSON, which is published as its
    /// text. It takes what `consume --json` prints.
    Produce(produce::Args),
    /// Prints records, from anywhere or as a member of a group
    ///
    /// Without -g it reads along and leaves no trace. With -g it is a member of that group: what
    /// was written and flushed is committed, so that nothing is missed; where it is killed in
    /// between, or who reads the pipe holds a batch up for a minute, something comes twice (at
    /// least once). It goes on until Ctrl-C, and leaves the group then; -e and -c end it.
    Consume(consume::Args),
    /// Shows consumer groups, pauses and deletes them
    #[command(subcommand)]
    Groups(groups::Command),
    /// Moves a group forward or back
    ///
    /// Its members may be running: what they have in hand is not committed, and they go on at the
    /// target. Going back means that the group handles records again, with all their effects.
    Seek(seek::Args),
    /// Moves a group back, so that it handles records again
    ///
    /// As seek, but partitions in which the group has not got so far stay where they are.
    Replay(replay::Args),
    /// Lists what a group gave up
    DeadLetters(dead_letters::Args),
    /// Sends what a group gave up through that group again, and no other
    ///
    /// Without a choice: all dead letters that were not redriven yet.
    Redrive(redrive::Args),
    /// Shows, sets and applies how long records are kept
    #[command(subcommand)]
    Retention(retention::Command),
    /// Lets a role publish to a topic or consume it
    Grant(grant::Args),
    /// Checks the log itself; prints what is wrong and exits with 1
    Verify,
    /// Makes the log in a database, or brings it up to date
    Migrate,
    /// Prints completions for a shell: source <(broker completions bash)
    Completions(completions::Args),
}

impl Cli {
    pub async fn run(self) -> anyhow::Result<Exit> {
        connect::tell(self.global.verbose);
        let mut out = Out::new(self.global.json);
        match &self.command {
            Command::Completions(args) => return completions::run(args, &mut out),
            Command::Migrate => return migrate::run(&self.global, &mut out).await,
            _ => {}
        }
        let broker = connect::connect(&self.global).await?;
        let end = match self.command {
            Command::Topics(command) => topics::run(&broker, command, &mut out).await,
            Command::Produce(args) => produce::run(&broker, args, &mut out).await,
            Command::Consume(args) => consume::run(&broker, args, &mut out).await,
            Command::Groups(command) => groups::run(&broker, command, &mut out).await,
            Command::Seek(args) => seek::run(&broker, args, &mut out).await,
            Command::Replay(args) => replay::run(&broker, args, &mut out).await,
            Command::DeadLetters(args) => dead_letters::run(&broker, args, &mut out).await,
            Command::Redrive(args) => redrive::run(&broker, args, &mut out).await,
            Command::Retention(command) => retention::run(&broker, command, &mut out).await,
            Command::Grant(args) => grant::run(&broker, args, &mut out).await,
            Command::Verify => verify::run(&broker, &mut out).await,
            Command::Migrate | Command::Completions(_) => Ok(Exit::Done),
        };
        let flushed = out.flush();
        broker.shutdown().await;
        let exit = end?;
        flushed?;
        Ok(exit)
    }
}
