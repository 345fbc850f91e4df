//! A customer asked to cancel.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::CancellationRequested;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnCancellationRequested;

impl Subscriber for OnCancellationRequested {
    type Event = CancellationRequested;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<CancellationRequested>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |request| Fact {
            subject_id: request.order_id,
            at: request.requested_at,
            details: json!({}),
            amount: None,
            effect: None,
        })
        .await
    }
}
