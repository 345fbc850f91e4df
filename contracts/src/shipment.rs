//! Topic `shipment`: where an order's parcel is.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::common::Customer;

crate::events!(
    "shipment": ShipmentScheduled by order_id, ShipmentDispatched by order_id,
    ShipmentDelivered by order_id, ShipmentCancelled by order_id
);

/// An order's parcel has a place and a time in the warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentScheduled {
    /// The order.
    pub order_id: Uuid,
    /// The parcel.
    pub shipment_id: Uuid,
    /// When that was decided.
    pub scheduled_at: DateTime<Utc>,
    /// When it is to leave.
    pub dispatch_at: DateTime<Utc>,
    /// When it is to arrive.
    pub deliver_at: DateTime<Utc>,
}

/// The parcel left the warehouse and cannot be stopped any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentDispatched {
    /// The order.
    pub order_id: Uuid,
    /// The parcel.
    pub shipment_id: Uuid,
    /// When it left.
    pub dispatched_at: DateTime<Utc>,
    /// When it is to arrive.
    pub deliver_at: DateTime<Utc>,
    /// What the carrier tracks it by.
    pub tracking_code: String,
    /// Whom to tell.
    pub customer: Customer,
}

/// The parcel arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentDelivered {
    /// The order.
    pub order_id: Uuid,
    /// The parcel.
    pub shipment_id: Uuid,
    /// When it arrived.
    pub delivered_at: DateTime<Utc>,
    /// Whom to tell.
    pub customer: Customer,
}

/// The parcel was stopped before it left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipmentCancelled {
    /// The order.
    pub order_id: Uuid,
    /// The parcel.
    pub shipment_id: Uuid,
    /// When it was stopped.
    pub cancelled_at: DateTime<Utc>,
}
