//! A parcel has its time in the warehouse.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::ShipmentScheduled;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnShipmentScheduled;

impl Subscriber for OnShipmentScheduled {
    type Event = ShipmentScheduled;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<ShipmentScheduled>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |parcel| Fact {
            subject_id: parcel.order_id,
            at: parcel.scheduled_at,
            details: json!({"dispatch_at": parcel.dispatch_at, "deliver_at": parcel.deliver_at}),
            amount: None,
            effect: Some("ShipmentScheduled".to_owned()),
        })
        .await
    }
}
