//! The order of sending, against the order of offsets.

use std::collections::HashMap;

use super::{Anomaly, Facts, Kind, Logged, add, place};
use crate::collect::Call;

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    for partition in facts.partitions() {
        sends(facts, partition, found);
        keys(facts, partition, found);
    }
}

/// What was acknowledged before another record of that process was sent lies before it.
///
/// Times of different processes are not compared: they would hang on the machine's clock.
fn sends(facts: &Facts<'_>, partition: &[&Logged], found: &mut Vec<Anomaly>) {
    // Of each process, the latest send among the offsets so far.
    let mut latest: HashMap<&str, (u64, &Logged)> = HashMap::new();
    for record in partition {
        let Some((call, _)) = facts.sent.get(record.value.as_str()) else { continue };
        let before = latest.entry(&call.process).or_insert((call.invoked, record));
        if let (true, Some(completed)) = (call.is_acknowledged(), call.completed)
            && completed < before.0
        {
            let (late, early) = (before.1, record);
            let what = format!(
                "{} was acknowledged before {} was sent, and lies behind it: {} and {}",
                early.value,
                late.value,
                place((early.partition, early.offset)),
                place((late.partition, late.offset)),
            );
            add(found, Kind::NonMonotonicSend, what);
        }
        if call.invoked > before.0 {
            *before = (call.invoked, record);
        }
    }
}

/// Within a call, and from one acknowledged call to the next, records of one key lie in the
/// order of sending. A call of unknown outcome may still be under way while the next one is.
fn keys(facts: &Facts<'_>, partition: &[&Logged], found: &mut Vec<Anomaly>) {
    let mut latest: HashMap<&str, Vec<(&Call, usize, &Logged)>> = HashMap::new();
    for record in partition {
        let Some((call, position)) = facts.sent.get(record.value.as_str()) else { continue };
        let before = latest.entry(&call.records[*position].0).or_default();
        let later = before.iter().find(|(other, at, _)| {
            (std::ptr::eq(*other, *call) && at > position) || comes_before(call, other)
        });
        if let Some((.., late)) = later {
            let what = format!(
                "{} was sent before {}, and lies behind it: {} and {}",
                record.value,
                late.value,
                place((record.partition, record.offset)),
                place((late.partition, late.offset)),
            );
            add(found, Kind::KeyOrder, what);
        }
        // One record for each call is enough, and few calls are under way at once.
        before.retain(|(other, ..)| !std::ptr::eq(*other, *call) && !comes_before(other, call));
        before.push((call, *position, record));
    }
}

fn comes_before(first: &Call, second: &Call) -> bool {
    first.process == second.process
        && first.is_acknowledged()
        && first.completed.is_some_and(|completed| completed < second.invoked)
}
