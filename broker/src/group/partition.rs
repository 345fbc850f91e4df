//! One partition of one group in one process: its mailbox keeps the order.

use actix::prelude::*;
use tokio::sync::mpsc;
use tracing::error;

use crate::Record;

use super::session::Slot;
use super::worker::{Lost, Worker};

/// Records to handle, in offset order, following the last `Work`.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Work {
    pub records: Vec<Record>,
    pub bytes: usize,
}

/// Give the partition back once the work before this message is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Release;

/// What became of a partition's work, for the member that handed it out.
pub(crate) struct Event {
    pub slot: Slot,
    pub outcome: Outcome,
}

pub(crate) enum Outcome {
    /// One `Work` is committed.
    Done { bytes: usize },
    /// Free for others, at the member's own wish.
    Released,
    /// Somebody else's by now.
    Lost,
}

/// The actor. Its mailbox holds at most the credit that the member gives it.
pub(crate) struct Partition {
    slot: Slot,
    // Out while a batch is in hand.
    worker: Option<Worker>,
    events: mpsc::UnboundedSender<Event>,
    releasing: bool,
}

impl Partition {
    pub fn start(
        arbiter: &ArbiterHandle,
        worker: Worker,
        events: mpsc::UnboundedSender<Event>,
    ) -> Addr<Partition> {
        Self::start_in_arbiter(arbiter, move |_| Partition {
            slot: worker.slot,
            worker: Some(worker),
            events,
            releasing: false,
        })
    }

    fn tell(&self, outcome: Outcome) {
        // The member may have left already; the fence does not need it.
        let _ = self.events.send(Event { slot: self.slot, outcome });
    }
}

impl Actor for Partition {
    type Context = Context<Self>;
}

impl Handler<Work> for Partition {
    type Result = ();

    fn handle(&mut self, Work { records, bytes }: Work, ctx: &mut Self::Context) {
        let Some(mut worker) = self.worker.take() else { return };
        let work = tokio::spawn(async move {
            let result = worker.deliver(&records).await;
            (worker, result)
        });
        // The mailbox waits: the next batch starts when this one is committed.
        ctx.wait(work.into_actor(self).map(move |end, this, ctx| match end {
            Ok((worker, Ok(()))) => {
                this.worker = Some(worker);
                this.tell(Outcome::Done { bytes });
            }
            Ok((_, Err(Lost))) => {
                this.tell(Outcome::Lost);
                ctx.stop();
            }
            Err(panic) => {
                error!(partition = this.slot.partition, "handing out a batch panicked: {panic}");
                this.tell(Outcome::Lost);
                ctx.stop();
            }
        }));
    }
}

impl Handler<Release> for Partition {
    type Result = ();

    fn handle(&mut self, _: Release, ctx: &mut Self::Context) {
        if std::mem::replace(&mut self.releasing, true) {
            return;
        }
        let Some(worker) = self.worker.take() else { return };
        let release = tokio::spawn(worker.release());
        ctx.wait(release.into_actor(self).map(|_, this, ctx| {
            this.tell(Outcome::Released);
            ctx.stop();
        }));
    }
}
