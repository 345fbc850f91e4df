//! A parcel left: its customer is told how to track it.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::{MailKind, ShipmentDispatched};

use crate::domain::{MailDomain, line_of};
use crate::letter;
use crate::store::{self, NewMail};

pub struct OnShipmentDispatched {
    pub domain: MailDomain,
}

impl Subscriber for OnShipmentDispatched {
    type Event = ShipmentDispatched;

    async fn handle(
        &self,
        tx: &mut Transaction,
        parcels: &[Received<ShipmentDispatched>],
    ) -> Result<(), HandlerError> {
        let mut mails = Vec::with_capacity(parcels.len());
        for parcel in parcels {
            let tracking_code = line_of(parcel, "tracking_code", &parcel.tracking_code)?;
            mails.push(NewMail {
                subject_id: parcel.order_id,
                kind: MailKind::Dispatched,
                to: &parcel.customer,
                letter: letter::dispatched(parcel, &tracking_code)?,
                attachment: None,
                trace: &parcel.trace,
            });
        }
        Ok(store::queue(tx, &self.domain, &mails).await?)
    }
}
