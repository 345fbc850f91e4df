//! `broker replay`: a seek that only goes back.

use broker::{Broker, Position, Seek};

use crate::consume::show;
use crate::failure::Exit;
use crate::out::Out;
use crate::record::Shown;
use crate::seek::Move;
use crate::text::plural;

/// What one read asks for.
const PAGE: u32 = 500;

#[derive(Debug, clap::Args)]
pub struct Args {
    group: String,

    topic: String,

    /// start, an offset, or @ and a time (RFC 3339, or seconds since 1970)
    #[arg(long, value_name = "POSITION")]
    from: Position,

    /// Only this partition
    #[arg(short, long)]
    partition: Option<i32>,

    /// Lists exactly the records that would be handled again, and changes nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(broker: &Broker, args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    let Args { group, topic, from, partition, dry_run } = args;
    let mut back = broker.seek_plan(&group, &topic, partition, from).await?;
    back.retain(|seek| seek.target < seek.committed);
    if dry_run {
        for seek in &back {
            list(broker, &topic, seek, out).await?;
        }
    } else {
        for seek in &mut back {
            // To where the plan says: a time may mean something else by now.
            let target = Position::Offset(seek.target.max(0) as u64);
            let done = broker.seek(&group, &topic, Some(seek.partition), target).await?;
            // The group may have got on since the plan.
            seek.committed = done.first().map_or(seek.committed, |done| done.committed);
        }
        if out.is_json() || !back.is_empty() {
            let moves: Vec<_> = back.iter().map(|seek| Move::new(&topic, seek, false)).collect();
            out.rows(&moves)?;
        }
    }
    if !out.is_json() {
        let again: i64 = back.iter().map(|seek| seek.committed - seek.target).sum();
        let will = if dry_run { "would be" } else { "will be" };
        out.line(format!("{} {will} handled again", plural(again.max(0) as u64, "record")))?;
    }
    Ok(Exit::Done)
}

/// A page at a time, whatever there is.
async fn list(broker: &Broker, topic: &str, seek: &Seek, out: &mut Out) -> anyhow::Result<()> {
    let (mut next, end) = (seek.target.max(0) as u64, seek.committed.max(0) as u64);
    while next < end {
        let max = PAGE.min(u32::try_from(end - next).unwrap_or(PAGE));
        let records = broker.read(topic, seek.partition, next, max).await?;
        let Some(last) = records.last() else { break };
        next = last.offset() + 1;
        for record in &records {
            match out.is_json() {
                true => out.object(&Shown::place(record))?,
                false => out.line(show::place(record, out.has_colours()))?,
            }
        }
    }
    Ok(())
}
