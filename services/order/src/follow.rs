//! Follows an order live, as server-sent events.
//!
//! The story is in the table; that is all a follower is told. A broadcast reader only wakes
//! followers, in every process, whichever of them handled the event.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use broker::{Broker, Start};
use futures::Stream;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::warn;
use uuid::Uuid;

use crate::store::{self, Step};

const TOPICS: [&str; 4] = ["order", "shipment", "invoice", "mail"];
const MAX_FOLLOWERS: usize = 1000;
/// Also what keeps proxies from closing a quiet stream.
const SAFETY_POLL: Duration = Duration::from_secs(10);
/// How long after its record an event is in the table, at most as a rule.
const CATCH_UP_MS: [u64; 7] = [5, 10, 20, 50, 100, 300, 1000];

/// Who waits for news of which order.
#[derive(Clone)]
pub struct Followers {
    news: Arc<Mutex<HashMap<Uuid, watch::Sender<u64>>>>,
    room: Arc<Semaphore>,
}

impl Default for Followers {
    fn default() -> Self {
        Followers { news: Arc::default(), room: Arc::new(Semaphore::new(MAX_FOLLOWERS)) }
    }
}

/// One client's place among the followers.
pub struct Follower {
    news: watch::Receiver<u64>,
    _room: OwnedSemaphorePermit,
}

impl Followers {
    /// `None` where there are too many.
    pub fn join(&self, order_id: Uuid) -> Option<Follower> {
        let room = self.room.clone().try_acquire_owned().ok()?;
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        // Room was made by whoever left: as many orders are followed as there are followers.
        news.retain(|_, order| order.receiver_count() > 0);
        let order = news.entry(order_id).or_insert_with(|| watch::channel(0).0);
        Some(Follower { news: order.subscribe(), _room: room })
    }

    /// Wakes followers until the service stops.
    pub async fn run(self, broker: Broker, mut stopping: watch::Receiver<bool>) {
        loop {
            let end = tokio::select! {
                end = self.wake(&broker) => end,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            if let Err(error) = end {
                warn!("followers are told late: {error}");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn wake(&self, broker: &Broker) -> Result<(), broker::Error> {
        let mut reader = broker.broadcast(&TOPICS, Start::Latest).await?;
        loop {
            let records = reader.next().await?;
            let news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
            for record in records {
                let key = record.key().and_then(|key| std::str::from_utf8(key).ok());
                if let Some(order) =
                    key.and_then(|key| key.parse().ok()).and_then(|id: Uuid| news.get(&id))
                {
                    order.send_modify(|version| *version += 1);
                }
            }
        }
    }
}

struct State {
    pool: PgPool,
    order_id: Uuid,
    last: i32,
    follower: Follower,
    stopping: watch::Receiver<bool>,
    started: bool,
}

/// The story after step `last`, as it goes on; ends when the service stops.
pub fn stream(
    pool: PgPool,
    order_id: Uuid,
    last: i32,
    follower: Follower,
    stopping: watch::Receiver<bool>,
) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let state = State { pool, order_id, last, follower, stopping, started: false };
    futures::stream::unfold(state, |mut state| async move {
        let text = state.next().await?;
        Some((Ok(Bytes::from(text)), state))
    })
}

impl State {
    /// The next piece of the stream.
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.started, true) {
            // Headers go out with the first piece: a client is to know that it is connected.
            return Some("retry: 1000\n\n".to_owned());
        }
        loop {
            if *self.stopping.borrow() {
                return None;
            }
            self.follower.news.mark_unchanged();
            if let Some(text) = self.read().await {
                return Some(text);
            }
            let woken = tokio::select! {
                news = self.follower.news.changed() => news.is_ok(),
                () = tokio::time::sleep(SAFETY_POLL) => false,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            };
            if !woken {
                return Some(self.read().await.unwrap_or_else(|| ": still here\n\n".to_owned()));
            }
            // The record is out; the group that writes the story may still be at it.
            for pause in CATCH_UP_MS {
                if let Some(text) = self.read().await {
                    return Some(text);
                }
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }

    async fn read(&mut self) -> Option<String> {
        match store::steps(&self.pool, self.order_id, self.last).await {
            Ok(steps) => {
                self.last = steps.last()?.seq;
                Some(steps.iter().map(event).collect())
            }
            Err(error) => {
                warn!("a follower is told later: {error}");
                None
            }
        }
    }
}

fn event(step: &Step) -> String {
    let data = serde_json::to_string(step).unwrap_or_default();
    format!("id: {}\nevent: {}\ndata: {data}\n\n", step.seq, step.kind)
}
