//! The handle of a running member.

use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};

use crate::supervise::Supervised;
use crate::{Broker, Error, Stop};

use super::Spec;
use super::member::{self, Member};

/// A running member of a consumer group. Dropped, it goes on until the broker is shut down.
#[derive(Debug)]
pub struct Consumer {
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
}

impl Consumer {
    pub(super) async fn start(broker: Broker, spec: Spec) -> Result<Consumer, Error> {
        // The first session is opened here, so that a wrong name or a missing right is the
        // caller's error and not a line in a log.
        member::try_out(&broker, &spec).await?;
        let part = broker.part().ok_or(Error::Closed)?;
        let (alive, ended) = mpsc::channel(1);
        let (stop, stopped) = Stop::channel();
        let arbiter = broker.arbiter().clone();
        let spec = Arc::new(spec);
        Supervised::start(&arbiter, "consumer", alive, move || {
            // Holding the broker's part keeps its shutdown waiting for this loop.
            let (broker, spec, stop, part) =
                (broker.clone(), spec.clone(), stopped.clone(), part.clone());
            async move {
                let result = Member::run(broker, spec, stop).await;
                drop(part);
                result
            }
            .boxed()
        });
        Ok(Consumer { stop, ended })
    }

    /// Leaves the group after the batches in hand; its partitions are free when this returns.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let _ = self.ended.recv().await;
    }
}
