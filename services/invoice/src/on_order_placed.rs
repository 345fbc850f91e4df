//! An order was placed: its invoice gets a number. It is rendered later, so that numbering,
//! which one transaction at a time can do, takes no longer than an INSERT.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::OrderPlaced;

use crate::check::check;
use crate::domain::{Draft, Kind};
use crate::store;

pub struct OnOrderPlaced;

impl Subscriber for OnOrderPlaced {
    type Event = OrderPlaced;

    async fn handle(
        &self,
        tx: &mut Transaction,
        orders: &[Received<OrderPlaced>],
    ) -> Result<(), HandlerError> {
        for order in orders {
            // Wrong amounts are never put on paper: a person has to look at them.
            check(order).map_err(|wrong| HandlerError::reject(wrong).at(&order.record))?;
        }
        let drafts = orders.iter().map(|order| Draft::invoice(order, &order.trace)).collect();
        store::issue(tx, Kind::Invoice, drafts).await?;
        Ok(())
    }
}
