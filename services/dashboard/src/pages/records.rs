//! The record browser: seeks by offset or time, filters by key and content, goes back from the
//! end, tails live.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::{PartitionInfo, Position, Record};
use chassis::Problem;
use serde::Deserialize;
use uuid::Uuid;

use crate::http::State;
use crate::live;
use crate::pages::backward::Backward;
use crate::pages::filter::Filter;
use crate::timeline::kind_of;
use crate::view::{self, Layout, refused};

/// Records on one page.
const PAGE: usize = 100;
/// What a filter looks at before it says where it stopped.
const SCAN: usize = 2000;
/// What one read asks for.
const READ: u32 = 100;

/// As the form sends it: what was left empty comes as an empty string.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    partition: String,
    from: String,
    key: String,
    content: String,
    /// Where a page of the newest records stopped.
    before: String,
}

#[derive(Template)]
#[template(path = "records.html")]
struct RecordsPage {
    layout: Layout,
    topic: String,
    partitions: Vec<PartitionInfo>,
    asked: Asked,
    /// What it hears of, where it shows the newest and so goes on by itself.
    tails: Option<&'static str>,
    records: Vec<Shown>,
    looked_at: usize,
    newest_first: bool,
    stopped: Option<Stopped>,
}

/// Where the reading stopped though there is more.
struct Stopped {
    told: String,
    /// The query of the page that goes on from there.
    go_on: String,
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
    let newest_first = position == Position::Latest;
    let stopped = match newest_first {
        true => {
            let chosen = partitions.iter();
            let chosen = chosen.filter(|of| partition.is_none_or(|only| only == of.partition));
            browse
                .back(Backward::new(&state.broker, &topic, chosen, &asked.before)?)
                .await?
                .map(|before| Stopped { told: String::new(), go_on: asked.older(&before) })
        }
        false => {
            let starts =
                state.broker.offsets(&topic, partition, position).await.map_err(refused)?;
            browse.forward(&starts).await?.map(|(partition, offset)| Stopped {
                told: format!(" Stopped at partition {partition}, offset {offset}."),
                go_on: asked.onward(partition, offset),
            })
        }
    };
    let Browse { found, looked_at, .. } = browse;
    view::page(&RecordsPage {
        layout: Layout::new("topics", &state, &request),
        records: found,
        partitions,
        tails: (newest_first && asked.before.is_empty()).then(|| live::event_of(&topic)),
        asked,
        looked_at,
        newest_first,
        stopped,
        topic,
    })
}

impl Asked {
    fn older(&self, before: &str) -> String {
        let Asked { partition, key, content, .. } = self;
        let fields = [("partition", partition), ("key", key), ("content", content)];
        let fields = fields.map(|(name, value)| (name, value.as_str()));
        view::query(&[&fields[..], &[("before", before)]].concat())
    }

    fn onward(&self, partition: i32, offset: u64) -> String {
        let (partition, offset) = (partition.to_string(), offset.to_string());
        let (key, content) = (self.key.as_str(), self.content.as_str());
        let place = [("partition", partition.as_str()), ("from", &offset)];
        view::query(&[&place[..], &[("key", key), ("content", content)]].concat())
    }
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
    /// From these offsets on, partition after partition; returns where it stopped before the
    /// end.
    async fn forward(&mut self, starts: &[(i32, u64)]) -> Result<Option<(i32, u64)>, Problem> {
        for (partition, start) in starts {
            let mut next = *start;
            loop {
                let records = self.read(*partition, next).await?;
                if records.is_empty() {
                    break;
                }
                for record in &records {
                    if self.is_full() {
                        return Ok(Some((*partition, record.offset())));
                    }
                    self.look_at(record);
                    next = record.offset() + 1;
                }
            }
        }
        Ok(None)
    }

    /// The newest first; returns where it stopped before the log starts.
    async fn back(&mut self, mut way: Backward<'_>) -> Result<Option<String>, Problem> {
        while !self.is_full() {
            let Some(record) = way.next().await? else { return Ok(None) };
            self.look_at(&record);
        }
        Ok(Some(way.stopped()))
    }

    fn is_full(&self) -> bool {
        self.found.len() == PAGE || self.looked_at == SCAN
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
