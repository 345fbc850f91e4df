//! What the group's handlers did: each record of the log once, in order.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Anomaly, Effect, Facts, Kind, add, place};

pub(super) fn check(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    let mut by_place: HashMap<(i32, i64), Vec<&Effect>> = HashMap::new();
    let mut by_value: HashMap<&str, Vec<&Effect>> = HashMap::new();
    for effect in &facts.end.effects {
        by_place.entry((effect.partition, effect.offset)).or_default().push(effect);
        by_value.entry(&effect.value).or_default().push(effect);
    }
    seen(facts, &by_place, found);
    doubled(&by_place, &by_value, found);
    in_order(facts, found);
    echoes(facts, found);
}

fn seen(facts: &Facts<'_>, by_place: &HashMap<(i32, i64), Vec<&Effect>>, found: &mut Vec<Anomaly>) {
    for record in &facts.log {
        let at = (record.partition, record.offset);
        if !by_place.contains_key(&at) {
            add(
                found,
                Kind::Unseen,
                format!("{} at {} was never handled", record.value, place(at)),
            );
        }
    }
    for effect in &facts.end.effects {
        let at = (effect.partition, effect.offset);
        let Effect { process, value, .. } = effect;
        if let Some(kind) = facts.never_to_be_seen(value) {
            add(found, kind, format!("{value} was handled by {process} at {}", place(at)));
        } else if facts.at.get(&at) != Some(&value.as_str()) {
            let there = facts.at.get(&at).unwrap_or(&"nothing");
            let what = format!("{process} handled {value} at {}, where is {there}", place(at));
            add(found, Kind::InconsistentOffset, what);
        }
    }
}

fn doubled(
    by_place: &HashMap<(i32, i64), Vec<&Effect>>,
    by_value: &HashMap<&str, Vec<&Effect>>,
    found: &mut Vec<Anomaly>,
) {
    let doubled = by_place.values().filter(|effects| effects.len() > 1);
    let mut told: HashSet<&str> = HashSet::new();
    for effects in doubled.chain(by_value.values().filter(|effects| effects.len() > 1)) {
        let (first, second) = (effects[0], effects[1]);
        if !told.insert(&first.value) {
            continue;
        }
        let what = format!(
            "{} was handled by {} at {} and by {} at {}",
            first.value,
            first.process,
            place((first.partition, first.offset)),
            second.process,
            place((second.partition, second.offset)),
        );
        add(found, Kind::DuplicateEffect, what);
    }
}

/// A group is one reader, whoever its members are: its effects follow the offsets.
fn in_order(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for effect in &facts.end.effects {
        let expected = next.entry(effect.partition).or_insert(0);
        let at = place((effect.partition, effect.offset));
        let who = &effect.process;
        if effect.offset > *expected {
            add(found, Kind::SkippedPoll, format!("{who} handled {at} before offset {expected}"));
        } else if effect.offset < *expected {
            let what = format!("{who} handled {at} when the group was at offset {expected}");
            add(found, Kind::NonMonotonicPoll, what);
        }
        *expected = effect.offset + 1;
    }
}

/// What a handler published is there as often as the effect that it came with.
fn echoes(facts: &Facts<'_>, found: &mut Vec<Anomaly>) {
    let mut count: BTreeMap<&str, i64> = BTreeMap::new();
    for effect in facts.end.effects.iter().filter(|effect| effect.echo) {
        *count.entry(&effect.value).or_default() += 1;
    }
    for echo in &facts.end.echoes {
        *count.entry(echo).or_default() -= 1;
    }
    for (value, balance) in count {
        match balance {
            0 => {}
            1.. => add(found, Kind::TornEffect, format!("{value} has an effect and no echo")),
            _ => add(found, Kind::TornEffect, format!("{value} has an echo and no effect")),
        }
    }
}
