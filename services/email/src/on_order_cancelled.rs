//! An order was cancelled: its customer is told.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::{MailKind, OrderCancelled};

use crate::domain::MailDomain;
use crate::letter;
use crate::store::{self, NewMail};

pub struct OnOrderCancelled {
    pub domain: MailDomain,
}

impl Subscriber for OnOrderCancelled {
    type Event = OrderCancelled;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<OrderCancelled>],
    ) -> Result<(), HandlerError> {
        let mut mails = Vec::with_capacity(events.len());
        for received in events {
            mails.push(NewMail {
                subject_id: received.order_id,
                kind: MailKind::Cancellation,
                to: &received.customer,
                letter: letter::cancellation(received)?,
                attachment: None,
                trace: &received.trace,
            });
        }
        Ok(store::queue(tx, &self.domain, &mails).await?)
    }
}
