//! A parcel left.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::ShipmentDispatched;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnShipmentDispatched;

impl Subscriber for OnShipmentDispatched {
    type Event = ShipmentDispatched;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<ShipmentDispatched>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |parcel| Fact {
            subject_id: parcel.order_id,
            at: parcel.dispatched_at,
            details: json!({"tracking_code": parcel.tracking_code, "deliver_at": parcel.deliver_at}),
            amount: None,
            effect: Some("ShipmentDispatched".to_owned()),
        })
        .await
    }
}
