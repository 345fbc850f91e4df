//! Coalesces what a process publishes one by one: whatever arrives while one INSERT is
//! under way goes into the next, so that many publishers share a commit.

use std::borrow::Borrow;
use std::sync::Arc;

use actix::prelude::*;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::error;

use crate::notices::Notices;
use crate::publish::{MAX_STATEMENT_BYTES, Topics, of_commit};
use crate::record::NewRecord;
use crate::telemetry::Sending;
use crate::{Error, record};

/// What may wait in this actor; `publish` waits for room.
pub(crate) const MAX_WAITING_BYTES: usize = 32 * 1024 * 1024;
const MAX_TOGETHER_BYTES: usize = 4 * record::MAX_BATCH_BYTES;

/// One call's records, with the room that they take.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Publish {
    pub records: Vec<NewRecord>,
    pub reply: oneshot::Sender<Result<(), Error>>,
    /// The real bound of the mailbox: an actor's own counts per address, not per actor.
    pub room: OwnedSemaphorePermit,
}

pub(crate) struct Publisher {
    pool: PgPool,
    topics: Arc<Topics>,
    notices: Arc<Notices>,
    waiting: Vec<Publish>,
    writing: bool,
}

impl Publisher {
    pub fn new(pool: PgPool, topics: Arc<Topics>, notices: Arc<Notices>) -> Self {
        Publisher { pool, topics, notices, waiting: Vec::new(), writing: false }
    }

    fn write_next(&mut self, ctx: &mut Context<Self>) {
        let mut bytes = 0;
        let together = self
            .waiting
            .iter()
            .take_while(|call| {
                bytes += call.room.num_permits();
                bytes <= MAX_TOGETHER_BYTES
            })
            .count()
            .max(1);
        let calls: Vec<Publish> = self.waiting.drain(..together.min(self.waiting.len())).collect();
        if calls.is_empty() {
            return;
        }
        self.writing = true;
        let write = write(self.pool.clone(), self.topics.clone(), calls);
        let notices = self.notices.clone();
        ctx.spawn(tokio::spawn(write).into_actor(self).map(move |end, this, ctx| {
            notices.published();
            if let Err(panic) = end {
                // Its callers' channels were dropped with it: they were told.
                error!("publishing panicked: {panic}");
            }
            this.writing = false;
            this.write_next(ctx);
        }));
    }
}

impl Actor for Publisher {
    type Context = Context<Self>;
}

impl Supervised for Publisher {}

impl Handler<Publish> for Publisher {
    type Result = ();

    fn handle(&mut self, call: Publish, ctx: &mut Self::Context) {
        self.waiting.push(call);
        if !self.writing {
            self.write_next(ctx);
        }
    }
}

/// Writes the calls together; where the server refuses that, each by itself, so that one
/// call's fault is not another's.
async fn write(pool: PgPool, topics: Arc<Topics>, mut calls: Vec<Publish>) {
    let all: Vec<&NewRecord> = calls.iter().flat_map(|call| &call.records).collect();
    let sending = Sending::begin(&all);
    let inserted = insert(&pool, &topics, &all).await;
    sending.end(inserted.is_ok());
    match inserted {
        Err(refusal) if !refusal.is_transient() && calls.len() > 1 => {
            for call in calls {
                let result = insert(&pool, &topics, &call.records).await;
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
