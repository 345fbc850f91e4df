//! Tells this process's readers where partitions end, as soon as a tick says so.
//!
//! Ticks of this process arrive by channel, those of others by `LISTEN`. All of it is a
//! hint: readers look for themselves once a second.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::{Notify, broadcast};

use crate::Error;
use crate::publish::Topics;
use crate::record::Batch;

/// Where partitions end by now.
#[derive(Debug, Clone)]
pub(crate) enum Ends {
    /// Any partition may have grown: the text was too long, or notices were missed.
    Unknown,
    These(Arc<[End]>),
}

/// What readers hear of a tick.
#[derive(Debug, Clone)]
pub(crate) struct Ticked {
    pub ends: Ends,
    /// Batches that came with it, for whoever is at their base: a few small ones at most.
    pub fresh: Arc<[Fresh]>,
}

#[derive(Debug, Clone)]
pub(crate) struct Fresh {
    pub topic: i32,
    pub partition: i32,
    pub batch: Batch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub topic: i32,
    pub partition: i32,
    pub end: i64,
}

impl Ends {
    /// Reads `topic:partition:end,…` as `log.tick` writes it.
    pub fn parse(text: &str) -> Ends {
        let end = |part: &str| {
            let mut numbers = part.split(':');
            Some(End {
                topic: numbers.next()?.parse().ok()?,
                partition: numbers.next()?.parse().ok()?,
                end: numbers.next()?.parse().ok()?,
            })
        };
        match text.split(',').map(end).collect::<Option<Vec<_>>>() {
            Some(ends) => Ends::These(ends.into()),
            None => Ends::Unknown,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Notices {
    ticks: broadcast::Sender<Ticked>,
    /// The backend that last ticked for this process; its notifications repeat the channel's.
    own_backend: AtomicU32,
    foreign_tick: Notify,
    foreign_tick_at: Mutex<Option<Instant>>,
    /// Topics that groups of this process consume, as often as they do.
    consumed: Mutex<Vec<i32>>,
    published: Notify,
    hint: Notify,
    /// When the server last ended the listening connection: perhaps all others with it.
    cut_off_at: Mutex<Option<Instant>>,
}

impl Notices {
    pub fn new() -> Self {
        Notices {
            ticks: broadcast::channel(256).0,
            own_backend: AtomicU32::new(0),
            foreign_tick: Notify::new(),
            foreign_tick_at: Mutex::new(None),
            consumed: Mutex::new(Vec::new()),
            published: Notify::new(),
            hint: Notify::new(),
            cut_off_at: Mutex::new(None),
        }
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Ticked> {
        self.ticks.subscribe()
    }

    pub fn ticked_here(&self, ticked: Ticked) {
        let _ = self.ticks.send(ticked);
    }

    fn ticked_elsewhere(&self, ends: Ends) {
        let _ = self.ticks.send(Ticked { ends, fresh: Arc::default() });
    }

    pub fn set_own_backend(&self, pid: i32) {
        self.own_backend.store(pid as u32, Ordering::Relaxed);
    }

    /// Says, until it is dropped, that a group of this process consumes these topics.
    pub fn consumes(self: &Arc<Self>, topics: Vec<i32>) -> Consumes {
        lock(&self.consumed).extend(&topics);
        Consumes { notices: self.clone(), topics }
    }

    pub fn consumed(&self) -> Vec<i32> {
        let mut topics = lock(&self.consumed).clone();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Whether no other process ticked for so long.
    pub fn is_quiet(&self, gap: Duration) -> bool {
        lock(&self.foreign_tick_at).is_none_or(|at| at.elapsed() >= gap)
    }

    /// Completes when another process ticked since the last call.
    pub async fn foreign_tick(&self) {
        self.foreign_tick.notified().await;
    }

    /// Completes when this process published since the last call.
    pub async fn published_here(&self) {
        self.published.notified().await;
    }

    /// Completes when another process said that it published since the last call. Apart from
    /// [`published_here`](Notices::published_here), or a hint passed on would be heard and
    /// passed on again.
    pub async fn hint(&self) {
        self.hint.notified().await;
    }

    /// Whether a connection of that age may have ended with the listening one.
    pub fn may_have_ended(&self, age: Duration) -> bool {
        lock(&self.cut_off_at).is_some_and(|at| at.elapsed() < age)
    }

    fn cut_off(&self) {
        *lock(&self.cut_off_at) = Some(Instant::now());
    }

    /// Coalesced: many before the next look are one.
    pub fn published(&self) {
        self.published.notify_one();
    }
}

/// See [`Notices::consumes`].
#[derive(Debug)]
pub(crate) struct Consumes {
    notices: Arc<Notices>,
    topics: Vec<i32>,
}

impl Drop for Consumes {
    fn drop(&mut self) {
        let mut consumed = lock(&self.notices.consumed);
        for topic in &self.topics {
            if let Some(at) = consumed.iter().position(|other| other == topic) {
                consumed.swap_remove(at);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens until the connection breaks.
pub(crate) async fn listen(
    options: PgConnectOptions,
    notices: Arc<Notices>,
    topics: Arc<Topics>,
    mut stop: crate::Stop,
) -> Result<(), Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen_all(["log_tick", "log_hint", "log_topic"]).await?;
    // Whatever was said before this moment was missed.
    notices.ticked_elsewhere(Ends::Unknown);
    notices.hint.notify_one();
    topics.clear();
    loop {
        let next = tokio::select! {
            next = listener.try_recv() => next.inspect_err(|_| notices.cut_off())?,
            () = stop.requested() => return Ok(()),
        };
        let Some(notification) = next else {
            notices.cut_off();
            return Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()).into());
        };
        if notification.channel() == "log_hint" {
            notices.hint.notify_one();
        } else if notification.channel() == "log_topic" {
            topics.clear();
        } else if notification.process_id() != notices.own_backend.load(Ordering::Relaxed) {
            *lock(&notices.foreign_tick_at) = Some(Instant::now());
            notices.foreign_tick.notify_one();
            notices.ticked_elsewhere(Ends::parse(notification.payload()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_says_where_partitions_end() {
        let Ends::These(ends) = Ends::parse("1:0:17,2:3:9000000000") else {
            panic!("not read");
        };
        assert_eq!(ends[1], End { topic: 2, partition: 3, end: 9_000_000_000 });
        assert!(matches!(Ends::parse(""), Ends::Unknown));
        assert!(matches!(Ends::parse("1:2"), Ends::Unknown));
    }
}
