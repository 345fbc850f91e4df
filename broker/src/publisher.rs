//! Coalesces what a process publishes one by one: whatever arrives while one INSERT is
//! under way goes into the next, so that many publishers share a commit.
//!
//! The actor is a loop over its own mailbox and not one of actix's: those live on one thread, and
//! the way there and back was a third of a publish.

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::connections::{Conn, Connections};
use crate::publish::{MAX_STATEMENT_BYTES, Topics, of_commit};
use crate::record::NewRecord;
use crate::telemetry::Sending;
use crate::ticks::Ticks;
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
    connections: Connections,
    topics: Arc<Topics>,
    ticks: Arc<Ticks>,
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
        connections: Connections,
        topics: Arc<Topics>,
        ticks: Arc<Ticks>,
    ) -> (Publisher, mpsc::UnboundedSender<Publish>) {
        let (sender, calls) = mpsc::unbounded_channel();
        let mailbox = Arc::new(Mutex::new(Mailbox { calls, next: None }));
        let large_writes = Arc::new(Semaphore::new(LARGE_WRITES));
        (Publisher { connections, topics, ticks, mailbox, large_writes }, sender)
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

    /// Writes the calls together; where the server refuses that, each by itself, so that one
    /// call's fault is not another's.
    async fn write(&self, mut calls: Vec<Publish>) {
        let all: Vec<&NewRecord> = calls.iter().flat_map(|call| &call.records).collect();
        let sending = Sending::begin(&all);
        let inserted = self.insert(&all).await;
        sending.end(inserted.is_ok());
        match inserted {
            Err(refusal) if !refusal.is_transient() && calls.len() > 1 => {
                for call in calls {
                    let _ = call.reply.send(self.insert(&call.records).await);
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

    async fn insert<R: Borrow<NewRecord>>(&self, records: &[R]) -> Result<(), Error> {
        let mut conn = self.connections.acquire().await?;
        let bytes: usize = records.iter().map(|record| record.borrow().encoded_len()).sum();
        let inserted = if bytes > MAX_STATEMENT_BYTES {
            self.insert_in_transaction(conn, records).await
        } else {
            // A statement of its own commits by itself: broken off, its outcome is unknown.
            match self.topics.insert(&mut conn, records, None).await {
                Ok(()) => Ok(conn),
                Err(Error::Database(error)) => Err(of_commit(error)),
                Err(error) => Err(error),
            }
        };
        match inserted {
            // Before the callers hear of it: the tick's work is the longer.
            Ok(conn) => {
                self.ticks.published(conn);
                Ok(())
            }
            Err(error) => {
                self.ticks.may_have_published();
                Err(error)
            }
        }
    }

    /// For what takes several statements, and is stored whole or not at all.
    async fn insert_in_transaction<R: Borrow<NewRecord>>(
        &self,
        mut conn: Conn,
        records: &[R],
    ) -> Result<Conn, Error> {
        conn.begin().await?;
        self.topics.insert(&mut conn, records, None).await?;
        conn.commit().await.map_err(of_commit)
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

/// The outcome that several callers share, in words where it is an error.
fn same(result: &Result<(), Error>) -> Result<(), Error> {
    let told = |text: String| sqlx::Error::Io(std::io::Error::other(text));
    match result {
        Ok(()) => Ok(()),
        Err(Error::OutcomeUnknown(error)) => Err(Error::OutcomeUnknown(told(error.to_string()))),
        Err(error) => Err(Error::Database(told(error.to_string()))),
    }
}
