//! `broker redrive`.

use broker::{Broker, Redrive};

use crate::dead_letters::{list, never_read};
use crate::failure::Exit;
use crate::out::Out;
use crate::progress::Spinner;
use crate::text::plural;

#[derive(Debug, clap::Args)]
pub struct Args {
    group: String,

    topic: String,

    /// Only this offset of the dead-letter topic; may be given more than once
    #[arg(long = "offset", value_name = "OFFSET")]
    offsets: Vec<u64>,

    /// Only records of this key
    #[arg(short, long)]
    key: Option<String>,

    /// Only those whose error contains this
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,

    /// Those too that were redriven before
    #[arg(long)]
    again: bool,

    /// One that came back so often stays
    #[arg(long, value_name = "N", default_value_t = Redrive::default().max_redrives)]
    max_redrives: u32,

    /// Lists exactly what would be redriven, and changes nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(broker: &Broker, args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    let Args { group, topic, offsets, key, error, again, max_redrives, dry_run } = args;
    let which = Redrive {
        offsets: (!offsets.is_empty()).then_some(offsets),
        key: key.map(String::into_bytes),
        error,
        again,
        max_redrives,
        ..Redrive::default()
    };
    let spinner = Spinner::start(if dry_run { "reading dead letters" } else { "redriving" });
    let dead = match dry_run {
        true => broker.dead_letters(&group, &topic, &which).await,
        false => broker.redrive(&group, &topic, &which).await,
    };
    drop(spinner);
    let dead = dead.map_err(|error| never_read(error, &group, &topic))?;
    list(&dead, out)?;
    if !out.is_json() {
        let done = if dry_run { "would be redriven" } else { "redriven" };
        out.line(format!("{} {done}", plural(dead.len() as u64, "record")))?;
    }
    Ok(Exit::Done)
}
