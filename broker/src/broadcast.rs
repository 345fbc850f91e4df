//! Reads topics without a group: every reader sees every record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::group::Start;
use crate::group::session::fetch;
use crate::notices::{Ends, Ticked};
use crate::record::InvalidRecord;
use crate::{Broker, Error, Record};

const FETCH_RECORDS: i32 = 1000;
/// Of each partition.
const FETCH_BYTES: i64 = 1024 * 1024;
/// Of a topic with a thousand, all at once would be a thousand times as much in memory.
const FETCH_PARTITIONS: usize = 16;
const SAFETY_POLL: Duration = Duration::from_secs(1);

/// A reader that belongs to no group and keeps no progress: for live views, where every
/// process is to see every record. After a crash of the server an offset that such a reader
/// saw may be given anew, so nothing durable should hang on it.
#[derive(Debug)]
pub struct Broadcast {
    broker: Broker,
    ticks: broadcast::Receiver<Ticked>,
    topics: BTreeMap<i32, Arc<str>>,
    positions: BTreeMap<(i32, i32), Position>,
    /// Whether partitions that are added to the topics are read too.
    grows: bool,
    look: bool,
    /// Whose turn it is, so that none waits for the others to end.
    turn: usize,
}

#[derive(Debug, Default)]
struct Position {
    next: i64,
    end: i64,
}

impl Broker {
    /// Reads topics from the start or from now on, and whatever partitions they get.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] where a topic is missing, [`Error::Database`] where the
    /// database cannot be reached.
    pub async fn broadcast(&self, topics: &[&str], start: Start) -> Result<Broadcast, Error> {
        let mut reader = Broadcast::new(self).with_added_partitions();
        let mut conn = self.conn().await?;
        for name in topics {
            let topic = self.topics().get(&mut conn, name).await?;
            reader.topics.insert(topic.id, (*name).into());
        }
        drop(conn);
        reader.find_ends().await?;
        if start == Start::Latest {
            for position in reader.positions.values_mut() {
                position.next = position.end;
            }
        }
        Ok(reader)
    }

    /// Reads these partitions, of any topics, each from an offset on. An offset that is not
    /// kept any more counts as the log start; [`offsets`](Broker::offsets) finds one by time.
    ///
    /// # Errors
    /// As [`broadcast`](Broker::broadcast); [`InvalidRecord::Partition`] for a partition that
    /// there is not.
    pub async fn broadcast_from(&self, places: &[(&str, i32, u64)]) -> Result<Broadcast, Error> {
        let mut reader = Broadcast::new(self);
        let mut conn = self.conn().await?;
        for (name, partition, offset) in places {
            let topic = self.topics().get(&mut conn, name).await?;
            if !(0..topic.partitions).contains(partition) {
                let (topic_name, last) = ((*name).to_owned(), topic.partitions - 1);
                return Err(InvalidRecord::Partition {
                    topic: topic_name,
                    partition: *partition,
                    last,
                }
                .into());
            }
            reader.topics.insert(topic.id, (*name).into());
            let next = i64::try_from(*offset).unwrap_or(i64::MAX);
            reader.positions.insert((topic.id, *partition), Position { next, end: 0 });
        }
        drop(conn);
        reader.find_ends().await?;
        Ok(reader)
    }
}

impl Broadcast {
    fn new(broker: &Broker) -> Broadcast {
        Broadcast {
            broker: broker.clone(),
            ticks: broker.notices().subscribe(),
            topics: BTreeMap::new(),
            positions: BTreeMap::new(),
            grows: false,
            look: true,
            turn: 0,
        }
    }

    /// Reads partitions, too, that its topics get later or that it was not given, from their
    /// log start on.
    pub fn with_added_partitions(mut self) -> Broadcast {
        self.grows = true;
        self.look = true;
        self
    }

    /// The next records, at least one, in offset order within each partition.
    ///
    /// # Errors
    /// What the database says; the reader keeps its place and may be asked again.
    pub async fn next(&mut self) -> Result<Vec<Record>, Error> {
        loop {
            while let Ok(ticked) = self.ticks.try_recv() {
                self.on_tick(&ticked.ends);
            }
            if self.look {
                self.find_ends().await?;
            }
            let records = self.fetch().await?;
            if !records.is_empty() {
                return Ok(records);
            }
            match timeout(SAFETY_POLL, self.ticks.recv()).await {
                Ok(Ok(ticked)) => self.on_tick(&ticked.ends),
                Ok(Err(broadcast::error::RecvError::Closed)) => return Err(Error::Closed),
                Ok(Err(broadcast::error::RecvError::Lagged(_))) | Err(_) => self.look = true,
            }
        }
    }

    fn on_tick(&mut self, ends: &Ends) {
        let Ends::These(ends) = ends else {
            self.look = true;
            return;
        };
        for end in ends.iter() {
            if let Some(position) = self.positions.get_mut(&(end.topic, end.partition)) {
                position.end = position.end.max(end.end);
            }
        }
    }

    async fn find_ends(&mut self) -> Result<(), Error> {
        let mut conn = self.broker.conn().await?;
        if self.grows {
            for (id, name) in &self.topics {
                for partition in 0..self.broker.topics().get(&mut conn, name).await?.partitions {
                    self.positions.entry((*id, partition)).or_default();
                }
            }
        }
        let (topics, partitions): (Vec<i32>, Vec<i32>) = self.positions.keys().copied().unzip();
        let ends: Vec<(i32, i32, i64, i64)> = sqlx::query_as(
            "select w.topic, w.partition, log.partition_start(w.topic, w.partition),
                    log.partition_end(w.topic, w.partition)
               from unnest($1::int[], $2::int[]) w(topic, partition)",
        )
        .bind(topics)
        .bind(partitions)
        .fetch_all(&mut *conn)
        .await?;
        for (topic, partition, start, end) in ends {
            if let Some(position) = self.positions.get_mut(&(topic, partition)) {
                // What lies below would never come, and with it nothing behind it.
                position.next = position.next.max(start);
                position.end = end;
            }
        }
        self.look = false;
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Vec<Record>, Error> {
        let mut wanted: Vec<(i32, i32, i64)> = self
            .positions
            .iter()
            .filter(|(_, position)| position.next < position.end)
            .map(|((topic, partition), position)| (*topic, *partition, position.next))
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        if wanted.len() > FETCH_PARTITIONS {
            let turn = self.turn % wanted.len();
            wanted.rotate_left(turn);
            wanted.truncate(FETCH_PARTITIONS);
            self.turn = turn + FETCH_PARTITIONS;
        }
        let mut conn = self.broker.conn().await?;
        let batches = fetch(&mut conn, &wanted, FETCH_RECORDS, FETCH_BYTES).await?;
        conn.done();
        let mut records = Vec::new();
        for ((topic_id, partition), batches) in batches {
            let (Some(topic), Some(position)) =
                (self.topics.get(&topic_id), self.positions.get_mut(&(topic_id, partition)))
            else {
                continue;
            };
            for batch in batches {
                for record in batch.records(topic, partition, position.next) {
                    position.next = record.offset() as i64 + 1;
                    records.push(record);
                }
            }
        }
        // Retention may have passed this reader by.
        self.look = records.is_empty();
        Ok(records)
    }
}
