//! A credit note was issued.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::CreditNoteIssued;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnCreditNoteIssued;

impl Subscriber for OnCreditNoteIssued {
    type Event = CreditNoteIssued;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<CreditNoteIssued>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |note| Fact {
            subject_id: note.order_id,
            at: note.issued_at,
            details: json!({"number": note.number, "corrects": note.corrects}),
            amount: Some((note.currency.clone(), note.total.gross)),
            effect: None,
        })
        .await
    }
}
