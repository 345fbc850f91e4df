//! What happens now, to every open page, as server-sent events.
//!
//! One broadcast reader and one look at the groups a second serve all pages of this process.
//! Each page has its place in one ring of events: one that is too slow is told how many it
//! missed.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use broker::{Broker, Place, Record, Start};
use chrono::{DateTime, Utc};
use contracts::{Event, LogLine};
use futures::Stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tracing::warn;

use crate::control::Control;
use crate::places::Places;
use crate::timeline::kind_of;

pub const MAX_PAGES: usize = 64;
/// Events, each of at most some ten kilobytes.
const RING: usize = 256;
/// Of a burst, the last; the rest is counted.
const RECORDS_IN_EVENT: usize = 40;
const MAX_KEY_CHARS: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_secs(1);
const TOPICS_EVERY: Duration = Duration::from_secs(10);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Live {
    events: broadcast::Sender<Bytes>,
    room: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Live { events: broadcast::channel(RING).0, room: Arc::new(Semaphore::new(MAX_PAGES)) }
    }
}

/// One page's place.
pub struct Viewer {
    events: broadcast::Receiver<Bytes>,
    stopping: watch::Receiver<bool>,
    started: bool,
    _room: OwnedSemaphorePermit,
}

/// Records that landed.
#[derive(Serialize)]
struct Landed<'a> {
    records: Vec<Line<'a>>,
    /// How many more there were.
    more: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: u64,
    key: String,
    kind: &'a str,
    at: DateTime<Utc>,
}

/// Where a group is in a partition: short names, for there are hundreds a second.
#[derive(Serialize)]
struct At<'a> {
    group: &'a str,
    topic: &'a str,
    partition: i32,
    member: Option<i32>,
    generation: i32,
    committed: i64,
    end: i64,
    lag: i64,
}

impl Live {
    /// `None` where there are too many.
    pub fn join(&self, stopping: watch::Receiver<bool>) -> Option<Viewer> {
        let room = self.room.clone().try_acquire_owned().ok()?;
        Some(Viewer { events: self.events.subscribe(), stopping, started: false, _room: room })
    }

