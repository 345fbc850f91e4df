//! Topic `mail`: what became of each mail.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::common::Email;

/// What a mail is about. A customer gets each kind at most once an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailKind {
    /// The order was received.
    Confirmation,
    /// The parcel left.
    Dispatched,
    /// The parcel arrived.
    Delivered,
    /// The order was cancelled.
    Cancellation,
    /// The invoice, attached.
    Invoice,
    /// The credit note, attached.
    CreditNote,
    /// Advertising, to those who want it.
    Promotion,
}

impl MailKind {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            MailKind::Confirmation => "confirmation",
            MailKind::Dispatched => "dispatched",
            MailKind::Delivered => "delivered",
            MailKind::Cancellation => "cancellation",
            MailKind::Invoice => "invoice",
            MailKind::CreditNote => "credit_note",
            MailKind::Promotion => "promotion",
        }
    }
}

/// A mail server took the mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailSent {
    /// The order; for a promotion, the promotion.
    pub subject_id: Uuid,
    /// The mail.
    pub mail_id: Uuid,
    /// What it is about.
    pub kind: MailKind,
    /// Its `Message-ID`, the same however often it was tried.
    pub message_id: String,
    /// To whom.
    pub to: Email,
    /// When the server took it.
    pub sent_at: DateTime<Utc>,
}

/// A mail server refused the mail for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailBounced {
    /// The order; for a promotion, the promotion.
    pub subject_id: Uuid,
    /// The mail.
    pub mail_id: Uuid,
    /// What it is about.
    pub kind: MailKind,
    /// Its `Message-ID`.
    pub message_id: String,
    /// To whom.
    pub to: Email,
    /// When it was refused.
    pub bounced_at: DateTime<Utc>,
    /// What the server said.
    pub reason: String,
}

crate::events!("mail": MailSent by subject_id, MailBounced by subject_id);
