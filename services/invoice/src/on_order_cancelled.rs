//! An order was cancelled: a credit note takes back what its invoice charged.

use std::collections::HashMap;

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::OrderCancelled;

use crate::domain::{Draft, Kind};
use crate::store;

pub struct OnOrderCancelled;

impl Subscriber for OnOrderCancelled {
    type Event = OrderCancelled;

    async fn handle(
        &self,
        tx: &mut Transaction,
        cancellations: &[Received<OrderCancelled>],
    ) -> Result<(), HandlerError> {
        let order_ids: Vec<_> = cancellations.iter().map(|order| order.order_id).collect();
        let invoices: HashMap<_, _> = store::invoices(tx, &order_ids)
            .await?
            .into_iter()
            .map(|invoice| (invoice.draft.order_id, invoice))
            .collect();
        let mut drafts = Vec::with_capacity(cancellations.len());
        for order in cancellations {
            let invoice = invoices.get(&order.order_id).ok_or_else(|| {
                let order_id = order.order_id;
                HandlerError::reject(format!(
                    "order {order_id} has no invoice that a credit note could correct: \
                     is its OrderPlaced among the dead letters?"
                ))
                .at(&order.record)
            })?;
            drafts.push(Draft::credit_note(invoice, &order.trace));
        }
        store::issue(tx, Kind::CreditNote, drafts).await?;
        Ok(())
    }
}
