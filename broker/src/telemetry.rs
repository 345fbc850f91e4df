//! Metrics and spans, under OpenTelemetry's names for messaging.
//!
//! Metrics go to whatever recorder the process has installed for the `metrics` crate, spans to
//! its `tracing` subscriber; without one they cost next to nothing.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::time::Instant;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use tracing::Span;

use crate::NewRecord;

const SYSTEM: &str = "broker";
const SENT: &str = "messaging.client.sent.messages";
const CONSUMED: &str = "messaging.client.consumed.messages";
const OPERATION_DURATION: &str = "messaging.client.operation.duration";
const PROCESS_DURATION: &str = "messaging.process.duration";
/// Not among OpenTelemetry's names, which have none for it.
const LAG: &str = "messaging.consumer_group.lag";
const DEAD_LETTERS: &str = "messaging.consumer_group.dead_letters";

/// What the numbers mean, for the recorder.
pub(crate) fn describe() {
    describe_counter!(SENT, Unit::Count, "Records that were published.");
    describe_counter!(CONSUMED, Unit::Count, "Records that were handed to a handler.");
    describe_histogram!(OPERATION_DURATION, Unit::Seconds, "How long a publish took.");
    describe_histogram!(PROCESS_DURATION, Unit::Seconds, "How long a handler's transaction took.");
    describe_gauge!(
        LAG,
        Unit::Count,
        "Records that the group has not handled, by partition owned here."
    );
    describe_counter!(DEAD_LETTERS, Unit::Count, "Records that the group gave up.");
}

/// Records on their way into the log, whose end is told to [`Sending::end`].
#[derive(Debug)]
pub(crate) struct Sending {
    counts: BTreeMap<String, u64>,
    since: Instant,
}

impl Sending {
    pub fn begin<R: Borrow<NewRecord>>(records: &[R]) -> Sending {
        let mut counts = BTreeMap::new();
        for record in records {
            match counts.get_mut(record.borrow().topic()) {
                Some(count) => *count += 1,
                None => drop(counts.insert(record.borrow().topic().to_owned(), 1)),
            }
        }
        Sending { counts, since: Instant::now() }
    }

    pub fn end(self, committed: bool) {
        if self.counts.is_empty() {
            return;
        }
        histogram!(OPERATION_DURATION, "messaging.system" => SYSTEM, "messaging.operation.name" => "send",
            "outcome" => outcome(committed))
        .record(self.since.elapsed().as_secs_f64());
        if committed {
            for (topic, count) in self.counts {
                counter!(SENT, "messaging.system" => SYSTEM, "messaging.operation.name" => "send",
                    "messaging.destination.name" => topic)
                .increment(count);
            }
        }
    }
}

fn outcome(committed: bool) -> &'static str {
    if committed { "ok" } else { "error" }
}

/// A handler's transaction over so many records, whose end is told to [`Processing::end`].
pub(crate) struct Processing<'a> {
    group: &'a str,
    topic: &'a str,
    since: Instant,
}

impl<'a> Processing<'a> {
    pub fn begin(group: &'a str, topic: &'a str, records: usize) -> Self {
        counter!(CONSUMED, "messaging.system" => SYSTEM, "messaging.operation.name" => "process",
            "messaging.destination.name" => topic.to_owned(), "messaging.consumer.group.name" => group.to_owned())
        .increment(records as u64);
        Processing { group, topic, since: Instant::now() }
    }

    pub fn end(self, committed: bool) {
        histogram!(PROCESS_DURATION, "messaging.system" => SYSTEM, "messaging.operation.name" => "process",
            "messaging.destination.name" => self.topic.to_owned(),
            "messaging.consumer.group.name" => self.group.to_owned(),
            "outcome" => outcome(committed))
        .record(self.since.elapsed().as_secs_f64());
    }
}

/// The span of a handler's call.
pub(crate) fn process_span(group: &str, topic: &str, partition: i32, records: usize) -> Span {
    tracing::info_span!(
        "process",
        otel.name = format!("process {topic}"),
        otel.kind = "consumer",
        messaging.system = SYSTEM,
        messaging.operation.name = "process",
        messaging.operation.r#type = "process",
        messaging.destination.name = topic,
        messaging.destination.partition.id = partition,
        messaging.consumer.group.name = group,
        messaging.batch.message_count = records,
    )
}

pub(crate) fn lag(group: &str, topic: &str, partition: i32, records: i64) {
    gauge!(LAG, "messaging.system" => SYSTEM, "messaging.destination.name" => topic.to_owned(),
        "messaging.consumer.group.name" => group.to_owned(),
        "messaging.destination.partition.id" => partition.to_string())
    .set(records.max(0) as f64);
}

pub(crate) fn dead_letter(group: &str, topic: &str) {
    counter!(DEAD_LETTERS, "messaging.system" => SYSTEM, "messaging.destination.name" => topic.to_owned(),
        "messaging.consumer.group.name" => group.to_owned())
    .increment(1);
}
