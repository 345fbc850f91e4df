//! Coalesces what a process publishes one by one: whatever arrives while one INSERT is
//! under way goes into the next, so that many publishers share a commit.
//!
//! The actor is a loop over its own mailbox and not one of actix's: those live on one thread, and
//! the way there and back was a third of a publish.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::notices::Notices;
use crate::publish::{MAX_STATEMENT_BYTES, Topics, of_commit};
use crate::record::NewRecord;
use crate::telemetry::Sending;
use crate::{Error, record};

/// What may wait in this actor; `publish` waits for room.
pub(crate) const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;
const MAX_TOGETHER_BYTES: usize = 4 * record::MAX_BATCH_BYTES;
/// A call of so many bytes gains nothing from company: its cost is its bytes, not its commit.
const LARGE: usize = 64 * 1024;
/// How many large calls are written side by side.
const LARGE_WRITES: usize = 3;

/// How long an INSERT may wait for the last one's callers; the runtime's clock ticks no finer.
const LINGER: Duration = Duration::from_millis(1);

/// One call's records, with the room that they take.
pub(crate) struct Publish {
    pub records: Vec<NewRecord>,
    pub reply: oneshot::Sender<Result<(), Error>>,
    /// The real bound of the mailbox.
    pub room: OwnedSemaphorePermit,
}

impl Publish {
    /// Large, and nobody can tell its order from another's: neither keys nor partitions.
    fn may_overtake(&self) -> bool {
        let free = |record: &NewRecord| record.key.is_none() && record.partition.is_none();
        self.room.num_permits() >= LARGE && self.records.iter().all(free)
    }
}

#[derive(Clone)]
pub(crate) struct Publisher {
    pool: PgPool,
    topics: Arc<Topics>,
    notices: Arc<Notices>,
    // Kept over a restart of the loop.
    mailbox: Arc<Mutex<Mailbox>>,
    large_writes: Arc<Semaphore>,
}

struct Mailbox {
    calls: mpsc::UnboundedReceiver<Publish>,
    /// Received, but too much for the last INSERT.
    next: Option<Publish>,
}

impl Publisher {
    pub fn new(
        pool: PgPool,
        topics: Arc<Topics>,
        notices: Arc<Notices>,
    ) -> (Publisher, mpsc::UnboundedSender<Publish>) {
        let (sender, calls) = mpsc::unbounded_channel();
        let mailbox = Arc::new(Mutex::new(Mailbox { calls, next: None }));
        let large_writes = Arc::new(Semaphore::new(LARGE_WRITES));
        (Publisher { pool, topics, notices, mailbox, large_writes }, sender)
    }

    /// Writes until nobody can publish any more.
    pub async fn run(self) -> Result<(), Error> {
        let mut mailbox = self.mailbox.lock().await;
        let (mut last, mut ended) = (0, Instant::now());
        while let Some(first) = mailbox.take().await {
            if first.may_overtake() {
                self.write_beside(first).await;
                continue;
            }
            // Callers that were answered a moment ago are on their way back: without them each
            // INSERT would carry those few that are quick, and the others wait for its commit.
            let company = if ended.elapsed() < LINGER { last * 3 / 4 } else { 0 };
            let calls = mailbox.gather(first, company, ended + LINGER).await;
            last = calls.len();
            // A panic drops the calls' channels: their callers are told.
            self.write(calls).await;
            ended = Instant::now();
        }
        Ok(())
    }

    async fn write(&self, calls: Vec<Publish>) {
        write(&self.pool, &self.topics, &self.notices, calls).await;
    }

    async fn write_beside(&self, call: Publish) {
        // Never closed.
        let Ok(permit) = self.large_writes.clone().acquire_owned().await else { return };
        let this = self.clone();
        tokio::spawn(async move {
            this.write(vec![call]).await;
            drop(permit);
        });
    }
}

impl Mailbox {
    async fn take(&mut self) -> Option<Publish> {
        match self.next.take() {
            Some(call) => Some(call),
            None => self.calls.recv().await,
        }
    }

    /// The calls of one INSERT: what is there, and up to so many, what comes until then.
    async fn gather(&mut self, first: Publish, company: usize, until: Instant) -> Vec<Publish> {
        let mut bytes = first.room.num_permits();
        let mut calls = vec![first];
        loop {
            let next = match self.calls.try_recv() {
                Ok(call) => Some(call),
                Err(_) if calls.len() < company => {
                    timeout_at(until, self.calls.recv()).await.ok().flatten()
                }
                Err(_) => None,
            };
            let Some(call) = next else { return calls };
            bytes += call.room.num_permits();
            if bytes > MAX_TOGETHER_BYTES || call.may_overtake() {
                self.next = Some(call);
                return calls;
            }
            calls.push(call);
        }
    }
}

/// Writes the calls together; where the server refuses that, each by itself, so that one
/// call's fault is not another's.
async fn write(pool: &PgPool, topics: &Topics, notices: &Notices, mut calls: Vec<Publish>) {
    let all: Vec<&NewRecord> = calls.iter().flat_map(|call| &call.records).collect();
    let sending = Sending::begin(&all);
    let inserted = insert(pool, topics, &all).await;
    // Before the callers: the sequencer's work is the longer.
    notices.published();
    sending.end(inserted.is_ok());
    match inserted {
        Err(refusal) if !refusal.is_transient() && calls.len() > 1 => {
            for call in calls {
                let result = insert(pool, topics, &call.records).await;
                notices.published();
                let _ = call.reply.send(result);
            }
        }
        result => {
            let last = calls.pop();
            for call in calls {
                let _ = call.reply.send(same(&result));
            }
            if let Some(last) = last {
                let _ = last.reply.send(result);
            }
        }
    }
}

/// The outcome that several callers share, in words where it is an error.
fn same(result: &Result<(), Error>) -> Result<(), Error> {
    let told = |text: String| sqlx::Error::Io(std::io::Error::other(text));
    match result {
        Ok(()) => Ok(()),
        Err(Error::OutcomeUnknown(error)) => Err(Error::OutcomeUnknown(told(error.to_string()))),
        Err(error) => Err(Error::Database(told(error.to_string()))),
    }
}

async fn insert<R: Borrow<NewRecord>>(
    pool: &PgPool,
    topics: &Topics,
    records: &[R],
) -> Result<(), Error> {
    let bytes: usize = records.iter().map(|record| record.borrow().encoded_len()).sum();
    if bytes > MAX_STATEMENT_BYTES {
        // It takes several statements, and one call is stored whole or not at all.
        let mut tx = pool.begin().await?;
        topics.insert(&mut tx, records, None).await?;
        return tx.commit().await.map_err(of_commit);
    }
    let mut conn = pool.acquire().await?;
    // A statement of its own commits by itself: broken off, its outcome is unknown.
    topics.insert(&mut conn, records, None).await.map_err(|error| match error {
        Error::Database(error) if error.as_database_error().is_none() => {
            Error::OutcomeUnknown(error)
        }
        error => error,
    })
}
