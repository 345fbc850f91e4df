//! `broker topics`.

use anyhow::bail;
use broker::{Broker, Error, PartitionInfo, TopicInfo};
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::failure::Exit;
use crate::out::{BOLD, Out, Row};
use crate::text::{plural, time};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes topics; one that exists is left as it is
    Create {
        #[arg(required = true)]
        topics: Vec<String>,

        /// How many partitions, 1 to 1024; 1 without
        #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..=1024))]
        partitions: Option<u32>,
    },
    /// Lists topics: partitions, and how many records they keep
    List {
        /// Those too that groups have for their dead letters, while they are empty
        #[arg(short, long)]
        all: bool,
    },
    /// Shows the partitions of topics: log start, end, newest record
    Describe {
        #[arg(required = true)]
        topics: Vec<String>,
    },
    /// Gives a topic more partitions, while it is in use
    ///
    /// A key's new records may go to another partition than its old ones: its order holds
    /// within each only.
    AddPartitions {
        topic: String,

        /// How many in all, up to 1024
        #[arg(short, long, value_parser = clap::value_parser!(u32).range(1..=1024))]
        partitions: u32,
    },
    /// Deletes topics with their records, rights and groups' places
    Delete {
        #[arg(required = true)]
        topics: Vec<String>,
    },
}

pub async fn run(broker: &Broker, command: Command, out: &mut Out) -> anyhow::Result<Exit> {
    match command {
        Command::Create { topics, partitions } => {
            for topic in topics {
                create(broker, &topic, partitions, out).await?;
            }
        }
        Command::List { all } => {
            let mut topics = broker.topics_info().await?;
            topics.retain(|topic| all || topic.records > 0 || !is_of_a_group(&topic.name));
            out.rows(&topics.into_iter().map(Topic::from).collect::<Vec<_>>())?;
        }
        Command::Describe { topics } => {
            for topic in topics {
                describe(broker, &topic, out).await?;
            }
        }
        Command::AddPartitions { topic, partitions } => {
            broker.add_partitions(&topic, partitions).await?;
            let told = json!({"topic": topic, "partitions": partitions});
            out.say(format!("{topic} has {}", plural(partitions.into(), "partition")), told)?;
        }
        Command::Delete { topics } => {
            for topic in topics {
                broker.delete_topic(&topic).await?;
                out.say(format!("deleted {topic}"), json!({"topic": topic, "deleted": true}))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn is_of_a_group(topic: &str) -> bool {
    topic.ends_with(".dlq") || topic.ends_with(".redrive")
}

async fn create(
    broker: &Broker,
    topic: &str,
    wanted: Option<u32>,
    out: &mut Out,
) -> anyhow::Result<()> {
    let before = match broker.partitions(topic).await {
        Ok(partitions) => Some(partitions.len() as u32),
        Err(Error::UnknownTopic(_)) => None,
        Err(error) => return Err(error.into()),
    };
    if let (Some(has), Some(wanted)) = (before, wanted)
        && has != wanted
    {
        bail!("topic {topic:?} exists and has {}, not {wanted}", plural(has.into(), "partition"));
    }
    let partitions = before.or(wanted).unwrap_or(1);
    broker.create_topic(topic, partitions).await?;
    let how = if before.is_some() { "exists:" } else { "created" };
    let told = json!({"topic": topic, "partitions": partitions, "created": before.is_none()});
    out.say(format!("{how} {topic}, {}", plural(partitions.into(), "partition")), told)
}

async fn describe(broker: &Broker, topic: &str, out: &mut Out) -> anyhow::Result<()> {
    let partitions = broker.partitions(topic).await?;
    let rows: Vec<_> = partitions.into_iter().map(|info| Partition::new(topic, info)).collect();
    if !out.is_json() {
        let records = rows.iter().map(|row| row.records as u64).sum();
        let name = out.paint(BOLD, topic);
        let partitions = plural(rows.len() as u64, "partition");
        out.line(format!("{name}: {partitions}, {}", plural(records, "record")))?;
    }
    out.rows(&rows)
}

#[derive(Serialize)]
struct Topic {
    topic: String,
    partitions: i32,
    records: i64,
    created_at: String,
}

impl From<TopicInfo> for Topic {
    fn from(info: TopicInfo) -> Topic {
        Topic {
            topic: info.name,
            partitions: info.partitions,
            records: info.records,
            created_at: time(info.created_at),
        }
    }
}

impl Row for Topic {
    const COLUMNS: &'static [&'static str] = &["TOPIC", ">PARTITIONS", ">RECORDS", "CREATED"];

    fn cells(&self) -> Vec<String> {
        let Topic { topic, partitions, records, created_at } = self;
        vec![topic.clone(), partitions.to_string(), records.to_string(), created_at.clone()]
    }
}

#[derive(Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    log_start: i64,
    end: i64,
    records: i64,
    newest_at: Option<String>,
}

impl Partition {
    fn new(topic: &str, info: PartitionInfo) -> Partition {
        Partition {
            topic: topic.to_owned(),
            partition: info.partition,
            log_start: info.log_start,
            end: info.end,
            records: info.end - info.log_start,
            newest_at: info.newest_at.map(time),
        }
    }
}

impl Row for Partition {
    const COLUMNS: &'static [&'static str] =
        &[">PARTITION", ">LOG START", ">END", ">RECORDS", "NEWEST"];

    fn cells(&self) -> Vec<String> {
        let Partition { partition, log_start, end, records, newest_at, .. } = self;
        let numbers = [i64::from(*partition), *log_start, *end, *records];
        let mut cells: Vec<String> = numbers.iter().map(i64::to_string).collect();
        cells.push(newest_at.clone().unwrap_or_else(|| "-".into()));
        cells
    }
}
