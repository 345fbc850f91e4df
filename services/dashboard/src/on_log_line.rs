//! A service wrote a log line: of interest where its broker tells of an attempt that failed.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use chrono::{DateTime, Utc};
use contracts::LogLine;

use crate::view;

const MAX_TOLD: usize = 500;
const MAX_NAME: usize = 249;

pub struct OnLogLine;

impl Subscriber for OnLogLine {
    type Event = LogLine;

    async fn handle(
        &self,
        tx: &mut Transaction,
        lines: &[Received<LogLine>],
    ) -> Result<(), HandlerError> {
        let attempts: Vec<Attempt<'_>> =
            lines.iter().filter_map(|line| Attempt::of(&line.event)).collect();
        if attempts.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "insert into dashboard.attempt (topic, partition, record_offset, consumer_group, at, told)
             select * from unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::timestamptz[], $6::text[])
             on conflict do nothing",
        )
        .bind(attempts.iter().map(|of| of.topic.to_owned()).collect::<Vec<_>>())
        .bind(attempts.iter().map(|of| of.partition).collect::<Vec<_>>())
        .bind(attempts.iter().map(|of| of.offset).collect::<Vec<_>>())
        .bind(attempts.iter().map(|of| of.group.to_owned()).collect::<Vec<_>>())
        .bind(attempts.iter().map(|of| of.at).collect::<Vec<_>>())
        .bind(attempts.iter().map(|of| view::cut(of.told, MAX_TOLD)).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

struct Attempt<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    group: &'a str,
    at: DateTime<Utc>,
    told: &'a str,
}

impl<'a> Attempt<'a> {
    /// What the broker warns of with a group and a record's place is an attempt of that group.
    fn of(line: &'a LogLine) -> Option<Attempt<'a>> {
        let field = |name| line.fields.get(name).map(String::as_str);
        let name = |name| field(name).filter(|text| text.len() <= MAX_NAME);
        if line.level != "WARN" || !line.target.starts_with("broker::") {
            return None;
        }
        Some(Attempt {
            topic: name("topic")?,
            partition: field("partition")?.parse().ok()?,
            offset: field("offset")?.parse().ok()?,
            group: name("group")?,
            at: line.at,
            told: &line.message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_attempt_is_one() {
        let line = |target: &str, level: &str, offset: &str| -> LogLine {
            serde_json::from_value(serde_json::json!({
                "service": "email", "process": 7, "at": "2026-01-02T03:04:05Z", "level": level,
                "target": target, "message": "will retry a record: no",
                "fields": {"topic": "order", "partition": "3", "offset": offset, "group": "email"}
            }))
            .unwrap()
        };
        let broker = line("broker::group::worker", "WARN", "17");
        let attempt = Attempt::of(&broker).unwrap();
        assert_eq!((attempt.topic, attempt.partition, attempt.offset), ("order", 3, 17));
        assert_eq!((attempt.group, attempt.told), ("email", "will retry a record: no"));
        for other in [
            line("brokers", "WARN", "17"),
            line("broker::group::worker", "INFO", "17"),
            line("broker::group::worker", "WARN", "many"),
        ] {
            assert!(Attempt::of(&other).is_none(), "{other:?}");
        }
    }
}
