//! What was sent, against what the log holds.

use std::collections::HashSet;

use super::{Anomaly, Facts, Kind, add, place};
use crate::history::How;

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    lost_or_torn(facts, found);
    rows(facts, found);
    in_the_log(facts, found);
    offsets(facts, found);
}

/// An acknowledged call's records are all there; any other's all or none.
fn lost_or_torn(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    for call in &facts.history.calls {
        let missing: Vec<&str> = call
            .records
            .iter()
            .map(|(_, value)| value.as_str())
            .filter(|value| !facts.places.contains_key(value))
            .collect();
        if call.is_acknowledged() {
            for value in missing {
                add(
                    found,
                    Kind::LostWrite,
                    format!("{value} was acknowledged to {}", call.process),
                );
            }
        } else if !missing.is_empty() && missing.len() < call.records.len() {
            let (there, all) = (call.records.len() - missing.len(), call.records.len());
            add(
                found,
                Kind::TornWrite,
                format!("{there} of {all} records, without {}", missing[0]),
            );
        }
    }
}

/// A transaction's rows and its records are there together or not at all.
fn rows(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    let rows: HashSet<&str> = facts.end.rows.iter().map(String::as_str).collect();
    let transactions = facts.history.calls.iter().filter(|call| call.how != How::Publish);
    for (_, value) in transactions.flat_map(|call| &call.records) {
        match (rows.contains(value.as_str()), facts.places.contains_key(value.as_str())) {
            (true, false) => add(found, Kind::TornWrite, format!("{value} has its row alone")),
            (false, true) => add(found, Kind::TornWrite, format!("{value} has no row")),
            _ => {}
        }
    }
}

fn in_the_log(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    for record in &facts.log {
        if let Some(kind) = facts.never_to_be_seen(&record.value) {
            let at = place((record.partition, record.offset));
            add(found, kind, format!("{} is in the log at {at}", record.value));
        }
    }
    for (value, places) in &facts.places {
        if let [first, second, ..] = places[..] {
            let what = format!("{value} is at {} and at {}", place(first), place(second));
            add(found, Kind::DuplicateRecord, what);
        }
    }
}

/// Dense, from 0, one record each.
fn offsets(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    for partition in facts.partitions() {
        let mut next = 0;
        for record in partition {
            let at = (record.partition, record.offset);
            if record.offset < next {
                let (first, second) = (facts.at[&at], &record.value);
                add(
                    found,
                    Kind::DuplicateOffset,
                    format!("{first} and {second} are at {}", place(at)),
                );
            } else if record.offset > next {
                let missing = place((record.partition, next));
                add(found, Kind::Gap, format!("no record at {missing}; the next is {}", place(at)));
            }
            next = record.offset + 1;
        }
    }
}
