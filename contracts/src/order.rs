//! Topic `order`: what customers decide.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::common::{Customer, PostalAddress, Text, Total};

crate::events!("order": OrderPlaced by order_id, CancellationRequested by order_id, OrderCancelled by order_id);

/// An order was accepted; its customer has the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPlaced {
    /// The order.
    pub order_id: Uuid,
    /// When it was accepted.
    pub placed_at: DateTime<Utc>,
    /// Who ordered.
    pub customer: Customer,
    /// Where it goes, and whom to bill.
    pub ship_to: PostalAddress,
    /// ISO 4217, as `EUR`.
    pub currency: String,
    /// What was ordered, at the prices of that moment.
    pub lines: Vec<OrderLine>,
    /// Net and tax by tax rate.
    pub taxes: Vec<TaxLine>,
    /// What it costs in all.
    pub total: Total,
    /// Whether the customer wants promotional mail.
    pub promotions: bool,
}

/// One product of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// The product.
    pub sku: String,
    /// Its name at that moment.
    pub name: Text,
    /// How many.
    pub quantity: u32,
    /// Net price of one, in minor units.
    pub unit_price: i64,
    /// Tax rate in basis points: 1900 is 19 %.
    pub tax_rate: u32,
    /// `quantity * unit_price`.
    pub net: i64,
}

/// What the lines of one tax rate come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxLine {
    /// Tax rate in basis points.
    pub rate: u32,
    /// Sum of the lines' net, in minor units.
    pub net: i64,
    /// Tax on that sum, rounded half up.
    pub tax: i64,
}

/// The customer asked to cancel. Whether the parcel can still be stopped is for whoever
/// dispatches it to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancellationRequested {
    /// The order.
    pub order_id: Uuid,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
}

/// The order was cancelled before its parcel left: nothing is delivered, nothing is owed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderCancelled {
    /// The order.
    pub order_id: Uuid,
    /// When that was certain.
    pub cancelled_at: DateTime<Utc>,
    /// Who had ordered.
    pub customer: Customer,
}
