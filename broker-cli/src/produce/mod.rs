//! `broker produce`.

mod input;
mod line;

use broker::{Broker, Error, InvalidRecord, NewRecord};
use indicatif::ProgressBar;
use serde_json::json;

use crate::failure::Exit;
use crate::out::Out;
use crate::progress;
use crate::text::plural;

use input::{Chunk, Input};
use line::Form;

/// What goes into one publish at most.
const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct Args {
    topic: String,

    /// The key of each record, or of each that has none of its own
    #[arg(short, long)]
    key: Option<String>,

    /// Splits each line into key and value where this first stands
    #[arg(short = 'K', long, value_name = "DELIMITER", conflicts_with_all = ["key", "json"],
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_delimiter: Option<String>,

    /// The partition of each record; a key spreads them instead
    #[arg(short, long)]
    partition: Option<u32>,

    /// A header of each record; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a header is NAME=VALUE".into()),
    }
}

pub async fn run(broker: &Broker, args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    let topic = args.topic.clone();
    let partitions = broker.partitions(&topic).await?.len() as u32;
    if let Some(partition) = args.partition.filter(|partition| *partition >= partitions) {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let last = partitions as i32 - 1;
        return Err(Error::from(InvalidRecord::Partition { topic, partition, last }).into());
    }
    let form = Form::new(args, out.is_json(), partitions);
    let (mut input, size) = Input::start(form);
    let mut producer = Producer { broker, bar: progress::bytes(size), published: 0 };
    let end = producer.all(&mut input).await;
    producer.bar.finish_and_clear();
    let told = json!({"topic": topic, "published": producer.published});
    out.say(format!("{} published to {topic}", plural(producer.published, "record")), told)?;
    end.map(|()| Exit::Done)
}

struct Producer<'a> {
    broker: &'a Broker,
    bar: ProgressBar,
    published: u64,
}

impl Producer<'_> {
    async fn all(&mut self, input: &mut Input) -> anyhow::Result<()> {
        while let Some(mut chunk) = input.next().await {
            // What arrived while the last batch was on its way goes with one commit.
            while chunk.error.is_none() && chunk.has_room() {
                match input.ready() {
                    Some(more) => chunk.append(more),
                    None => break,
                }
            }
            self.publish(chunk).await?;
        }
        Ok(())
    }

    async fn publish(&mut self, chunk: Chunk) -> anyhow::Result<()> {
        let Chunk { mut records, bytes, error } = chunk;
        while !records.is_empty() {
            let rest = records.split_off(records.len().min(BATCH_RECORDS));
            let batch: Vec<NewRecord> = std::mem::replace(&mut records, rest);
            let count = batch.len() as u64;
            self.broker.publish(batch).await?;
            self.published += count;
            self.bar.set_message(self.published.to_string());
        }
        self.bar.inc(bytes as u64);
        error.map_or(Ok(()), Err)
    }
}
