//! `broker seek`.

use broker::{Broker, Position, Seek};
use serde::Serialize;

use crate::failure::Exit;
use crate::out::{Out, Row};
use crate::text::plural;

#[derive(Debug, clap::Args)]
pub struct Args {
    group: String,

    topic: String,

    /// start, end, an offset, or @ and a time (RFC 3339, or seconds since 1970)
    #[arg(long, value_name = "POSITION")]
    to: Position,

    /// Only this partition
    #[arg(short, long)]
    partition: Option<i32>,

    /// Tells what it would do, and changes nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(broker: &Broker, args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    let Args { group, topic, to, partition, dry_run } = args;
    let seeks = match dry_run {
        true => broker.seek_plan(&group, &topic, partition, to).await?,
        false => broker.seek(&group, &topic, partition, to).await?,
    };
    let moves: Vec<_> = seeks.iter().map(|seek| Move::new(&topic, seek, dry_run)).collect();
    out.rows(&moves)?;
    if !out.is_json() {
        let sum = |count: fn(&Move) -> i64| moves.iter().map(count).sum::<i64>() as u64;
        let again = plural(sum(|row| row.again), "record");
        let (skipped, would) = (sum(|row| row.skipped), if dry_run { "would be " } else { "" });
        out.line(format!("{again} {would}handled again, {skipped} {would}skipped"))?;
    }
    Ok(Exit::Done)
}

/// What a seek does in one partition.
#[derive(Serialize)]
pub struct Move {
    topic: String,
    partition: i32,
    committed: i64,
    target: i64,
    again: i64,
    skipped: i64,
    dry_run: bool,
}

impl Move {
    pub fn new(topic: &str, seek: &Seek, dry_run: bool) -> Move {
        Move {
            topic: topic.to_owned(),
            partition: seek.partition,
            committed: seek.committed,
            target: seek.target,
            again: (seek.committed - seek.target).max(0),
            skipped: (seek.target - seek.committed).max(0),
            dry_run,
        }
    }
}

impl Row for Move {
    const COLUMNS: &'static [&'static str] =
        &["TOPIC", ">PARTITION", ">COMMITTED", ">TARGET", ">AGAIN", ">SKIPPED"];

    fn cells(&self) -> Vec<String> {
        let numbers =
            [i64::from(self.partition), self.committed, self.target, self.again, self.skipped];
        let mut cells = vec![self.topic.clone()];
        cells.extend(numbers.iter().map(i64::to_string));
        cells
    }
}
