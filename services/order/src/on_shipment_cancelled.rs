//! The parcel was stopped: now the order is cancelled, and everybody may know.

use broker::{HandlerError, Transaction};
use chassis::{EventTransaction, Received, Subscriber};
use contracts::{OrderCancelled, ShipmentCancelled};
use uuid::Uuid;

use crate::{store, timeline};

pub struct OnShipmentCancelled;

impl Subscriber for OnShipmentCancelled {
    type Event = ShipmentCancelled;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<ShipmentCancelled>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events).await?;
        let order_ids: Vec<Uuid> = events.iter().map(|event| event.order_id).collect();
        let customers = store::customers(tx, &order_ids).await?;
        for event in events {
            // A shipment of an order that is not ours cancels nothing here.
            let customer = customers.iter().find(|(order_id, _)| *order_id == event.order_id);
            if let Some((order_id, customer)) = customer {
                tx.publish_event(
                    &OrderCancelled {
                        order_id: *order_id,
                        cancelled_at: event.cancelled_at,
                        customer: customer.clone(),
                    },
                    &event.trace,
                )?;
            }
        }
        Ok(())
    }
}
