//! What broadcast readers were given.

use std::collections::{HashMap, HashSet};

use super::{Anomaly, Facts, Kind, add, place};
use crate::collect::Poll;

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    in_order(facts, found);
    contents(facts, found);
    complete(facts, found);
}

/// A reader starts at 0 and goes on without a skip or a step back. A session ends with its
/// server's life, so none spans a crash, after which offsets that were seen may be given anew.
fn in_order(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    let mut next: HashMap<(&str, i32), i64> = HashMap::new();
    for Poll { session, partition, records, .. } in &facts.history.polls {
        let expected = next.entry((session, *partition)).or_insert(0);
        for (offset, value) in records {
            let at = place((*partition, *offset));
            if offset > expected {
                let what = format!("{session} got {value} at {at} instead of offset {expected}");
                add(found, Kind::SkippedPoll, what);
            } else if offset < expected {
                let what = format!("{session} got {value} at {at} when it was at {expected}");
                add(found, Kind::NonMonotonicPoll, what);
            }
            *expected = offset + 1;
        }
    }
}

/// Within one life of the server all see the same at an offset, and in the last one what the
/// log has there in the end.
fn contents(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    let mut seen: HashMap<(i64, i32, i64), &str> = HashMap::new();
    for Poll { session, life, partition, records } in &facts.history.polls {
        for (offset, value) in records {
            let at = (*partition, *offset);
            if let Some(kind) = facts.never_to_be_seen(value) {
                add(found, kind, format!("{session} got {value} at {}", place(at)));
                continue;
            }
            let Some(life) = *life else { continue };
            let there = match life == facts.end.life {
                true => facts.at.get(&at).copied().unwrap_or("nothing"),
                false => seen.entry((life, *partition, *offset)).or_insert(value),
            };
            if there != value {
                let what = format!("{session} got {value} at {}, where is {there}", place(at));
                add(found, Kind::InconsistentOffset, what);
            }
        }
    }
}

/// The last reader had the time to see all of the log.
fn complete(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    let Some(last) = facts.history.polls.last() else { return };
    let polls = facts.history.polls.iter().filter(|poll| poll.session == last.session);
    let seen: HashSet<(i32, i64)> = polls
        .flat_map(|poll| poll.records.iter().map(|(offset, _)| (poll.partition, *offset)))
        .collect();
    for record in &facts.log {
        let at = (record.partition, record.offset);
        if !seen.contains(&at) {
            let (session, value) = (&last.session, &record.value);
            add(found, Kind::Unseen, format!("{session} never got {value} at {}", place(at)));
        }
    }
}
