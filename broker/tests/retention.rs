//! What is kept, and what a reader meets that was too slow.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use broker::{BelowLogStart, Broker, Error, NewRecord, Retention};
use common::{Keep, Log, effects, eventually, log, run};
use rand::RngCore;
use sqlx::AssertSqlSafe;

/// So large that segments fill.
fn large(n: usize) -> NewRecord {
    // Without a pattern, or compression would shrink it.
    let mut value = vec![0; 60_000];
    rand::rng().fill_bytes(&mut value);
    NewRecord::new("t", value).key(n.to_string())
}

const UNIT: u64 = 128 * 1024;

fn keep_12_units() -> Retention {
    Retention { keep_bytes: Some(12 * UNIT), ..Retention::default() }
}

/// Publishes and applies retention in turns, as a running log does.
async fn fill(broker: &Broker, rounds: usize) -> Vec<(String, i64)> {
    let mut done = Vec::new();
    for _ in 0..rounds {
        broker.publish((0..4).map(large).collect::<Vec<_>>()).await.unwrap();
        sequenced(broker).await;
        let kept = broker.apply_retention().await.unwrap();
        done.extend(kept.into_iter().map(|kept| (kept.action, kept.segment)));
    }
    done
}

async fn sequenced(broker: &Broker) {
    eventually("offsets for all", || async {
        let lost: Vec<_> = broker.findings().await.unwrap();
        assert_eq!(lost, Vec::<String>::new());
        let mut tx = broker.begin().await.unwrap();
        let done: bool = sqlx::query_scalar(
            "select not exists (select from log.record_batch b
                where not pg_visible_in_snapshot(b.xid, (select snapshot from log.tick order by n desc limit 1)))",
        )
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        done.then_some(())
    })
    .await;
}

async fn kept_bytes(log: &Log) -> i64 {
    sqlx::query_scalar(
        "select sum(pg_total_relation_size(inhrelid))::bigint from pg_inherits where inhparent = 'log.record_batch'::regclass",
    )
    .fetch_one(&log.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn the_oldest_go_and_offsets_go_on() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 2).await.unwrap();
    let everything = fill(&broker, 3).await;
    assert!(everything.is_empty(), "without a limit nothing is deleted: {everything:?}");

    broker.set_retention(keep_12_units()).await.unwrap();
    let done = fill(&broker, 20).await;
    assert!(done.iter().filter(|(action, _)| action == "emptied").count() >= 5, "{done:?}");
    assert!(done.iter().all(|(action, _)| action == "emptied" || action == "opened"), "{done:?}");
    let bytes = kept_bytes(&log).await;
    assert!(bytes < 16 * UNIT as i64, "{bytes} bytes are kept");

    let partitions = broker.partitions("t").await.unwrap();
    assert!(partitions.iter().all(|partition| partition.log_start > 0), "{partitions:?}");
    let end: i64 = partitions.iter().map(|partition| partition.end).sum();
    assert_eq!(end, 23 * 4, "offsets go on");
    for partition in partitions {
        let (start, number) = (partition.log_start as u64, partition.partition);
        let mut next = start;
        while next < partition.end as u64 {
            let records = broker.read("t", number, next, 100).await.unwrap();
            assert_eq!(records[0].offset(), next, "nothing is missing from the log start on");
            next = records.last().unwrap().offset() + 1;
        }
        let refused = broker.read("t", number, start - 1, 1).await.unwrap_err();
        assert!(refused.to_string().contains(&format!("starts at offset {start}")), "{refused}");
    }
    assert!(log.dense_from_log_start().await);
    broker.shutdown().await;
}

