//! A promotion is to be mailed: it has a timeline too, of its mails.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::PromotionAnnounced;
use serde_json::json;

use crate::timeline::{self, Fact};

pub struct OnPromotionAnnounced;

impl Subscriber for OnPromotionAnnounced {
    type Event = PromotionAnnounced;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<PromotionAnnounced>],
    ) -> Result<(), HandlerError> {
        timeline::tell(tx, events, |promotion| Fact {
            subject_id: promotion.promotion_id,
            at: promotion.announced_at,
            details: json!({"subject": promotion.subject}),
            amount: None,
            effect: None,
        })
        .await
    }
}
