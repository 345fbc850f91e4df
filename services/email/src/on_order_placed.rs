//! An order was placed: its customer gets a confirmation, and promotional mail from now on
//! where the order asks for it.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::{MailKind, OrderPlaced};

use crate::domain::MailDomain;
use crate::letter;
use crate::store::{self, NewMail, Wish};

pub struct OnOrderPlaced {
    pub domain: MailDomain,
}

impl Subscriber for OnOrderPlaced {
    type Event = OrderPlaced;

    async fn handle(
        &self,
        tx: &mut Transaction,
        orders: &[Received<OrderPlaced>],
    ) -> Result<(), HandlerError> {
        let mut mails = Vec::with_capacity(orders.len());
        for order in orders {
            mails.push(NewMail {
                subject_id: order.order_id,
                kind: MailKind::Confirmation,
                to: &order.customer,
                letter: letter::confirmation(order)?,
                attachment: None,
                trace: &order.trace,
            });
        }
        store::queue(tx, &self.domain, &mails).await?;
        let wishes: Vec<Wish<'_>> = orders
            .iter()
            .filter(|order| order.promotions)
            .map(|order| Wish { customer: &order.customer, since: order.placed_at })
            .collect();
        if !wishes.is_empty() {
            store::subscribe(tx, &wishes).await?;
        }
        Ok(())
    }
}
