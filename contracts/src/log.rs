//! Topic `log`: every service's own log lines, in one place, and how requests were answered.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

crate::events!("log": LogLine by service, OrdersAnswered by service);

/// A line of a service's log. Keyed by service, so that one service's lines keep their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Which service wrote it.
    pub service: String,
    /// Which process of that service.
    pub process: u32,
    /// When, by that process's clock.
    pub at: DateTime<Utc>,
    /// ERROR, WARN, INFO, DEBUG or TRACE.
    pub level: String,
    /// The module that wrote it.
    pub target: String,
    /// What happened.
    pub message: String,
    /// With what: an order's id, a partition, an offset.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// Orders were answered with their ids: an access log, many answers a record. As with log lines,
/// some may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrdersAnswered {
    /// Which service answered.
    pub service: String,
    /// Which process of that service.
    pub process: u32,
    /// In the order in which they were given.
    pub answers: Vec<OrderAnswer>,
}

/// The answer to one request for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAnswer {
    /// The order.
    pub order_id: Uuid,
    /// The HTTP status.
    pub status: u16,
    /// When, by that process's clock.
    pub answered_at: DateTime<Utc>,
    /// From the request, read, to the answer, ready to be sent; in microseconds.
    pub took_micros: u64,
    /// Whether the order was there already, and the answer was given again.
    pub replayed: bool,
}
