//! Tells this process's readers where partitions end, as soon as a tick says so.
//!
//! Ticks of this process arrive by channel, those of others by `LISTEN`. All of it is a
//! hint: readers look for themselves once a second.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::{Notify, broadcast};

use crate::Error;
use crate::publish::Topics;

/// Where partitions end by now.
#[derive(Debug, Clone)]
pub(crate) enum Ends {
    /// Any partition may have grown: the text was too long, or notices were missed.
    Unknown,
    These(Arc<[End]>),
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
    ends: broadcast::Sender<Ends>,
    /// The backend that ticks for this process; its notifications repeat the channel's.
    own_backend: AtomicU32,
    foreign_tick: Notify,
    published: Notify,
    hint: Notify,
    /// When the server last ended the listening connection: perhaps all others with it.
    cut_off_at: Mutex<Option<Instant>>,
}

impl Notices {
    pub fn new() -> Self {
        Notices {
            ends: broadcast::channel(256).0,
            own_backend: AtomicU32::new(0),
            foreign_tick: Notify::new(),
            published: Notify::new(),
            hint: Notify::new(),
            cut_off_at: Mutex::new(None),
        }
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Ends> {
        self.ends.subscribe()
    }

    pub fn ticked_here(&self, ends: &str) {
        let _ = self.ends.send(Ends::parse(ends));
    }

    pub fn set_own_backend(&self, pid: u32) {
        self.own_backend.store(pid, Ordering::Relaxed);
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
        let cut_off_at = *self.cut_off_at.lock().unwrap_or_else(PoisonError::into_inner);
        cut_off_at.is_some_and(|at| at.elapsed() < age)
    }

    fn cut_off(&self) {
        *self.cut_off_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Coalesced: many before the next look are one.
    pub fn published(&self) {
        self.published.notify_one();
    }
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
    let _ = notices.ends.send(Ends::Unknown);
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
            notices.foreign_tick.notify_one();
            let _ = notices.ends.send(Ends::parse(notification.payload()));
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
