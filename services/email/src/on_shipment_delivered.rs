//! A parcel arrived: its customer is told.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::{MailKind, ShipmentDelivered};

use crate::domain::MailDomain;
use crate::letter;
use crate::store::{self, NewMail};

pub struct OnShipmentDelivered {
    pub domain: MailDomain,
}

impl Subscriber for OnShipmentDelivered {
    type Event = ShipmentDelivered;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<ShipmentDelivered>],
    ) -> Result<(), HandlerError> {
        let mut mails = Vec::with_capacity(events.len());
        for received in events {
            mails.push(NewMail {
                subject_id: received.order_id,
                kind: MailKind::Delivered,
                to: &received.customer,
                letter: letter::delivered(received)?,
                attachment: None,
                trace: &received.trace,
            });
        }
        Ok(store::queue(tx, &self.domain, &mails).await?)
    }
}
