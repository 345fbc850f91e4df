//! Each anomaly shown by hand, and that it is all that is found.

use super::*;
use crate::collect::Poll;

/// Two workers of one process on two partitions, a transaction among their calls, a call that
/// failed, one rolled back, one of unknown outcome that is there and one that is not.
struct Story {
    history: History,
    end: Final,
}

fn call(times: (u64, u64), outcome: Outcome, how: How, records: &[&str]) -> Call {
    Call {
        process: "p1.1".into(),
        how,
        // `a1` has key `a`.
        records: records.iter().map(|value| (value[..1].to_owned(), (*value).to_owned())).collect(),
        invoked: times.0,
        completed: (outcome != Outcome::Unknown).then_some(times.1),
        outcome,
    }
}

fn story() -> Story {
    let calls = vec![
        call((0, 10), Outcome::Ok, How::Publish, &["a1", "a2"]),
        call((0, 12), Outcome::Ok, How::Publish, &["b1"]),
        call((20, 30), Outcome::Ok, How::Transaction, &["a3"]),
        call((20, 25), Outcome::Failed, How::Publish, &["x1"]),
        call((20, 26), Outcome::Ok, How::Rollback, &["y1"]),
        call((40, 0), Outcome::Unknown, How::Publish, &["c1", "c2"]),
        call((50, 0), Outcome::Unknown, How::Publish, &["z1"]),
        call((60, 70), Outcome::Ok, How::Publish, &["d1"]),
    ];
    let partitions: [&[&str]; 2] = [&["a1", "a2", "a3", "d1"], &["b1", "c1", "c2"]];
    let mut end = Final { life: 2, rows: vec!["a3".into()], ..Final::default() };
    let mut polls = Vec::new();
    for (partition, values) in (0..).zip(partitions) {
        for (offset, value) in (0..).zip(values) {
            let value = (*value).to_owned();
            let process = "m1.1".into();
            let echo = value == "a1";
            end.log.push(Logged { partition, offset, value: value.clone() });
            end.effects.push(Effect { process, partition, offset, value, echo });
        }
        let records = (0..).zip(values.iter().map(|value| (*value).to_owned())).collect();
        polls.push(Poll { session: "r1.1/0".into(), life: Some(2), partition, records });
    }
    end.echoes.push("a1".into());
    Story { history: History { calls, polls, handled: 0 }, end }
}

