//! What happens to a batch: one transaction, and when that fails the search for the record
//! to blame, its retries and its end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Semaphore;
use tracing::{Instrument, info, warn};

use crate::error::is_fenced;
use crate::publish::NextProgress;
use crate::supervise::backoff;
use crate::telemetry::{self, Processing, process_span};
use crate::{Broker, Error, Record, Transaction};

use super::dead_letter;
use super::handler::{DynHandler, HandlerError};
use super::limits::Limits;
use super::session::{Slot, is_internal};
use super::{AfterRetries, Retry};

/// A partition's place in its group, and how its records are handled.
pub(crate) struct Worker {
    pub broker: Broker,
    pub handler: Arc<dyn DynHandler>,
    pub group: Arc<str>,
    pub topic: Arc<str>,
    /// The topic that the group subscribed to: another one where dead letters are redriven.
    pub source: Arc<str>,
    pub retry: Retry,
    pub limits: Arc<Limits>,
    pub in_flight: Arc<Semaphore>,
    pub slot: Slot,
    pub member: i32,
    pub generation: i32,
    /// The newest row of the progress, appended by this worker.
    pub seq: i64,
    /// The group's next offset, as that row has it.
    pub committed: i64,
    /// The next offset of a commit whose answer was lost.
    pub in_doubt: Option<i64>,
}

/// The partition is not this worker's any more, or it was asked to stop meanwhile.
#[derive(Debug)]
pub(crate) struct Lost;

/// Why a transaction was not committed.
enum Failure {
    Lost,
    /// Not the records' fault.
    Server(String),
    Handler(HandlerError),
}

impl Worker {
    /// Handles and commits all of `records`, whatever it takes.
    pub async fn deliver(&mut self, records: &[Record]) -> Result<(), Lost> {
        let mut rest = vec![records];
        let mut server_failures = 0;
        while let Some(part) = rest.pop() {
            match self.attempt(part).await {
                Ok(()) => {
                    server_failures = 0;
                    self.limits.succeeded();
                }
                Err(Failure::Lost) => return Err(Lost),
                Err(Failure::Server(trouble)) => {
                    warn!(group = &*self.group, topic = &*self.topic, "will retry: {trouble}");
                    self.pause(server_failures).await?;
                    server_failures += 1;
                    rest.push(part);
                }
                Err(Failure::Handler(error)) => match part {
                    [record] => self.alone(record, error).await?,
                    // In order, so the first half is on top.
                    _ => rest.extend(split(part, &error).into_iter().rev()),
                },
            }
        }
        Ok(())
    }

    /// Frees the partition for others.
    pub async fn release(self) {
        let freed = async {
            sqlx::query("select log.release($1, $2, $3, $4, $5)")
                .bind(self.slot.subscription)
                .bind(self.slot.partition)
                .bind(self.seq)
                .bind(self.member)
                .bind(self.generation)
                .execute(&mut *self.broker.conn_here().await?)
                .await
                .map_err(Error::from)
        };
        if let Err(error) = freed.await {
            // Dead or fenced, it is free all the same.
            info!(group = &*self.group, topic = &*self.topic, "not released: {error}");
        }
    }

    /// Handles records in one transaction with the group's progress. After a commit in doubt
    /// the same records come again: whether they are done is asked before the handler runs,
    /// and again when it fails, since the lost commit may have been under way until then.
    async fn attempt(&mut self, records: &[Record]) -> Result<(), Failure> {
        if let Some(next) = self.in_doubt {
            self.is_committed(next).await?;
        }
        // The commit in doubt may have been a larger batch's, which was split since.
        let done = records.partition_point(|record| (record.offset() as i64) < self.committed);
        let records = &records[done..];
        match (self.once(records).await, self.in_doubt) {
            (Err(Failure::Handler(error)), Some(next)) => match self.is_committed(next).await? {
                true => Ok(()),
                false => Err(Failure::Handler(error)),
            },
            (result, _) => result,
        }
    }

