//! A customer wants to cancel: the parcel is stopped, if it is still here.
//!
//! This is where the race between cancelling and dispatching is decided, by who locks the
//! shipment's row first. A parcel that has left goes on; its `ShipmentDispatched` is the answer.

use broker::{HandlerError, Transaction};
use chassis::{EventTransaction, Received, Subscriber};
use contracts::{CancellationRequested, ShipmentCancelled};
use tracing::info;

use crate::store;

pub struct OnCancellationRequested;

impl Subscriber for OnCancellationRequested {
    type Event = CancellationRequested;

    async fn handle(
        &self,
        tx: &mut Transaction,
        requests: &[Received<CancellationRequested>],
    ) -> Result<(), HandlerError> {
        let order_ids: Vec<_> = requests.iter().map(|request| request.order_id).collect();
        let stopped = store::cancel_unless_dispatched(tx, &order_ids).await?;
        for request in requests {
            if !stopped.iter().any(|stopped| stopped.order_id == request.order_id) {
                info!(order_id = %request.order_id, "not to be stopped: it has left, or nobody knows it");
            }
        }
        for stopped in stopped {
            // Asked twice is stopped once.
            let request = requests.iter().find(|request| request.order_id == stopped.order_id);
            if let Some(request) = request {
                tx.publish_event(
                    &ShipmentCancelled {
                        order_id: stopped.order_id,
                        shipment_id: stopped.shipment_id,
                        cancelled_at: stopped.cancelled_at,
                    },
                    &request.trace,
                )?;
            }
        }
        Ok(())
    }
}
