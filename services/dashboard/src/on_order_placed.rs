//! An order was placed: its timeline begins, and it counts with what it costs.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::OrderPlaced;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnOrderPlaced;

impl Subscriber for OnOrderPlaced {
    type Event = OrderPlaced;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<OrderPlaced>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |order| Fact {
            subject_id: order.order_id,
            at: order.placed_at,
            details: json!({
                "currency": order.currency,
                "gross": order.total.gross,
                "lines": order.lines.iter().map(|line| json!({"sku": line.sku, "quantity": line.quantity})).collect::<Vec<_>>(),
            }),
            amount: Some((order.currency.clone(), order.total.gross)),
            effect: None,
        })
        .await
    }
}
