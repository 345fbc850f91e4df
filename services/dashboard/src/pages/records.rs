//! The record browser: seeks by offset or time, filters by key and content, tails live.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::{PartitionInfo, Position, Record};
use chassis::Problem;
use serde::Deserialize;
use uuid::Uuid;

use crate::http::State;
use crate::pages::filter::Filter;
use crate::timeline::kind_of;
use crate::view::{self, Layout, refused};

/// Records on one page.
const PAGE: usize = 100;
/// What a filter looks at before it says where it stopped.
const SCAN: usize = 2000;
/// What one read asks for.
const READ: u32 = 100;
const TAIL: usize = 25;

/// As the form sends it: what was left empty comes as an empty string.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    partition: String,
    from: String,
    key: String,
    content: String,
}

#[derive(Template)]
#[template(path = "records.html")]
struct RecordsPage {
    layout: Layout,
    topic: String,
    partitions: Vec<PartitionInfo>,
    asked: Asked,
    /// Whether it shows the newest, and so goes on by itself.
    tails: bool,
    records: Vec<Shown>,
    looked_at: usize,
    stopped: Option<Stopped>,
}

/// Where the reading stopped before the end.
#[derive(Debug, PartialEq, Eq)]
struct Stopped {
    partition: i32,
    offset: u64,
}

struct Shown {
    partition: i32,
    offset: u64,
    at: String,
    key: String,
    /// The order's passport, where the key is an id.
    order_id: Option<Uuid>,
    kind: String,
    headers: Vec<(String, String)>,
    value: String,
}

pub async fn show(
    state: Data<State>,
    request: HttpRequest,
    topic: Path<String>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let (topic, asked) = (topic.into_inner(), asked.into_inner());
    let partitions = state.broker.partitions(&topic).await.map_err(refused)?;
    let partition = partition(&topic, &asked.partition, &partitions)?;
    let position = position(&asked.from)?;
    let filter = Filter::new(&asked.key, &asked.content)?;
    if let (Position::Offset(_), None) = (position, partition)
        && partitions.len() > 1
    {
        return Err(Problem::bad_request(
            "an offset is a position in one partition: choose the partition, too",
        ));
    }
    let mut browse =
        Browse { state: &state, topic: &topic, filter, found: Vec::new(), looked_at: 0 };
    let tails = position == Position::Latest;
    let stopped = match tails {
        true => browse.newest(&partitions, partition).await?,
        false => {
            let starts =
                state.broker.offsets(&topic, partition, position).await.map_err(refused)?;
            browse.forward(&starts).await?
        }
    };
    let Browse { found, looked_at, .. } = browse;
    view::page(&RecordsPage {
        layout: Layout::new("topics", &state, &request),
        records: found,
        topic,
        partitions,
        asked,
        tails,
        looked_at,
        stopped,
    })
}

fn partition(
    topic: &str,
    text: &str,
    partitions: &[PartitionInfo],
) -> Result<Option<i32>, Problem> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let number = text.trim().parse().ok();
    number
        .filter(|number| partitions.iter().any(|partition| partition.partition == *number))
        .map(Some)
        .ok_or_else(|| {
            Problem::bad_request(format!(
                "topic {topic:?} has partitions 0 to {}, not {:?}",
                partitions.len().saturating_sub(1),
                view::cut(text, 40)
            ))
        })
}

fn position(text: &str) -> Result<Position, Problem> {
    match text.trim() {
        "" => Ok(Position::Latest),
        text => view::cut(text, 60).parse().map_err(Problem::bad_request),
    }
}

struct Browse<'a> {
    state: &'a State,
    topic: &'a str,
    filter: Filter<'a>,
    found: Vec<Shown>,
    looked_at: usize,
}

impl Browse<'_> {
    /// From these offsets on, partition after partition.
    async fn forward(&mut self, starts: &[(i32, u64)]) -> Result<Option<Stopped>, Problem> {
        for (partition, start) in starts {
            let mut next = *start;
            loop {
                let records = self.read(*partition, next).await?;
                if records.is_empty() {
                    break;
                }
                for record in &records {
                    if self.found.len() == PAGE || self.looked_at == SCAN {
                        return Ok(Some(Stopped {
                            partition: *partition,
                            offset: record.offset(),
                        }));
                    }
                    self.look_at(record);
                    next = record.offset() + 1;
                }
            }
        }
        Ok(None)
    }

    /// The end of one partition, or of each; newest first.
    async fn newest(
        &mut self,
        partitions: &[PartitionInfo],
        only: Option<i32>,
    ) -> Result<Option<Stopped>, Problem> {
        let chosen: Vec<_> = partitions
            .iter()
            .filter(|partition| only.is_none_or(|only| only == partition.partition))
            .collect();
        let each = if self.filter.takes_all() { TAIL } else { SCAN / chosen.len().max(1) };
        for partition in chosen {
            let start = partition.log_start.max(partition.end - each as i64);
            let mut next = start.max(0) as u64;
            while next < partition.end as u64 {
                let records = self.read(partition.partition, next).await?;
                let Some(last) = records.last() else { break };
                next = last.offset() + 1;
                records.iter().for_each(|record| self.look_at(record));
                self.keep_newest();
            }
        }
        self.keep_newest();
        Ok(None)
    }

    fn keep_newest(&mut self) {
        self.found.sort_by(|one, other| {
            (&other.at, other.partition, other.offset).cmp(&(&one.at, one.partition, one.offset))
        });
        self.found.truncate(PAGE);
    }

    async fn read(&self, partition: i32, from: u64) -> Result<Vec<Record>, Problem> {
        self.state.broker.read(self.topic, partition, from, READ).await.map_err(refused)
    }

    fn look_at(&mut self, record: &Record) {
        self.looked_at += 1;
        if self.filter.takes(record) {
            self.found.push(shown(record));
        }
    }
}

fn shown(record: &Record) -> Shown {
    let key = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
    Shown {
        partition: record.partition(),
        offset: record.offset(),
        at: view::date_time(record.published_at()),
        order_id: key.parse().ok(),
        key: view::cut(&key, 200),
        kind: record.header("ce_type").map(kind_of).unwrap_or_default().to_owned(),
        headers: record
            .headers()
            .map(|(name, value)| (name.to_owned(), view::cut(value, 500)))
            .collect(),
        value: view::value(record.value()),
    }
}
