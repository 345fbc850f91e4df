//! A mail server refused a mail for good.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::MailBounced;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnMailBounced;

impl Subscriber for OnMailBounced {
    type Event = MailBounced;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<MailBounced>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |mail| Fact {
            subject_id: mail.subject_id,
            at: mail.bounced_at,
            details: json!({"kind": mail.kind, "message_id": mail.message_id, "reason": mail.reason}),
            amount: None,
            effect: None,
        })
        .await
    }
}