    async fn once(&mut self, records: &[Record]) -> Result<(), Failure> {
        let Some(last) = records.last() else { return Ok(()) };
        self.limits.records(records.len()).await;
        let in_flight = self.in_flight.clone();
        let _permit = in_flight.acquire().await.map_err(|_| Failure::Lost)?;
        let (group, topic) = (self.group.clone(), self.topic.clone());
        let processing = Processing::begin(&group, &topic, records.len());
        let result = self.handle(records, last.offset() as i64 + 1).await;
        processing.end(result.is_ok());
        result
    }

    async fn handle(&mut self, records: &[Record], next: i64) -> Result<(), Failure> {
        let mut tx = self.broker.begin_here().await.map_err(Failure::from)?;
        let span = process_span(&self.group, &self.topic, self.slot.partition, records.len());
        // A transaction that panicked half-way is dropped, and so rolled back.
        let handle = AssertUnwindSafe(self.handler.handle(&mut tx, records)).catch_unwind();
        match handle.instrument(span).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Failure::of_handler(error)),
            Err(panic) => return Err(Failure::Handler(HandlerError::from(Panic::new(&*panic)))),
        }
        self.commit(tx, next).await
    }

    async fn commit(&mut self, mut tx: Transaction, next: i64) -> Result<(), Failure> {
        let progress = NextProgress {
            subscription: self.slot.subscription,
            partition: self.slot.partition,
            after: self.seq,
            member: self.member,
            generation: self.generation,
            committed: next,
        };
        match tx.flush(Some(progress)).await {
            Ok(()) => {}
            Err(Error::Database(error)) if is_fenced(&error) => {
                drop(tx);
                // It may be this worker's own commit, whose answer was lost.
                return match self.is_committed(next).await? {
                    true => Ok(()),
                    false => {
                        Err(Failure::Server("the partition's progress is in doubt".to_owned()))
                    }
                };
            }
            Err(error) => return Err(Failure::of_handler(error.into())),
        }
        match tx.commit_flushed().await {
            Ok(()) => {
                self.seq += 1;
                self.committed = next;
                self.in_doubt = None;
                Ok(())
            }
            Err(error) if error.is_transient() => {
                self.in_doubt = Some(next);
                Err(Failure::Server(error.to_string()))
            }
            Err(error) => Err(Failure::of_handler(error.into())),
        }
    }

    /// Whether this worker's commit up to `next` is the partition's newest progress.
    async fn is_committed(&mut self, next: i64) -> Result<bool, Failure> {
        let newest: Option<(i64, Option<i32>, i32, i64)> = sqlx::query_as(
            "select seq, member, generation, committed from log.assignment(array[$1])
              where partition = $2",
        )
        .bind(self.slot.subscription)
        .bind(self.slot.partition)
        .fetch_optional(&mut *self.broker.conn_here().await?)
        .await
        .map_err(|error| Failure::Server(error.to_string()))?;
        match newest {
            Some((seq, Some(member), generation, committed))
                if (member, generation) == (self.member, self.generation) =>
            {
                if (seq, committed) == (self.seq + 1, next) {
                    self.seq += 1;
                    self.committed = next;
                    self.in_doubt = None;
                    return Ok(true);
                }
                if seq == self.seq {
                    return Ok(false);
                }
                Err(Failure::Lost)
            }
            _ => Err(Failure::Lost),
        }
    }

    /// Retries a record by itself, then diverts it or goes on for ever.
    async fn alone(&mut self, record: &Record, mut error: HandlerError) -> Result<(), Lost> {
        let mut attempts = 1;
        let mut server_failures = 0;
        loop {
            let given_up = error.rejected || attempts >= self.retry.attempts;
            if given_up && self.diverts() {
                let breaker = if error.rejected { None } else { self.limits.given_up() };
                let Some(pause) = breaker else {
                    return self.divert(record, &error, attempts).await;
                };
                warn!(
                    group = &*self.group,
                    topic = &*self.topic,
                    partition = record.partition(),
                    offset = record.offset(),
                    "everything fails, so nothing is diverted for {pause:?}: {error}"
                );
                self.wait(pause).await?;
            }
            warn!(
                group = &*self.group,
                topic = &*self.topic,
                partition = record.partition(),
                offset = record.offset(),
                attempts,
                "will retry a record: {error}"
            );
            self.pause(attempts - 1).await?;
            match self.attempt(std::slice::from_ref(record)).await {
                Ok(()) => {
                    self.limits.succeeded();
                    return Ok(());
                }
                Err(Failure::Lost) => return Err(Lost),
                Err(Failure::Handler(next)) => {
                    error = next;
                    attempts = attempts.saturating_add(1);
                    server_failures = 0;
                }
                Err(Failure::Server(trouble)) => {
                    warn!(group = &*self.group, "will retry: {trouble}");
                    self.pause(server_failures).await?;
                    server_failures += 1;
                }
            }
        }
    }

    fn diverts(&self) -> bool {
        self.retry.then == AfterRetries::DeadLetter && !is_internal(&self.source)
    }

    /// Moves a record to the dead-letter topic, in one transaction with the progress.
    async fn divert(
        &mut self,
        record: &Record,
        error: &HandlerError,
        attempts: u32,
    ) -> Result<(), Lost> {
        let dead = dead_letter::of(record, &self.source, &self.group, error, attempts);
        warn!(
            group = &*self.group,
            topic = &*self.topic,
            partition = record.partition(),
            offset = record.offset(),
            attempts,
            to = dead.topic(),
            "gave a record up: {error}"
        );
        let next = record.offset() as i64 + 1;
        let mut failures = 0;
        loop {
            let moved = match self.broker.begin_here().await {
                Ok(mut tx) => {
                    tx.publish_unchecked(dead.clone());
                    self.commit(tx, next).await
                }
                Err(error) => Err(error.into()),
            };
            match moved {
                Ok(()) => {
                    telemetry::dead_letter(&self.group, &self.topic);
                    return Ok(());
                }
                Err(Failure::Lost) => return Err(Lost),
                Err(Failure::Server(trouble)) => warn!("dead letter will be retried: {trouble}"),
                Err(Failure::Handler(trouble)) => {
                    warn!(to = dead.topic(), "dead letter will be retried: {trouble}");
                }
            }
            self.pause(failures).await?;
            failures += 1;
        }
    }

    /// Waits with backoff; a stop ends the wait and the work.
    async fn pause(&self, failures: u32) -> Result<(), Lost> {
        self.wait(backoff(failures, self.retry.pause, self.retry.max_pause)).await
    }

    async fn wait(&self, pause: Duration) -> Result<(), Lost> {
        let mut stop = self.broker.stop();
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = stop.requested() => Err(Lost),
        }
    }
}

/// Around the record to blame where it is known, else in halves.
fn split<'a>(records: &'a [Record], error: &HandlerError) -> Vec<&'a [Record]> {
    let bad = error.offset.and_then(|bad| records.iter().position(|r| r.offset() == bad));
    let parts = match bad {
        Some(bad) => {
            let (before, from) = records.split_at(bad);
            let (bad, after) = from.split_at(1);
            vec![before, bad, after]
        }
        None => {
            let (first, second) = records.split_at(records.len() / 2);
            vec![first, second]
        }
    };
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

impl Failure {
    fn of_handler(error: HandlerError) -> Failure {
        match error.is_transient() {
            true => Failure::Server(error.to_string()),
            false => Failure::Handler(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Closed => Failure::Lost,
            error => Failure::Server(error.to_string()),
        }
    }
}

/// A handler's panic as an error.
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked: {0}")]
struct Panic(String);

impl Panic {
    fn new(payload: &(dyn std::any::Any + Send)) -> Panic {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Panic(text.unwrap_or_else(|| "no message".to_owned()))
    }
}
