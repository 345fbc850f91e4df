//! A member's session: its liveness, its claims and its fetches, on one connection.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use tracing::info;

use crate::Error;
use crate::error::{is_lock_timeout, is_missing};
use crate::record::Batch;

use super::{Spec, Start};

/// Added to the subscription in a member's advisory lock; see
/// `migrations/log/0004_consumer_group.sql`.
const LOCK_CLASS: i32 = 0x4c4f_4700;

/// A claim waits for whoever is appending to that partition; not for a stuck one, behind which
/// it comes again with each heartbeat.
const CLAIM_PATIENCE: &str = "100ms";

/// A partition as a group sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub subscription: i32,
    pub partition: i32,
}

/// A subscription of the group, in the order in which topics were given.
#[derive(Debug, Clone)]
pub(crate) struct Subscribed {
    pub id: i32,
    pub topic: Arc<str>,
    pub topic_id: i32,
    /// Which of the given topics this is, or whose dead letters come through it again.
    pub of: usize,
}

/// One row of the group's progress.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub slot: Slot,
    pub seq: i64,
    pub member: Option<i32>,
    pub committed: i64,
    pub start: i64,
    pub end: i64,
    pub paused: bool,
}

/// A partition that a claim got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimed {
    pub slot: Slot,
    pub seq: i64,
    pub generation: i32,
    pub committed: i64,
}

/// Where a group's dead letters of a topic go.
pub(crate) fn dead_letter_topic(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.dlq")
}

/// Through which they come back to that group.
pub(crate) fn redrive_topic(topic: &str, group: &str) -> String {
    format!("{topic}.{group}.redrive")
}

/// A topic that holds dead letters has none of its own.
pub(crate) fn is_internal(topic: &str) -> bool {
    topic.ends_with(".dlq") || topic.ends_with(".redrive")
}

/// Batches by topic and partition, in offset order.
pub(crate) type Fetched = BTreeMap<(i32, i32), Vec<Batch>>;

pub(crate) struct Session {
    conn: PgConnection,
    pub member: i32,
    pub subscribed: Vec<Subscribed>,
    /// Whether the last batches that were fetched were.
    small_batches: bool,
}

impl Session {
    /// Joins the group. The server ends the session, and with it the membership, when it
    /// hears nothing from it for the session time-out.
    pub async fn open(options: PgConnectOptions, spec: &Spec) -> Result<Session, Error> {
        let Spec { group, topics, .. } = spec;
        let timeout = spec.session_timeout.as_millis().to_string();
        let options = options.options([
            ("idle_session_timeout", timeout.as_str()),
            ("lock_timeout", "2s"),
            // Claims and releases: losing one in a crash frees the partition.
            ("synchronous_commit", "off"),
        ]);
        let mut conn = options.connect().await?;
        let member = sqlx::query_scalar("select log.new_member()").fetch_one(&mut conn).await?;
        let mut subscribed = Vec::new();
        // Beside each topic the one of its dead letters that are redriven, for this group alone.
        let of_both = topics.iter().enumerate().flat_map(|(of, topic)| {
            let redriven = (!is_internal(topic)).then(|| redrive_topic(topic, group).into());
            std::iter::once((of, topic.clone(), spec.start))
                .chain(redriven.map(|topic: Arc<str>| (of, topic, Start::Earliest)))
        });
        for (of, topic, start) in of_both {
            let row = sqlx::query("select subscription, topic_id from log.subscribe($1, $2, $3)")
                .bind(&**group)
                .bind(&*topic)
                .bind(start.as_str())
                .fetch_one(&mut conn)
                .await
                .map_err(|error| match Error::from_statement(&*topic, error) {
                    Error::Forbidden { source, .. } => {
                        Error::Forbidden { what: format!("topic {topic} for {group}"), source }
                    }
                    error => error,
                })?;
            let id: i32 = row.try_get(0)?;
            sqlx::query("select pg_advisory_lock($1, $2)")
                .bind(LOCK_CLASS + id)
                .bind(member)
                .execute(&mut conn)
                .await?;
            subscribed.push(Subscribed { id, topic_id: row.try_get(1)?, topic, of });
        }
        Ok(Session { conn, member, subscribed, small_batches: true })
    }

    fn ids(&self) -> Vec<i32> {
        self.subscribed.iter().map(|subscribed| subscribed.id).collect()
    }

    /// The newest progress of every partition, and who is alive: (subscription, member).
    pub async fn look(&mut self) -> Result<(Vec<Progress>, HashSet<(i32, i32)>), Error> {
        let progress = sqlx::query(
            "select subscription, partition, seq, member, committed, start, upto, paused
               from log.assignment($1)",
        )
        .bind(self.ids())
        .try_map(|row: PgRow| {
            Ok(Progress {
                slot: Slot { subscription: row.try_get(0)?, partition: row.try_get(1)? },
                seq: row.try_get(2)?,
                member: row.try_get(3)?,
                committed: row.try_get(4)?,
                start: row.try_get(5)?,
                end: row.try_get(6)?,
                paused: row.try_get(7)?,
            })
        })
        .fetch_all(&mut self.conn)
        .await?;
        let alive = sqlx::query_as("select subscription, member from log.members($1)")
            .bind(self.ids())
            .fetch_all(&mut self.conn)
            .await?;
        Ok((progress, alive.into_iter().collect()))
    }

