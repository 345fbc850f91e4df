//! Commits orders: whatever arrives while one commit is under way goes into the next.
//!
//! No timer and no waiting for company: a lone order is committed at once, and under load
//! hundreds share one commit. Each caller is answered after the commit and not before.

use std::sync::Arc;

use actix::prelude::*;
use broker::Broker;
use chassis::{EventTransaction, Problem, Trace};
use contracts::OrderPlaced;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::error;
use uuid::Uuid;

use crate::store::{self, Stored};

/// Orders that may wait; more are told to come again.
const MAX_WAITING: usize = 4096;

/// An order to be committed, with what its client is to be told.
#[derive(Debug, Clone)]
pub struct NewOrder {
    pub order: OrderPlaced,
    pub key: String,
    pub fingerprint: Vec<u8>,
    pub answer: String,
    pub trace: Trace,
}

/// What became of it.
#[derive(Debug)]
pub enum Placed {
    /// This answer is durable: the order was placed now, or, where it is replayed, when the key
    /// was first used.
    Answer { order_id: Uuid, answer: String, replayed: bool },
    /// The key was used with another body.
    OtherBody,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Place {
    new: NewOrder,
    reply: oneshot::Sender<Result<Placed, Problem>>,
    /// The real bound of the mailbox: an actor's own counts per address, not per actor.
    _room: OwnedSemaphorePermit,
}

/// Hands orders to the actor.
#[derive(Clone)]
pub struct Writer {
    actor: Addr<WriterActor>,
    room: Arc<Semaphore>,
}

impl Writer {
    /// Starts the actor, on the current arbiter.
    pub fn start(broker: Broker, batch: usize, in_flight: usize) -> Writer {
        let actor = Supervisor::start(move |_| WriterActor {
            broker,
            batch,
            in_flight,
            waiting: Vec::new(),
            under_way: 0,
        });
        Writer { actor, room: Arc::new(Semaphore::new(MAX_WAITING)) }
    }

    /// Commits an order and its event.
    ///
    /// # Errors
    /// 503 where too many wait or the database is in trouble. After that one the order may
    /// still have been stored: the same key finds out.
    pub async fn place(&self, new: NewOrder) -> Result<Placed, Problem> {
        let room = self.room.clone().try_acquire_owned();
        let room =
            room.map_err(|_| Problem::overloaded("too many orders are waiting; try again", 1))?;
        let (reply, result) = oneshot::channel();
        self.actor.do_send(Place { new, reply, _room: room });
        result.await.unwrap_or_else(|_| Err(Problem::overloaded("the service is stopping", 1)))
    }
}

struct WriterActor {
    broker: Broker,
    batch: usize,
    in_flight: usize,
    waiting: Vec<Place>,
    under_way: usize,
}

impl Actor for WriterActor {
    type Context = Context<Self>;
}

impl Supervised for WriterActor {}

impl Handler<Place> for WriterActor {
    type Result = ();

    fn handle(&mut self, place: Place, ctx: &mut Self::Context) {
        self.waiting.push(place);
        self.write_next(ctx);
    }
}

impl WriterActor {
    fn write_next(&mut self, ctx: &mut Context<Self>) {
        while self.under_way < self.in_flight && !self.waiting.is_empty() {
            let count = self.waiting.len().min(self.batch);
            let batch: Vec<Place> = self.waiting.drain(..count).collect();
            self.under_way += 1;
            metrics::histogram!("waybill_order_batch_size").record(count as f64);
            // A task of its own: a panic there leaves this actor alive, and its callers are
            // told by the channels that it drops.
            let write = tokio::spawn(write(self.broker.clone(), batch));
            ctx.spawn(write.into_actor(self).map(|end, this, ctx| {
                if let Err(panic) = end {
                    error!("writing orders panicked: {panic}");
                }
                this.under_way -= 1;
                this.write_next(ctx);
            }));
        }
    }
}

/// Commits a batch and answers; where that fails for the orders' sake, one by one, so that
/// one order's fault is not another's.
async fn write(broker: Broker, places: Vec<Place>) {
    let (news, replies): (Vec<NewOrder>, Vec<_>) =
        places.into_iter().map(|place| (place.new, (place.reply, place._room))).unzip();
    match commit(&broker, &news).await {
        Ok(results) => {
            for ((reply, _room), result) in replies.into_iter().zip(results) {
                let _ = reply.send(Ok(result));
            }
        }
        Err(error) if error.is_transient() || news.len() == 1 => {
            let problem = Problem::from(error);
            for (reply, _room) in replies {
                let _ = reply.send(Err(problem.clone()));
            }
        }
        Err(error) => {
            error!("a batch of {} orders is written one by one: {error}", news.len());
            for ((reply, _room), new) in replies.into_iter().zip(news) {
                let result = commit(&broker, std::slice::from_ref(&new)).await;
                let result = result.map(|mut results| results.remove(0)).map_err(Problem::from);
                let _ = reply.send(result);
            }
        }
    }
}

/// One transaction: keys, orders, lines, and last the events. Equal requests of one batch,
/// or of another instance's, find the first one's answer.
async fn commit(broker: &Broker, news: &[NewOrder]) -> Result<Vec<Placed>, broker::Error> {
    let mut tx = broker.begin().await?;
    let first = store::claim_keys(&mut tx, news).await?;
    let fresh: Vec<&NewOrder> =
        news.iter().filter(|new| first.contains(&new.order.order_id)).collect();
    if !fresh.is_empty() {
        let orders: Vec<&OrderPlaced> = fresh.iter().map(|new| &new.order).collect();
        store::insert_orders(&mut tx, &orders).await?;
        store::insert_lines(&mut tx, &orders).await?;
        for new in &fresh {
            tx.publish_event(&new.order, &new.trace)?;
        }
    }
    let known = match fresh.len() == news.len() {
        true => Vec::new(),
        false => store::answers(&mut tx, news).await?,
    };
    tx.commit().await?;
    metrics::counter!("waybill_orders_placed_total").increment(fresh.len() as u64);

    let placed = |new: &NewOrder| {
        if first.contains(&new.order.order_id) {
            let (order_id, answer) = (new.order.order_id, new.answer.clone());
            return Placed::Answer { order_id, answer, replayed: false };
        }
        match known.iter().find(|known| known.key == new.key) {
            Some(Stored { fingerprint, order_id, answer, .. })
                if *fingerprint == new.fingerprint =>
            {
                Placed::Answer { order_id: *order_id, answer: answer.clone(), replayed: true }
            }
            _ => Placed::OtherBody,
        }
    };
    Ok(news.iter().map(placed).collect())
}
