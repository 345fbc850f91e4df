//! A promotion was announced: everybody who wants promotional mail gets it.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::PromotionAnnounced;
use tracing::info;

use crate::domain::MailDomain;
use crate::store;

pub struct OnPromotionAnnounced {
    pub domain: MailDomain,
}

impl Subscriber for OnPromotionAnnounced {
    type Event = PromotionAnnounced;

    async fn handle(
        &self,
        tx: &mut Transaction,
        promotions: &[Received<PromotionAnnounced>],
    ) -> Result<(), HandlerError> {
        for promotion in promotions {
            let mails =
                store::queue_promotion(tx, &self.domain, promotion, &promotion.trace).await?;
            info!(promotion_id = %promotion.promotion_id, mails, "promotion queued");
        }
        Ok(())
    }
}
