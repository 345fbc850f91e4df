//! A parcel was stopped.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::ShipmentCancelled;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnShipmentCancelled;

impl Subscriber for OnShipmentCancelled {
    type Event = ShipmentCancelled;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<ShipmentCancelled>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |parcel| Fact {
            subject_id: parcel.order_id,
            at: parcel.cancelled_at,
            details: json!({}),
            amount: None,
            effect: None,
        })
        .await
    }
}
