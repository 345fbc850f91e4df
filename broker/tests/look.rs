//! What the log says of itself: what became of a record, how fast a group is, and how it is asked.
#![allow(clippy::unwrap_used)]

mod common;

use broker::{Handler, HandlerError, NewRecord, Record, Transaction};
use common::{log, numbered};

/// Answers each record with one in topic `u`.
struct Answer;

impl Handler for Answer {
    async fn handle(&self, tx: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        for record in records {
            tx.publish(NewRecord::new("u", record.value().to_vec()))?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_records_trail_names_its_transaction_and_those_that_handled_it() {
    let log = log().await;
    let broker = log.broker().await;
    for topic in ["t", "u"] {
        broker.create_topic(topic, 1).await.unwrap();
    }
    let mut tx = broker.begin().await.unwrap();
    let own: i64 = sqlx::query_scalar("select pg_current_xact_id()::text::bigint")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    for record in numbered("t", 0..3) {
        tx.publish(record).unwrap();
    }
    tx.commit().await.unwrap();
    broker.sequenced().await.unwrap();
    let [unread] = &broker.trails(&[("t", 0, 1)]).await.unwrap()[..] else { panic!() };
    assert_eq!((unread.published_in, unread.passed.len()), (Some(own), 0));

    let group = broker.consumer_group("g").topic("t", Answer).start().await.unwrap();
    log.caught_up("g").await;
    // Commits enough that the one that is looked for lies among others.
    for n in 3..40 {
        broker.publish(numbered("t", n..n + 1)).await.unwrap();
        log.caught_up("g").await;
    }
    broker.sequenced().await.unwrap();
    let places = [("t", 0, 1), ("u", 0, 1), ("t", 0, 20), ("u", 0, 20), ("t", 0, 39), ("t", 0, 40)];
    let trails = broker.trails(&places).await.unwrap();
    for (n, generation, records) in [(0, 1, 3), (2, 1, 1)] {
        let [by] = &trails[n].passed[..] else { panic!("{trails:?}") };
        assert_eq!(
            (&*by.consumer_group, by.generation, by.records),
            ("g", Some(generation), Some(records))
        );
        // What was handled and what that led to are one transaction's.
        assert_eq!(by.transaction, trails[n + 1].published_in);
        assert!(by.transaction.is_some() && trails[n + 1].passed.is_empty());
        let record = broker.read("t", 0, places[n].2 as u64, 1).await.unwrap().remove(0);
        assert!(by.at.unwrap() > record.published_at());
    }
    assert!(trails[4].passed[0].at.is_some(), "the newest");
    assert_eq!(trails[5], broker::Trail::default(), "there is no such record");

    // All at once, and then what is new.
    let commits = broker.commits(&["t", "u"], &[]).await.unwrap();
    let by = trails[2].passed.first().unwrap();
    let of = commits.iter().find(|commit| commit.start <= 20 && 20 < commit.upto).unwrap();
    assert_eq!((&*of.consumer_group, &*of.topic, of.partition), ("g", "t", 0));
    assert_eq!(
        (Some(of.at), Some(of.transaction), Some(of.generation), Some(of.upto - of.start)),
        (by.at, by.transaction, by.generation, by.records)
    );
    assert_eq!(commits.iter().map(|commit| commit.upto - commit.start).sum::<i64>(), 40);
    let newest = commits.last().unwrap();
    let after = [(newest.subscription, 0, newest.seq - 1)];
    assert_eq!(broker.commits(&["t"], &after).await.unwrap(), std::slice::from_ref(newest));
    let after = [(newest.subscription, 0, newest.seq)];
    assert_eq!(broker.commits(&["t"], &after).await.unwrap(), []);
    assert_eq!(broker.commits(&["u"], &[]).await.unwrap(), []);

    sqlx::query("delete from log.progress where committed < 30").execute(&log.pool).await.unwrap();
    let trimmed = &broker.trails(&[("t", 0, 20)]).await.unwrap()[0].passed[0];
    assert_eq!((&*trimmed.consumer_group, trimmed.at), ("g", None));
    // From where the first that is kept went on is not known.
    let first = &broker.commits(&["t"], &[]).await.unwrap()[0];
    assert_eq!((first.start, first.upto), (30, 31));
    group.stop().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn nothing_that_is_asked_of_the_log_is_compiled_first() {
    let log = log().await;
    let broker = log.broker().await;
    for n in 0..30 {
        broker.create_topic(&format!("t{n}"), 1).await.unwrap();
    }
    let mut tx = broker.begin().await.unwrap();
    // As `topics_info` asks, of topics that no statistics are about.
    let plan: Vec<String> = sqlx::query_scalar(
        "explain analyze select t.name, sum(log.partition_end(t.id, p))
           from log.topic t cross join generate_series(0, t.partitions - 1) p group by t.id",
    )
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    assert!(!plan.iter().any(|line| line.contains("JIT")), "{plan:#?}");
    drop(tx);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_groups_pace_is_that_of_its_last_minute() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    broker.publish(numbered("t", 0..2000)).await.unwrap();
    broker.sequenced().await.unwrap();
    let subscription: i32 =
        sqlx::query_scalar("select subscription from log.subscribe('g', 't', 'earliest')")
            .fetch_one(&log.pool)
            .await
            .unwrap();
    let since = "select log.progress_since($1, 0, now() - $2 * interval '1 second')";
    let since = async |seconds: f64| -> Option<i64> {
        let since = sqlx::query_scalar(since).bind(subscription).bind(seconds);
        since.fetch_one(&log.pool).await.unwrap()
    };
    // Two records a second for a thousand seconds, up to ten seconds ago; the first are trimmed.
    sqlx::query(
        "insert into log.progress (subscription, partition, seq, generation, committed, at)
         select $1, 0, i, 1, 2 * i, now() - (1010 - i) * interval '1 second' from generate_series(300, 1000) i",
    )
    .bind(subscription)
    .execute(&log.pool)
    .await
    .unwrap();
    for (seconds, first) in [
        (5.5, None),
        (10.5, Some(1000)),
        (60.5, Some(950)),
        (500.5, Some(510)),
        (9999.5, Some(300)),
    ] {
        assert_eq!(since(seconds).await, first, "since {seconds} s ago");
    }
    let place = broker.places(Some("g")).await.unwrap().remove(0);
    let consumed: f64 = sqlx::query_scalar("select consumed from log.pace('g')")
        .fetch_one(&log.pool)
        .await
        .unwrap();
    assert_eq!(place.committed, 2000);
    // A hundred records in the minute since, of which ten seconds were idle.
    assert!((1.0..=2.0).contains(&consumed), "{consumed} records a second");
    broker.shutdown().await;
}
