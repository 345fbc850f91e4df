//! An invoice was issued.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::InvoiceIssued;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnInvoiceIssued;

impl Subscriber for OnInvoiceIssued {
    type Event = InvoiceIssued;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<InvoiceIssued>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |invoice| Fact {
            subject_id: invoice.order_id,
            at: invoice.issued_at,
            details: json!({"number": invoice.number}),
            amount: Some((invoice.currency.clone(), invoice.total.gross)),
            effect: Some("InvoiceIssued".to_owned()),
        })
        .await
    }
}
