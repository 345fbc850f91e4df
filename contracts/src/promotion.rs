//! Topic `promotion`: advertising, for all customers who want it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::common::Text;

crate::events!("promotion": PromotionAnnounced by promotion_id);

/// A promotion is to be mailed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionAnnounced {
    /// The promotion.
    pub promotion_id: Uuid,
    /// When it was announced.
    pub announced_at: DateTime<Utc>,
    /// The mail's subject.
    pub subject: Text,
    /// Its text, in paragraphs.
    pub paragraphs: Vec<Text>,
}
