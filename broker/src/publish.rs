//! Puts records into the log: batches, and a transaction that publishes last.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{PoisonError, RwLock};

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

use crate::connections::Conn;
use crate::record::{BatchBuilder, InvalidRecord, NewRecord};
use crate::telemetry::Sending;
use crate::{Broker, Error, partitioner};

/// What one transaction may hold back for its commit.
const MAX_TRANSACTION_BYTES: usize = 64 * 1024 * 1024;
/// What one INSERT carries.
pub(crate) const MAX_STATEMENT_BYTES: usize = 8 * 1024 * 1024;

/// Topics by name, as far as this process has met them.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    known: RwLock<HashMap<String, Topic>>,
    sticky: AtomicI32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Topic {
    pub id: i32,
    pub partitions: i32,
}

impl Topics {
    pub async fn get(&self, conn: &mut PgConnection, name: &str) -> Result<Topic, Error> {
        if let Some(topic) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(*topic);
        }
        let row = sqlx::query("select id, partitions from log.topic where name = $1")
            .bind(name)
            .fetch_optional(conn)
            .await
            .map_err(|error| Error::from_statement(name, error))?
            .ok_or_else(|| Error::UnknownTopic(name.to_owned()))?;
        let topic = Topic { id: row.try_get(0)?, partitions: row.try_get(1)? };
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), topic);
        Ok(topic)
    }

    /// Forgets what may have changed.
    pub fn clear(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Batches in publishing order within each partition. Records without a key and a
    /// partition share one partition a call, so that they share a batch.
    async fn batches<R: Borrow<NewRecord>>(
        &self,
        conn: &mut PgConnection,
        records: &[R],
    ) -> Result<Vec<(i32, i32, BatchBuilder)>, Error> {
        let mut batches: Vec<(i32, i32, BatchBuilder)> = Vec::new();
        let mut open: HashMap<(i32, i32), usize> = HashMap::new();
        let sticky = self.sticky.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        for record in records.iter().map(Borrow::borrow) {
            let mut topic = self.get(conn, &record.topic).await?;
            if record.partition.is_some_and(|partition| partition >= topic.partitions) {
                // It may have more by now than when it was met.
                self.clear();
                topic = self.get(conn, &record.topic).await?;
            }
            let partition = match (record.partition, &record.key) {
                (Some(partition), _) if partition < topic.partitions => partition,
                (Some(partition), _) => {
                    return Err(InvalidRecord::Partition {
                        topic: record.topic.clone(),
                        partition,
                        last: topic.partitions - 1,
                    }
                    .into());
                }
                (None, Some(key)) => partitioner::of_key(key, topic.partitions),
                (None, None) => sticky % topic.partitions,
            };
            let at = open
                .get(&(topic.id, partition))
                .copied()
                .filter(|at| batches[*at].2.has_room_for(record))
                .unwrap_or_else(|| {
                    batches.push((topic.id, partition, BatchBuilder::default()));
                    open.insert((topic.id, partition), batches.len() - 1);
                    batches.len() - 1
                });
            batches[at].2.push(record);
        }
        Ok(batches)
    }

    /// Inserts records that were checked, and with the last of them a group's progress: a
    /// round trip less.
    pub async fn insert<R: Borrow<NewRecord>>(
        &self,
        conn: &mut PgConnection,
        records: &[R],
        mut progress: Option<NextProgress>,
    ) -> Result<(), Error> {
        let mut batches = self.batches(conn, records).await?.into_iter().peekable();
        if batches.len() == 1
            && progress.is_none()
            && let Some((topic, partition, batch)) = batches.next()
        {
            let insert = sqlx::query(INSERT_ONE).bind(topic).bind(partition);
            let insert = insert.bind(batch.lens).bind(batch.body).execute(&mut *conn).await;
            insert.map_err(|error| Error::from_statement(topic_names(records), error))?;
        }
        while batches.peek().is_some() {
            let (mut topics, mut partitions, mut lens, mut bodies) =
                (vec![], vec![], vec![], vec![]);
            let mut bytes = 0;
            while let Some((topic, partition, batch)) = batches
                .next_if(|batch| bytes == 0 || bytes + batch.2.body.len() <= MAX_STATEMENT_BYTES)
            {
                bytes += batch.body.len();
                topics.push(topic);
                partitions.push(partition);
                lens.push(batch.lens);
                bodies.push(batch.body);
            }
            let with_progress = progress.take_if(|_| batches.peek().is_none());
            let statement = match with_progress {
                None => INSERT,
                Some(_) => INSERT_WITH_PROGRESS,
            };
            let insert =
                sqlx::query(statement).bind(topics).bind(partitions).bind(lens).bind(bodies);
            let insert = match with_progress {
                None => insert,
                Some(progress) => progress.bind(insert),
            };
            insert
                .execute(&mut *conn)
                .await
                .map_err(|error| Error::from_statement(topic_names(records), error))?;
        }
        if let Some(progress) = progress {
            let append = sqlx::query("select log.commit_progress($1, $2, $3, $4, $5, $6)");
            progress.bind(append).execute(&mut *conn).await?;
        }
        Ok(())
    }
}

