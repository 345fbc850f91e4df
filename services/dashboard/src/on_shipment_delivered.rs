//! A parcel arrived.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::ShipmentDelivered;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnShipmentDelivered;

impl Subscriber for OnShipmentDelivered {
    type Event = ShipmentDelivered;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<ShipmentDelivered>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |parcel| Fact {
            subject_id: parcel.order_id,
            at: parcel.delivered_at,
            details: json!({}),
            amount: None,
            effect: Some("ShipmentDelivered".to_owned()),
        })
        .await
    }
}