impl Story {
    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<_> =
            analyse(&self.history, &self.end).into_iter().map(|anomaly| anomaly.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    fn everywhere(&mut self, change: impl Fn(&mut (i32, i64, String))) {
        let changed = |partition: &mut i32, offset: &mut i64, value: &mut String| {
            let mut record = (*partition, *offset, std::mem::take(value));
            change(&mut record);
            (*partition, *offset, *value) = record;
        };
        for record in &mut self.end.log {
            changed(&mut record.partition, &mut record.offset, &mut record.value);
        }
        for effect in &mut self.end.effects {
            changed(&mut effect.partition, &mut effect.offset, &mut effect.value);
        }
        for poll in &mut self.history.polls {
            for (offset, value) in &mut poll.records {
                changed(&mut poll.partition, offset, value);
            }
        }
    }

    /// Two values change places, in the log and wherever they are seen.
    fn swap(&mut self, one: &str, other: &str) {
        self.everywhere(|(_, _, value)| {
            if value == one {
                *value = other.to_owned();
            } else if value == other {
                *value = one.to_owned();
            }
        });
    }

    /// A partition's last record goes from the log and from everywhere.
    fn forget(&mut self, forgotten: &str) {
        self.end.log.retain(|record| record.value != forgotten);
        self.end.effects.retain(|effect| effect.value != forgotten);
        for poll in &mut self.history.polls {
            poll.records.retain(|(_, value)| value != forgotten);
        }
    }
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    assert_eq!(analyse(&story().history, &story().end), []);
}

#[test]
fn lost_write() {
    let mut story = story();
    story.forget("d1");
    assert_eq!(story.kinds(), [Kind::LostWrite]);
}

#[test]
fn phantom() {
    let mut story = story();
    story.history.calls.retain(|call| call.records[0].1 != "d1");
    assert_eq!(story.kinds(), [Kind::Phantom]);
}

#[test]
fn aborted_read_of_what_failed() {
    let mut story = story();
    story.history.calls[7].outcome = Outcome::Failed;
    assert_eq!(story.kinds(), [Kind::AbortedRead]);
}

#[test]
fn aborted_read_by_a_handler_alone() {
    let mut story = story();
    story.end.effects[3].value = "x1".into();
    assert_eq!(story.kinds(), [Kind::AbortedRead]);
}

#[test]
fn aborted_read_by_a_reader_alone_and_in_an_earlier_life() {
    let mut story = story();
    let records = vec![(0, "y1".to_owned())];
    let early = Poll { session: "r1.0/0".into(), life: Some(1), partition: 0, records };
    story.history.polls.insert(0, early);
    assert_eq!(story.kinds(), [Kind::AbortedRead]);
}

#[test]
fn what_the_log_must_not_hold_is_found_though_nobody_saw_it() {
    for (value, kind) in [("x1", Kind::AbortedRead), ("q1", Kind::Phantom)] {
        let mut story = story();
        story.end.log.push(Logged { partition: 0, offset: 4, value: value.into() });
        assert_eq!(story.kinds(), [kind, Kind::Unseen]);
    }
}

#[test]
fn torn_write_of_half_a_call() {
    let mut story = story();
    story.forget("c2");
    assert_eq!(story.kinds(), [Kind::TornWrite]);
}

#[test]
fn torn_write_of_a_row_without_its_record() {
    let mut story = story();
    story.end.rows.push("y1".into());
    assert_eq!(story.kinds(), [Kind::TornWrite]);
}

#[test]
fn torn_write_of_a_record_without_its_row() {
    let mut story = story();
    story.end.rows.clear();
    assert_eq!(story.kinds(), [Kind::TornWrite]);
}

#[test]
fn duplicate_record() {
    let mut story = story();
    story.everywhere(|(_, _, value)| {
        if value == "c2" {
            *value = "c1".to_owned();
        }
    });
    // One of unknown outcome that is one record: it is not torn.
    story.history.calls[5].records.pop();
    // Handled at both places: what the group did follows from what the log holds.
    assert_eq!(story.kinds(), [Kind::DuplicateRecord, Kind::DuplicateEffect]);
}

#[test]
fn duplicate_offset() {
    let mut story = story();
    let twice = Logged { partition: 1, offset: 2, value: "z1".into() };
    story.end.log.push(twice);
    assert_eq!(story.kinds(), [Kind::DuplicateOffset]);
}

#[test]
fn gap() {
    let mut story = story();
    story.end.log.retain(|record| record.value != "c1");
    story.history.calls[5].records.remove(0);
    story.end.effects.retain(|effect| effect.value != "c1");
    story.history.polls[1].records.remove(1);
    // Whoever reads such a log jumps, too.
    assert_eq!(story.kinds(), [Kind::Gap, Kind::SkippedPoll]);
}

#[test]
fn non_monotonic_send() {
    let mut story = story();
    story.swap("a3", "d1");
    assert_eq!(story.kinds(), [Kind::NonMonotonicSend]);
}

#[test]
fn calls_at_the_same_time_may_lie_either_way() {
    let mut story = story();
    story.history.calls[7].invoked = 29;
    story.swap("a3", "d1");
    assert_eq!(story.kinds(), []);
}

#[test]
fn key_order_within_a_call() {
    let mut story = story();
    story.swap("c1", "c2");
    assert_eq!(story.kinds(), [Kind::KeyOrder]);
}

#[test]
fn key_order_from_call_to_call() {
    let mut story = story();
    story.swap("a2", "a3");
    assert_eq!(story.kinds(), [Kind::NonMonotonicSend, Kind::KeyOrder]);
}

#[test]
fn unseen_by_the_group() {
    let mut story = story();
    story.end.effects.retain(|effect| effect.value != "d1");
    assert_eq!(story.kinds(), [Kind::Unseen]);
}

#[test]
fn unseen_by_the_reader() {
    let mut story = story();
    story.history.polls[0].records.pop();
    assert_eq!(story.kinds(), [Kind::Unseen]);
}

#[test]
fn duplicate_effect() {
    let mut story = story();
    let again = story.end.effects[3].clone();
    story.end.effects.push(again);
    // Handled again is handled when the group was further on.
    assert_eq!(story.kinds(), [Kind::DuplicateEffect, Kind::NonMonotonicPoll]);
}

#[test]
fn inconsistent_offset_in_an_effect() {
    let mut story = story();
    story.end.effects[3].value = "z1".into();
    assert_eq!(story.kinds(), [Kind::InconsistentOffset]);
}

#[test]
fn inconsistent_offset_between_a_reader_and_the_log() {
    let mut story = story();
    story.history.polls[0].records[3].1 = "z1".into();
    assert_eq!(story.kinds(), [Kind::InconsistentOffset]);
}

#[test]
fn inconsistent_offset_between_readers_of_one_life_and_not_of_two() {
    let mut story = story();
    for (session, life, value) in [("r1.0/0", 0, "a1"), ("r1.0/1", 1, "b1"), ("r2.0/0", 1, "b1")] {
        let records = vec![(0, value.to_owned())];
        let poll = Poll { session: session.into(), life: Some(life), partition: 0, records };
        story.history.polls.insert(0, poll);
    }
    assert_eq!(story.kinds(), []);
    story.history.polls[0].life = Some(0);
    assert_eq!(story.kinds(), [Kind::InconsistentOffset]);
}

#[test]
fn skipped_poll_of_the_group() {
    let mut story = story();
    // Handled in the end, but too late.
    let late = story.end.effects.remove(1);
    story.end.effects.push(late);
    assert_eq!(story.kinds(), [Kind::SkippedPoll, Kind::NonMonotonicPoll]);
}

#[test]
fn skipped_poll_of_a_reader() {
    let mut story = story();
    let records = vec![(1, "a2".to_owned())];
    let poll = Poll { session: "r1.0/0".into(), life: Some(2), partition: 0, records };
    story.history.polls.insert(0, poll);
    assert_eq!(story.kinds(), [Kind::SkippedPoll]);
}

#[test]
fn non_monotonic_poll_of_a_reader() {
    let mut story = story();
    let again = Poll { records: vec![(3, "d1".into())], ..story.history.polls[0].clone() };
    story.history.polls.push(again);
    assert_eq!(story.kinds(), [Kind::NonMonotonicPoll]);
}

#[test]
fn torn_effect() {
    let mut story = story();
    story.end.echoes.clear();
    assert_eq!(story.kinds(), [Kind::TornEffect]);
    story.end.echoes.extend(["a1".into(), "a1".into()]);
    assert_eq!(story.kinds(), [Kind::TornEffect]);
}
