//! What a record becomes that its group gave up, and how it comes back.

use chrono::Utc;

use crate::{NewRecord, Record};

use super::handler::HandlerError;
use super::session::{dead_letter_topic, redrive_topic};

/// Room for the headers that are added here.
const ROOM: usize = 60_000 - 2_500;
const MAX_ERROR_CHARS: usize = 500;

/// Says where from, why, and how often it was tried.
pub(crate) fn of(
    record: &Record,
    source: &str,
    group: &str,
    error: &HandlerError,
    attempts: u32,
) -> NewRecord {
    let why: String = error.to_string().chars().take(MAX_ERROR_CHARS).collect();
    // One that was redriven keeps saying where it came from at first.
    let first = |name: &str, now: String| record.header(name).map_or(now, str::to_owned);
    let dead = copy(record, dead_letter_topic(source, group))
        .header("dlq.topic", source)
        .header("dlq.partition", first("dlq.partition", record.partition().to_string()))
        .header("dlq.offset", first("dlq.offset", record.offset().to_string()))
        .header("dlq.group", group)
        .header("dlq.error", why)
        .header("dlq.attempts", attempts.to_string())
        .header("dlq.at", Utc::now().to_rfc3339());
    match redrives(record) {
        0 => dead,
        redrives => dead.header("dlq.redrives", redrives.to_string()),
    }
}

/// The dead letter on its way back to the handler of its group.
pub(crate) fn redriven(dead: &Record, source: &str, group: &str) -> NewRecord {
    let mut again = copy(dead, redrive_topic(source, group));
    for name in ["dlq.topic", "dlq.partition", "dlq.offset"] {
        if let Some(value) = dead.header(name) {
            again = again.header(name, value);
        }
    }
    again.header("dlq.redrives", (redrives(dead) + 1).to_string())
}

/// How often it was redriven so far.
pub(crate) fn redrives(record: &Record) -> u32 {
    record.header("dlq.redrives").and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Key, value and its own headers. Where those leave no room for ours they are left out: they
/// are still with the record itself.
fn copy(record: &Record, topic: String) -> NewRecord {
    let mut copy = NewRecord::new(topic, record.value_bytes());
    if let Some(key) = record.key() {
        copy = copy.key(key.to_vec());
    }
    let own = || record.headers().filter(|(name, _)| !name.starts_with("dlq."));
    if own().map(|(name, value)| 3 + name.len() + value.len()).sum::<usize>() < ROOM {
        for (name, value) in own() {
            copy = copy.header(name, value);
        }
    }
    copy
}
