//! A mail server took a mail. To whom is no business of this schema.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::{MailKind, MailSent};
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnMailSent;

impl Subscriber for OnMailSent {
    type Event = MailSent;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<MailSent>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |mail| Fact {
            subject_id: mail.subject_id,
            at: mail.sent_at,
            details: json!({"kind": mail.kind, "message_id": mail.message_id}),
            amount: None,
            effect: effect(mail.kind),
        })
        .await
    }
}

/// Mails that every order leads to.
fn effect(kind: MailKind) -> Option<String> {
    use MailKind::{Confirmation, Delivered, Dispatched, Invoice};
    matches!(kind, Confirmation | Dispatched | Delivered | Invoice)
        .then(|| format!("MailSent {}", kind.as_str()))
}
