//! Topic `log`: every service's own log lines, in one place.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

crate::events!("log": LogLine by service);

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
