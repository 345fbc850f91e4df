//! `broker dead-letters`.

use broker::{Broker, DeadLetter, Error, Redrive};
use serde::Serialize;

use crate::failure::Exit;
use crate::out::{Out, Row};
use crate::record::Bytes;
use crate::text::{printable, time};

#[derive(Debug, clap::Args)]
pub struct Args {
    group: String,

    topic: String,
}

pub async fn run(broker: &Broker, args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    let all = Redrive { again: true, max_redrives: u32::MAX, ..Redrive::default() };
    let dead = broker.dead_letters(&args.group, &args.topic, &all).await;
    list(&dead.map_err(|error| never_read(error, &args.group, &args.topic))?, out)?;
    Ok(Exit::Done)
}

/// The topic that is missing is one that people do not name.
pub fn never_read(error: Error, group: &str, topic: &str) -> Error {
    match error {
        Error::UnknownTopic(name) if name != topic => Error::Refused(format!(
            "consumer group {group:?} has never read topic {topic:?}, so it has no dead letters"
        )),
        error => error,
    }
}

pub fn list(dead: &[DeadLetter], out: &mut Out) -> anyhow::Result<()> {
    out.rows(&dead.iter().map(Letter::from).collect::<Vec<_>>())
}

#[derive(Serialize)]
struct Letter<'a> {
    /// In the dead-letter topic.
    offset: u64,
    time: String,
    key: Option<Bytes<'a>>,
    value: Bytes<'a>,
    /// Where the group met it.
    topic: &'a str,
    partition: &'a str,
    original_offset: &'a str,
    error: &'a str,
    attempts: &'a str,
    redrives: u32,
    redriven_at: Option<String>,
}

impl<'a> From<&'a DeadLetter> for Letter<'a> {
    fn from(dead: &'a DeadLetter) -> Letter<'a> {
        let record = &dead.record;
        let header = |name| record.header(name).unwrap_or("?");
        Letter {
            offset: record.offset(),
            time: time(record.published_at()),
            key: record.key().map(Bytes),
            value: Bytes(record.value()),
            topic: header("dlq.topic"),
            partition: header("dlq.partition"),
            original_offset: header("dlq.offset"),
            error: header("dlq.error"),
            attempts: header("dlq.attempts"),
            redrives: dead.redrives,
            redriven_at: dead.redriven_at.map(time),
        }
    }
}

impl Row for Letter<'_> {
    const COLUMNS: &'static [&'static str] =
        &[">OFFSET", "TIME", "FROM", "KEY", ">REDRIVES", "REDRIVEN", "ERROR"];

    fn cells(&self) -> Vec<String> {
        let key = self.key.as_ref().map_or("-".into(), |key| printable(key.0));
        vec![
            self.offset.to_string(),
            self.time.clone(),
            format!("{}/{}@{}", self.topic, self.partition, self.original_offset),
            key,
            self.redrives.to_string(),
            self.redriven_at.clone().unwrap_or_else(|| "-".into()),
            printable(self.error.as_bytes()),
        ]
    }
}
