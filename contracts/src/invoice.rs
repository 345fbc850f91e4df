//! Topic `invoice`: what a customer owes, on paper.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::common::{Customer, Total};

crate::events!("invoice": InvoiceIssued by order_id, CreditNoteIssued by order_id);

/// An invoice was numbered and rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceIssued {
    /// The order.
    pub order_id: Uuid,
    /// Without gaps within its series.
    pub number: String,
    /// The date on it.
    pub issued_on: NaiveDate,
    /// When it was rendered.
    pub issued_at: DateTime<Utc>,
    /// Whom it is for.
    pub customer: Customer,
    /// ISO 4217.
    pub currency: String,
    /// What is owed.
    pub total: Total,
    /// The document: whoever passes it on needs nothing but this record.
    pub pdf: Pdf,
}

/// A credit note was numbered and rendered, for an order that was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditNoteIssued {
    /// The order.
    pub order_id: Uuid,
    /// Without gaps within its series.
    pub number: String,
    /// The invoice that it corrects.
    pub corrects: String,
    /// The date on it.
    pub issued_on: NaiveDate,
    /// When it was rendered.
    pub issued_at: DateTime<Utc>,
    /// Whom it is for.
    pub customer: Customer,
    /// ISO 4217.
    pub currency: String,
    /// What is given back, as negative amounts.
    pub total: Total,
    /// The document.
    pub pdf: Pdf,
}

/// A PDF; base64 in JSON.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pdf(pub Vec<u8>);

impl TryFrom<String> for Pdf {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Pdf)
    }
}

impl From<Pdf> for String {
    fn from(pdf: Pdf) -> String {
        STANDARD.encode(pdf.0)
    }
}

impl std::fmt::Debug for Pdf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pdf({} bytes)", self.0.len())
    }
}