    /// Claims partitions whose progress is still as it was seen. One that a stuck transaction
    /// keeps from everybody costs its own claim and no other's.
    pub async fn claim(&mut self, wanted: &[Progress]) -> Result<Vec<Claimed>, Error> {
        match self.claim_together(wanted).await {
            Err(Error::Database(error)) if is_lock_timeout(&error) => {}
            result => return result,
        }
        let mut claimed = Vec::new();
        for one in wanted.chunks(1) {
            match self.claim_together(one).await {
                Ok(one) => claimed.extend(one),
                Err(Error::Database(error)) if is_lock_timeout(&error) => {
                    info!(partition = one[0].slot.partition, "not claimed: a commit is under way");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(claimed)
    }

    async fn claim_together(&mut self, wanted: &[Progress]) -> Result<Vec<Claimed>, Error> {
        let column = |pick: fn(&Progress) -> i32| wanted.iter().map(pick).collect::<Vec<_>>();
        // The function's argument hangs on the setting, so the setting comes first.
        let claimed = sqlx::query(
            "select c.subscription, c.partition, c.seq, c.generation, c.committed
               from (select set_config('lock_timeout', $5, true) as patience) s
              cross join lateral log.claim(case when s.patience is not null then $1 end, $2, $3, $4) c",
        )
        .bind(self.member)
        .bind(column(|row| row.slot.subscription))
        .bind(column(|row| row.slot.partition))
        .bind(wanted.iter().map(|row| row.seq).collect::<Vec<_>>())
        .bind(CLAIM_PATIENCE)
        .try_map(|row: PgRow| {
            Ok(Claimed {
                slot: Slot { subscription: row.try_get(0)?, partition: row.try_get(1)? },
                seq: row.try_get(2)?,
                generation: row.try_get(3)?,
                committed: row.try_get(4)?,
            })
        })
        .fetch_all(&mut self.conn)
        .await?;
        Ok(claimed)
    }

    pub async fn trim(&mut self) -> Result<(), Error> {
        sqlx::query("select log.trim_progress($1)")
            .bind(self.ids())
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    pub async fn fetch(
        &mut self,
        wanted: &[(i32, i32, i64)],
        max_records: i32,
        max_bytes: i64,
    ) -> Result<Fetched, Error> {
        let batches = match self.small_batches {
            true => fetch(&mut self.conn, wanted, max_records, max_bytes).await?,
            false => decode(&ask(&mut self.conn, FETCH, wanted, max_records, max_bytes).await?)?,
        };
        let sizes = batches.values().flatten().map(|batch| batch.body.len());
        let (count, bytes) = sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
        if count > 0 {
            self.small_batches = bytes < count * SMALL_BATCH;
        }
        Ok(batches)
    }

    pub async fn close(self) {
        let _ = self.conn.close().await;
    }
}

/// Batches of fewer bytes than this on average gain from `log.fetch_raw`; larger ones cost by their
/// bytes, which it may have to pass on from `log.fetch`.
const SMALL_BATCH: usize = 16 * 1024;

const FETCH: &str =
    "select topic, partition, base, at, lens, body from log.fetch($1, $2, $3, $4, $5)";
const FETCH_RAW: &str =
    "select topic, partition, base, at, lens, body from log.fetch_raw($1, $2, $3, $4, $5)";

/// Batches from (topic, partition, offset) on.
pub(crate) async fn fetch(
    conn: &mut PgConnection,
    wanted: &[(i32, i32, i64)],
    max_records: i32,
    max_bytes: i64,
) -> Result<Fetched, Error> {
    let rows = match ask(conn, FETCH_RAW, wanted, max_records, max_bytes).await {
        // Perhaps among those that were not asked for: it reads whole blocks.
        Err(Error::Database(error)) if is_missing(&error) => {
            ask(conn, FETCH, wanted, max_records, max_bytes).await?
        }
        rows => rows?,
    };
    decode(&rows)
}

async fn ask(
    conn: &mut PgConnection,
    fetch: &'static str,
    wanted: &[(i32, i32, i64)],
    max_records: i32,
    max_bytes: i64,
) -> Result<Vec<PgRow>, Error> {
    sqlx::query(fetch)
        .bind(wanted.iter().map(|(topic, ..)| *topic).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, partition, _)| *partition).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(.., from)| *from).collect::<Vec<_>>())
        .bind(max_records)
        .bind(max_bytes)
        .fetch_all(conn)
        .await
        .map_err(|error| Error::from_statement("consuming", error))
}

/// Reads the rows of either function: where a row has no base, it follows on the one before it in
/// its partition.
fn decode(rows: &[PgRow]) -> Result<Fetched, Error> {
    let mut next = BTreeMap::new();
    let mut fetched = Fetched::new();
    for row in rows {
        let place = (row.try_get(0)?, row.try_get(1)?);
        let next: &mut i64 = next.entry(place).or_default();
        if let Some(base) = row.try_get(2)? {
            *next = base;
        }
        let Some(lens) = row.try_get::<Option<Vec<u8>>, _>(4)? else { continue };
        let body = Bytes::from(row.try_get::<Vec<u8>, _>(5)?);
        let batch = Batch { base: *next, at: row.try_get(3)?, lens, body };
        *next += batch.count() as i64;
        fetched.entry(place).or_default().push(batch);
    }
    Ok(fetched)
}
