//! What is wrong with a history, given what the log and the tables hold in the end.
//!
//! A pure function of its input, so that each anomaly can be shown to it by hand.

mod effects;
mod order;
mod polls;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::HashMap;

use serde::Serialize;

use crate::collect::{Call, History};
use crate::history::{How, Outcome};

/// What the database holds once all is quiet.
#[derive(Debug, Default, Serialize)]
pub struct Final {
    /// The log, as `log.record` shows it.
    pub log: Vec<Logged>,
    /// What handlers wrote, in the order in which they did.
    pub effects: Vec<Effect>,
    /// What handlers published with their effects.
    pub echoes: Vec<String>,
    /// Values of the rows that transactions wrote beside their records.
    pub rows: Vec<String>,
    /// The server's life in which this was read.
    pub life: i64,
}

/// A record of the log.
#[derive(Debug, Clone, Serialize)]
pub struct Logged {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The value.
    pub value: String,
}

/// A row that a handler wrote.
#[derive(Debug, Clone, Serialize)]
pub struct Effect {
    /// Who wrote it.
    pub process: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The value.
    pub value: String,
    /// Whether the handler published an echo of it.
    pub echo: bool,
}

/// What can be wrong. The README says where each comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An acknowledged record is not in the log.
    LostWrite,
    /// A record that nobody sent.
    Phantom,
    /// A record that was rolled back, or refused, was seen all the same.
    AbortedRead,
    /// Some records of one call are there, or a row without its record.
    TornWrite,
    /// One record at two offsets.
    DuplicateRecord,
    /// Two records at one offset.
    DuplicateOffset,
    /// An offset without a record.
    Gap,
    /// Acknowledged before another was sent, and yet at a higher offset.
    NonMonotonicSend,
    /// Records of one key that do not lie in the order of sending.
    KeyOrder,
    /// A record of the log that its group, or a reader of everything, was never given.
    Unseen,
    /// A record handled twice.
    DuplicateEffect,
    /// A reader or a handler saw another record at an offset than the log has there.
    InconsistentOffset,
    /// A reader or a group passed an offset over.
    SkippedPoll,
    /// A reader or a group went back.
    NonMonotonicPoll,
    /// An effect without what was to be published with it, or the other way round.
    TornEffect,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 15] = [
        Kind::LostWrite,
        Kind::Phantom,
        Kind::AbortedRead,
        Kind::TornWrite,
        Kind::DuplicateRecord,
        Kind::DuplicateOffset,
        Kind::Gap,
        Kind::NonMonotonicSend,
        Kind::KeyOrder,
        Kind::Unseen,
        Kind::DuplicateEffect,
        Kind::InconsistentOffset,
        Kind::SkippedPoll,
        Kind::NonMonotonicPoll,
        Kind::TornEffect,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::LostWrite => "lost write",
            Kind::Phantom => "phantom",
            Kind::AbortedRead => "aborted read",
            Kind::TornWrite => "torn write",
            Kind::DuplicateRecord => "duplicate record",
            Kind::DuplicateOffset => "duplicate offset",
            Kind::Gap => "gap",
            Kind::NonMonotonicSend => "non-monotonic send",
            Kind::KeyOrder => "key order",
            Kind::Unseen => "unseen",
            Kind::DuplicateEffect => "duplicate effect",
            Kind::InconsistentOffset => "inconsistent offset",
            Kind::SkippedPoll => "skipped poll",
            Kind::NonMonotonicPoll => "non-monotonic poll",
            Kind::TornEffect => "torn effect",
        }
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// What it is called.
    pub kind: Kind,
    /// The records that show it.
    pub what: String,
}

/// Every anomaly of this history.
pub fn analyse(history: &History, end: &Final) -> Vec<Anomaly> {
    let facts = Facts::new(history, end);
    let mut found = Vec::new();
    writes::check(&facts, &mut found);
    order::check(&facts, &mut found);
    effects::check(&facts, &mut found);
    polls::check(&facts, &mut found);
    found
}

/// The input, and where to look things up in it.
struct Facts<'a> {
    history: &'a History,
    end: &'a Final,
    /// By partition and offset.
    log: Vec<&'a Logged>,
    /// The first record at each place.
    at: HashMap<(i32, i64), &'a str>,
    /// The places of each value, in the order of `log`.
    places: HashMap<&'a str, Vec<(i32, i64)>>,
    /// The call that sent a value, and its position in it.
    sent: HashMap<&'a str, (&'a Call, usize)>,
}

impl<'a> Facts<'a> {
    fn new(history: &'a History, end: &'a Final) -> Facts<'a> {
        let mut log: Vec<&Logged> = end.log.iter().collect();
        log.sort_by_key(|record| (record.partition, record.offset));
        let mut at = HashMap::with_capacity(log.len());
        let mut places: HashMap<&str, Vec<_>> = HashMap::with_capacity(log.len());
        for record in &log {
            let place = (record.partition, record.offset);
            at.entry(place).or_insert(record.value.as_str());
            places.entry(&record.value).or_default().push(place);
        }
        let mut sent = HashMap::new();
        for call in &history.calls {
            for (position, (_, value)) in call.records.iter().enumerate() {
                sent.insert(value.as_str(), (call, position));
            }
        }
        Facts { history, end, log, at, places, sent }
    }

    /// The log's partitions, each in offset order.
    fn partitions(&self) -> impl Iterator<Item = &[&'a Logged]> {
        self.log.chunk_by(|a, b| a.partition == b.partition)
    }

    /// What is wrong with somebody having seen this value at all.
    fn never_to_be_seen(&self, value: &str) -> Option<Kind> {
        match self.sent.get(value) {
            None => Some(Kind::Phantom),
            Some((call, _)) if call.is_aborted() => Some(Kind::AbortedRead),
            Some(_) => None,
        }
    }
}

impl Call {
    fn is_aborted(&self) -> bool {
        self.how == How::Rollback || self.outcome == Outcome::Failed
    }

    fn is_acknowledged(&self) -> bool {
        self.how != How::Rollback && self.outcome == Outcome::Ok
    }
}

fn add(found: &mut Vec<Anomaly>, kind: Kind, what: String) {
    found.push(Anomaly { kind, what });
}

/// `partition 3, offset 17`, as all reports say it.
fn place((partition, offset): (i32, i64)) -> String {
    format!("partition {partition}, offset {offset}")
}
