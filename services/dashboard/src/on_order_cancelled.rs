//! An order was cancelled before its parcel left.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::OrderCancelled;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnOrderCancelled;

impl Subscriber for OnOrderCancelled {
    type Event = OrderCancelled;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<OrderCancelled>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |order| Fact {
            subject_id: order.order_id,
            at: order.cancelled_at,
            details: json!({}),
            amount: None,
            effect: None,
        })
        .await
    }
}