/// Without the server's answer to COMMIT nobody knows what it did.
pub(crate) fn of_commit(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(_) => Error::Database(error),
        _ => Error::OutcomeUnknown(error),
    }
}

/// One batch: without arrays, which the server would copy the bodies into and out of.
const INSERT_ONE: &str =
    "insert into log.record_batch (topic, partition, lens, body) values ($1, $2, $3, $4)";

const INSERT: &str = "insert into log.record_batch (topic, partition, lens, body)
    select * from unnest($1::int[], $2::int[], $3::bytea[], $4::bytea[])";

const INSERT_WITH_PROGRESS: &str = "with published as (
        insert into log.record_batch (topic, partition, lens, body)
        select * from unnest($1::int[], $2::int[], $3::bytea[], $4::bytea[]))
    select log.commit_progress($5, $6, $7, $8, $9, $10)";

/// The row of progress that a handler's transaction ends with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NextProgress {
    pub subscription: i32,
    pub partition: i32,
    pub after: i64,
    pub member: i32,
    pub generation: i32,
    pub committed: i64,
}

impl NextProgress {
    fn bind<'q>(self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(self.subscription)
            .bind(self.partition)
            .bind(self.after)
            .bind(self.member)
            .bind(self.generation)
            .bind(self.committed)
    }
}

fn topic_names<R: Borrow<NewRecord>>(records: &[R]) -> String {
    let mut names: Vec<_> = records.iter().map(|record| record.borrow().topic.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    format!("publishing to {}", names.join(", "))
}

/// A database transaction that can publish: what it publishes is in the log if and only if
/// it commits.
///
/// It derefs to a connection, for statements of one's own. Records are held back and
/// inserted as the last thing before COMMIT: a row's lock is then always taken before the
/// record about it is published, and offsets follow the order of changes. Dropped without
/// [`commit`](Transaction::commit) it rolls back.
#[derive(Debug)]
pub struct Transaction {
    conn: Conn,
    outbox: Vec<NewRecord>,
    outbox_bytes: usize,
    sending: Option<Sending>,
    broker: Broker,
}

impl Transaction {
    /// On a connection of the broker's.
    pub(crate) async fn begin(mut conn: Conn, broker: Broker) -> Result<Transaction, Error> {
        conn.begin().await?;
        Ok(Transaction { conn, outbox: Vec::new(), outbox_bytes: 0, sending: None, broker })
    }

    /// Publishes a record with this transaction.
    ///
    /// # Errors
    /// [`Error::Record`] where the record is not valid or the transaction would hold more
    /// than 64 MiB of records.
    pub fn publish(&mut self, record: NewRecord) -> Result<(), Error> {
        record.check()?;
        self.outbox_bytes += record.encoded_len();
        if self.outbox_bytes > MAX_TRANSACTION_BYTES {
            return Err(InvalidRecord::TooLarge(self.outbox_bytes).into());
        }
        self.outbox.push(record);
        Ok(())
    }

    /// For a dead letter, which is its record with a few headers more.
    pub(crate) fn publish_unchecked(&mut self, record: NewRecord) {
        self.outbox.push(record);
    }

    /// Inserts what was published, once everything else is done, and a group's progress.
    pub(crate) async fn flush(&mut self, progress: Option<NextProgress>) -> Result<(), Error> {
        let records = std::mem::take(&mut self.outbox);
        self.sending = (!records.is_empty()).then(|| Sending::begin(&records));
        self.broker.topics().insert(&mut self.conn, &records, progress).await
    }

    /// Commits; the rows and the records are durable when this returns. Once polled it goes on
    /// even if it is dropped.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] where the connection broke during COMMIT; after any other
    /// error nothing was committed.
    pub async fn commit(mut self) -> Result<(), Error> {
        let runtime = self.broker.runtime().clone();
        // Where the connection lives: else each answer of the server would wake a thread there,
        // and that one the caller's.
        let committed = runtime.spawn(async move {
            self.flush(None).await?;
            self.commit_flushed().await
        });
        // Broken off with the runtime.
        committed.await.map_err(|_| Error::OutcomeUnknown(sqlx::Error::WorkerCrashed))?
    }

    pub(crate) async fn commit_flushed(self) -> Result<(), Error> {
        let Transaction { conn, sending, broker, .. } = self;
        let committed = conn.commit().await.map_err(of_commit);
        let Some(sending) = sending else { return committed.map(Conn::done) };
        sending.end(committed.is_ok());
        match committed {
            Ok(conn) => {
                broker.ticks().published(conn);
                Ok(())
            }
            Err(error) => {
                broker.ticks().may_have_published();
                Err(error)
            }
        }
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}
