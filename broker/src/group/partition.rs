//! One partition of one group in one process: its mailbox keeps the order.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::mpsc;
use tracing::error;

use crate::Record;

use super::session::Slot;
use super::worker::{Lost, Worker};

/// What a member asks of a partition.
enum Message {
    /// Records to handle, in offset order, following the last of these.
    Work { records: Vec<Record>, bytes: usize },
    /// Give the partition back once the work before this message is done.
    Release,
}

/// What became of a partition's work, for the member that handed it out.
pub(crate) struct Event {
    pub slot: Slot,
    pub outcome: Outcome,
}

pub(crate) enum Outcome {
    /// One batch is committed.
    Done { bytes: usize },
    /// Free for others, at the member's own wish.
    Released,
    /// Somebody else's by now.
    Lost,
}

/// The actor's address. Its mailbox holds at most the credit that the member gives it.
///
/// The actor is a task with a mailbox and not one of actix's: those live on one thread, and the
/// way there and back cost a record as much as its fetch.
pub(crate) struct Partition {
    mailbox: mpsc::UnboundedSender<Message>,
}

impl Partition {
    pub fn start(worker: Worker, events: mpsc::UnboundedSender<Event>) -> Partition {
        let (mailbox, inbox) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let slot = worker.slot;
            let run = AssertUnwindSafe(run(worker, inbox, &events)).catch_unwind().await;
            let outcome = run.unwrap_or_else(|_| {
                error!(partition = slot.partition, "handing out a batch panicked");
                Some(Outcome::Lost)
            });
            if let Some(outcome) = outcome {
                // The member may have left already; the fence does not need it.
                let _ = events.send(Event { slot, outcome });
            }
        });
        Partition { mailbox }
    }

    /// Hands out records, which follow on the last.
    pub fn work(&self, records: Vec<Record>, bytes: usize) {
        // One that has ended said so, and is soon forgotten.
        let _ = self.mailbox.send(Message::Work { records, bytes });
    }

    /// Asks it to end after what it has.
    pub fn release(&self) {
        let _ = self.mailbox.send(Message::Release);
    }
}

/// One message after the other: the next batch starts when this one is committed. Says how it
/// ended, unless everybody forgot about it.
async fn run(
    mut worker: Worker,
    mut inbox: mpsc::UnboundedReceiver<Message>,
    events: &mpsc::UnboundedSender<Event>,
) -> Option<Outcome> {
    while let Some(message) = inbox.recv().await {
        match message {
            Message::Work { records, bytes } => match worker.deliver(&records).await {
                Ok(()) => {
                    let done = Event { slot: worker.slot, outcome: Outcome::Done { bytes } };
                    let _ = events.send(done);
                }
                Err(Lost) => return Some(Outcome::Lost),
            },
            Message::Release => {
                worker.release().await;
                return Some(Outcome::Released);
            }
        }
    }
    None
}
