//! `broker consume`.

mod from;
mod group;
mod plain;
pub mod show;

use broker::Broker;

use crate::failure::Exit;
use crate::out::Out;
use from::From;
use show::{Format, Show};

#[derive(Debug, clap::Args)]
#[command(after_help = show::TOKENS)]
pub struct Args {
    #[arg(required = true)]
    topics: Vec<String>,

    /// start, end, an offset, -N for the last N of each partition, or @ and a time (RFC 3339,
    /// or seconds since 1970). With -g: where a group that is new begins, start or end
    #[arg(
        short,
        long = "offset",
        value_name = "POSITION",
        default_value = "start",
        allow_hyphen_values = true
    )]
    offset: From,

    /// Only this partition
    #[arg(short, long, conflicts_with = "group")]
    partition: Option<i32>,

    /// Joins this consumer group
    #[arg(short, long)]
    group: Option<String>,

    /// Ends after so many records
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Ends at the end, as it is now; without it goes on until Ctrl-C
    #[arg(short, long)]
    exit: bool,

    /// How a record is printed, with kcat's tokens: '%o %k %s\n'
    #[arg(short, long, value_parser = Format::parse, conflicts_with = "json")]
    format: Option<Format>,
}

pub async fn run(broker: &Broker, args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    let show = match &args.format {
        Some(format) => Show::Format(format.clone()),
        None if out.is_json() => Show::Json,
        None => Show::Human { colours: out.has_colours() },
    };
    match &args.group {
        Some(name) => group::run(broker, name, &args, show).await,
        None => plain::run(broker, &args, &show).await,
    }
}