impl Log {
    async fn dense_from_log_start(&self) -> bool {
        sqlx::query_scalar(
            "select bool_and(base = coalesce(before, base))
               from (select *, lag(base + n) over (partition by topic, partition order by base) as before
                       from log.block) block",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_group_holds_back_what_it_has_not_read_up_to_the_forced_limit() {
    let log = log().await;
    effects(&log.pool).await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    // It subscribes, reads nothing and dies.
    let group = broker.consumer_group("slow").topic("t", Keep::default()).start().await.unwrap();
    group.stop().await;

    broker.set_retention(keep_12_units()).await.unwrap();
    let done = fill(&broker, 12).await;
    assert!(done.iter().any(|(action, _)| action == "held"), "{done:?}");
    assert!(!done.iter().any(|(action, _)| action == "emptied"), "{done:?}");
    assert_eq!(broker.partitions("t").await.unwrap()[0].log_start, 0);

    broker
        .set_retention(Retention { force_bytes: Some(16 * UNIT), ..keep_12_units() })
        .await
        .unwrap();
    let done = fill(&broker, 4).await;
    assert!(done.iter().any(|(action, _)| action == "emptied"), "{done:?}");
    let log_start = broker.partitions("t").await.unwrap()[0].log_start;
    assert!(log_start > 0);

    // Never a silent skip: by default the group is told which offset it is about.
    let slow = || broker.consumer_group("slow").topic("t", Keep::default());
    match slow().start().await {
        Err(Error::BelowLogStart { group, topic, partition: 0, committed: 0, log_start: told }) => {
            assert_eq!((&*group, &*topic, told as i64), ("slow", "t", log_start));
        }
        other => panic!("{other:?}"),
    }
    let new = broker.consumer_group("new").topic("t", Keep::default()).start().await.unwrap();
    new.stop().await;
    let group = slow().below_log_start(BelowLogStart::Latest).start().await.unwrap();
    eventually("the group to go on at the end", || async {
        let place = broker.places(Some("slow")).await.unwrap().remove(0);
        broker.publish([NewRecord::new("t", "small")]).await.unwrap();
        (place.lag < 5 && place.committed > log_start).then_some(())
    })
    .await;
    group.stop().await;
    let (handled, _) = log.handled().await;
    let end = broker.partitions("t").await.unwrap()[0].end;
    assert!(handled > 0 && handled < end - log_start, "{handled} of {end}: only what was new");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_group_may_go_on_at_the_log_start() {
    let log = log().await;
    effects(&log.pool).await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    let early =
        |policy| broker.consumer_group("g").topic("t", Keep::default()).below_log_start(policy);
    early(BelowLogStart::Fail).start().await.unwrap().stop().await;
    for n in 0..6 {
        broker.publish([NewRecord::new("t", format!("{n}"))]).await.unwrap();
    }
    sequenced(&broker).await;
    sqlx::query("insert into log.log_start select log.topic_id('t'), 0, 4")
        .execute(&log.pool)
        .await
        .unwrap();
    let group = early(BelowLogStart::Earliest).start().await.unwrap();
    log.caught_up("g").await;
    group.stop().await;
    assert_eq!(log.handled().await, (2, 2));
    broker.shutdown().await;
}

/// Whoever holds a transaction open, in the oldest segment or anywhere, is not waited for.
#[tokio::test]
async fn nothing_waits_behind_an_open_transaction() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    let mut open = log.session().await;
    run(&mut open, "begin").await;
    run(&mut open, "create table elsewhere (n int)").await;
    broker.set_retention(keep_12_units()).await.unwrap();
    let done = fill(&broker, 20).await;
    assert!(done.iter().any(|(action, _)| action == "emptied"), "{done:?}");

    // One that published into the segment is waited for, and nobody waits with it.
    let mut publisher = log.session().await;
    run(&mut publisher, "begin").await;
    run(&mut publisher, "select log.publish('t', 'last')").await;
    let done = fill(&broker, 30).await;
    assert!(done.iter().any(|(action, _)| action == "busy"), "{done:?}");
    run(&mut publisher, "commit").await;
    sequenced(&broker).await;
    let end = broker.partitions("t").await.unwrap()[0].end as u64;
    let last = broker.read("t", 0, end - 1, 1).await.unwrap().remove(0);
    assert_eq!(last.value(), b"last", "it is not lost");
    let done = fill(&broker, 1).await;
    assert!(done.iter().any(|(action, _)| action == "emptied"), "{done:?}");
    run(&mut open, "rollback").await;
    broker.shutdown().await;
}

#[tokio::test]
async fn retention_by_age_takes_what_is_older() {
    let log = log().await;
    let broker = log.broker().await;
    // The database is a copy of one that was made any time ago.
    sqlx::query("update log.segment set opened_at = now()").execute(&log.pool).await.unwrap();
    broker.create_topic("t", 1).await.unwrap();
    broker
        .set_retention(Retention {
            keep_for: Some(Duration::from_secs(3600)),
            ..Retention::default()
        })
        .await
        .unwrap();
    let read = broker.retention().await.unwrap();
    assert_eq!(read.keep_for, Some(Duration::from_secs(3600)));
    // The database is a copy of one that was made a while ago.
    sqlx::query("update log.segment set opened_at = now()").execute(&log.pool).await.unwrap();
    fill(&broker, 1).await;
    // Time passes for the segments alone.
    let age = |hours: &str| {
        let aged = format!(
            "update log.segment set opened_at = opened_at - interval '{hours}', closed_at = closed_at - interval '{hours}'"
        );
        let pool = log.pool.clone();
        async move { sqlx::query(AssertSqlSafe(aged)).execute(&pool).await.unwrap() }
    };
    // The process applies retention too, so the state tells, and not what one call did.
    let state = || async {
        let newest: i64 = sqlx::query_scalar("select max(number) from log.segment")
            .fetch_one(&log.pool)
            .await
            .unwrap();
        (newest, broker.partitions("t").await.unwrap()[0].log_start)
    };
    age("15 minutes").await;
    fill(&broker, 1).await;
    assert_eq!(state().await, (1, 0));
    age("50 minutes").await;
    fill(&broker, 1).await;
    assert_eq!(state().await, (2, 0), "not an hour old yet");
    age("15 minutes").await;
    fill(&broker, 1).await;
    let (_, log_start) = state().await;
    assert_eq!(log_start, 8, "what was published before the second segment");

    let wrong = Retention { force_after: Some(Duration::from_secs(60)), ..read };
    assert!(matches!(broker.set_retention(wrong).await, Err(Error::Refused(_))));
    broker.shutdown().await;
}

/// A fetch first finds out which batches there are, and then reads them: what is deleted in
/// between may not leave a gap behind which it goes on.
#[tokio::test]
async fn a_fetch_ends_at_what_is_deleted_under_it() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    let [mut early, mut late] = [log.session().await, log.session().await];
    run(&mut early, "begin").await;
    run(&mut early, "select log.publish('t', 'in the first segment')").await;
    run(&mut late, "select setval('log.record_batch_id', 1::bigint << 40, false)").await;
    run(&mut late, "select log.publish('t', 'before it')").await;
    broker.sequenced().await.unwrap();
    run(&mut early, "commit").await;
    broker.sequenced().await.unwrap();
    run(&mut late, "select log.publish('t', 'behind it')").await;
    broker.sequenced().await.unwrap();
    let values = |records: Vec<broker::Record>| -> Vec<String> {
        records.iter().map(|r| String::from_utf8_lossy(r.value()).into_owned()).collect()
    };
    let all = broker.read("t", 0, 0, 10).await.unwrap();
    assert_eq!(values(all), ["before it", "in the first segment", "behind it"]);

    // As `log.empty_segment` does.
    run(&mut early, "begin").await;
    run(&mut early, "lock table log.record_batch_0 in access exclusive mode").await;
    let reading = tokio::spawn({
        let broker = broker.clone();
        async move { broker.read("t", 0, 0, 10).await }
    });
    eventually("the fetch waits", || async {
        let waits = "select exists (select from pg_locks where not granted and relation = 'log.record_batch_0'::regclass)";
        let waits: bool = sqlx::query_scalar(waits).fetch_one(&log.pool).await.unwrap();
        waits.then_some(())
    })
    .await;
    run(&mut early, "truncate log.record_batch_0").await;
    run(&mut early, "insert into log.log_start values (log.topic_id('t'), 0, 2)").await;
    run(&mut early, "commit").await;
    assert_eq!(values(reading.await.unwrap().unwrap()), ["before it"]);
    broker.shutdown().await;
}