    /// Tells of records until the service stops.
    pub async fn records(self, broker: Broker, mut stopping: watch::Receiver<bool>) {
        loop {
            let end = tokio::select! {
                end = self.read(&broker) => end,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            if let Err(error) = end {
                warn!("pages are told late: {error}");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }

    /// Until there are other topics. Log lines are told apart: a page of something else has no
    /// news in them.
    async fn read(&self, broker: &Broker) -> Result<(), broker::Error> {
        let topics = shown_topics(broker).await?;
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        let mut reader = broker.broadcast(&names, Start::Latest).await?;
        let mut look = tokio::time::interval(TOPICS_EVERY);
        loop {
            tokio::select! {
                records = reader.next() => {
                    let (lines, records): (Vec<_>, Vec<_>) =
                        records?.into_iter().partition(|record| record.topic() == LogLine::TOPIC);
                    if !lines.is_empty() {
                        self.tell("lines", &services(&lines));
                    }
                    if !records.is_empty() {
                        self.tell("records", &landed(&records));
                    }
                }
                _ = look.tick() => if shown_topics(broker).await? != topics {
                    return Ok(());
                },
            }
        }
    }

    /// Tells where the groups are until the service stops.
    pub async fn groups(self, places: Places, stopping: watch::Receiver<bool>) {
        let ask = || {
            let places = places.clone();
            async move {
                let places = places.now().await.map_err(|error| error.to_string())?;
                Ok(serde_json::to_string(&places.iter().map(at).collect::<Vec<_>>())
                    .unwrap_or_default())
            }
        };
        self.watch("groups", ask, stopping).await;
    }

    /// Tells that the demo's supervisor has news until the service stops; pages fetch it.
    pub async fn system(self, control: Control, stopping: watch::Receiver<bool>) {
        let ask = || {
            let control = control.clone();
            async move {
                let status = control.status().await.map_err(|problem| problem.to_string())?;
                let mut version = DefaultHasher::new();
                serde_json::to_vec(&status).unwrap_or_default().hash(&mut version);
                Ok(format!("{{\"version\":\"{:016x}\"}}", version.finish()))
            }
        };
        self.watch("system", ask, stopping).await;
    }

    /// Tells of changes; nobody looks, nobody asks.
    async fn watch<A: Future<Output = Result<String, String>>>(
        &self,
        name: &str,
        ask: impl Fn() -> A,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut told = String::new();
        loop {
            if self.events.receiver_count() > 0 {
                match ask().await {
                    Ok(now) if now != told => {
                        self.send(name, &now);
                        told = now;
                    }
                    Ok(_) => {}
                    Err(error) => warn!("pages hear of {name} late: {error}"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    fn tell(&self, name: &str, data: &impl Serialize) {
        if self.events.receiver_count() > 0 {
            self.send(name, &serde_json::to_string(data).unwrap_or_default());
        }
    }

    fn send(&self, name: &str, data: &str) {
        let _ = self.events.send(format!("event: {name}\ndata: {data}\n\n").into());
    }
}

/// All with their partitions, but for those that a group keeps for itself. With debugging on, a
/// page's refresh makes lines that come back to it: it refreshes no more often for that than
/// `script.js` ever does.
async fn shown_topics(broker: &Broker) -> Result<Vec<(String, i32)>, broker::Error> {
    let topics = broker.topics_info().await?;
    let shown = topics.into_iter().filter(|topic| !topic.name.ends_with(".redrive"));
    Ok(shown.map(|topic| (topic.name, topic.partitions)).collect())
}

/// Whose lines they are: those are keyed by it.
fn services(lines: &[Record]) -> BTreeSet<String> {
    lines.iter().map(key).collect()
}

/// What pages hear of a topic's records by.
pub fn event_of(topic: &str) -> &'static str {
    if topic == LogLine::TOPIC { "lines" } else { "records" }
}

fn landed(records: &[Record]) -> Landed<'_> {
    let shown = &records[records.len().saturating_sub(RECORDS_IN_EVENT)..];
    Landed { records: shown.iter().map(line).collect(), more: records.len() - shown.len() }
}

fn line(record: &Record) -> Line<'_> {
    Line {
        topic: record.topic(),
        partition: record.partition(),
        offset: record.offset(),
        key: key(record),
        kind: record.header("ce_type").map(kind_of).unwrap_or_default(),
        at: record.published_at(),
    }
}

fn key(record: &Record) -> String {
    let key = String::from_utf8_lossy(record.key().unwrap_or_default());
    key.chars().take(MAX_KEY_CHARS).collect()
}

fn at(place: &Place) -> At<'_> {
    At {
        group: &place.consumer_group,
        topic: &place.topic,
        partition: place.partition,
        member: place.member,
        generation: place.generation,
        committed: place.committed,
        end: place.end,
        lag: place.lag,
    }
}

/// Events until the page goes or the service stops.
pub fn stream(viewer: Viewer) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    futures::stream::unfold(viewer, |mut viewer| async move {
        let piece = viewer.next().await?;
        Some((Ok(piece), viewer))
    })
}

impl Viewer {
    async fn next(&mut self) -> Option<Bytes> {
        use broadcast::error::RecvError::{Closed, Lagged};
        if !std::mem::replace(&mut self.started, true) {
            // Headers go out with the first piece: a page is to know that it is connected.
            return Some(Bytes::from_static(b"retry: 2000\nevent: hello\ndata: {}\n\n"));
        }
        tokio::select! {
            event = self.events.recv() => match event {
                Ok(event) => Some(event),
                Err(Lagged(missed)) => {
                    Some(format!("event: dropped\ndata: {{\"events\":{missed}}}\n\n").into())
                }
                Err(Closed) => None,
            },
            () = tokio::time::sleep(KEEP_ALIVE) => Some(Bytes::from_static(b": still here\n\n")),
            _ = self.stopping.wait_for(|stopping| *stopping) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(viewer: &mut Viewer) -> String {
        String::from_utf8(viewer.next().await.unwrap().to_vec()).unwrap()
    }

    #[actix_rt::test]
    async fn a_page_that_is_too_slow_is_told_how_much_it_missed() {
        let (stop, stopping) = watch::channel(false);
        let live = Live::default();
        let mut viewer = live.join(stopping).unwrap();
        assert!(next(&mut viewer).await.contains("event: hello"));
        for n in 0..RING + 44 {
            live.tell("records", &n);
        }
        assert_eq!(next(&mut viewer).await, "event: dropped\ndata: {\"events\":44}\n\n");
        assert_eq!(next(&mut viewer).await, "event: records\ndata: 44\n\n");
        for _ in 0..RING - 1 {
            next(&mut viewer).await;
        }
        stop.send_replace(true);
        assert!(viewer.next().await.is_none());
    }
}
