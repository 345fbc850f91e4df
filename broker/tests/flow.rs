//! Records go in, and each group handles each of them once and in order.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use broker::{Error, InvalidRecord, NewRecord, Retry, Start};
use common::{Keep, effects, eventually, log, numbered};

#[tokio::test]
async fn every_group_handles_every_record_once_and_in_order() {
    let log = log().await;
    effects(&log.pool).await;
    let broker = log.broker().await;
    broker.create_topic("t", 4).await.unwrap();

    let one = broker.consumer_group("one").topic("t", Keep::default()).start().await.unwrap();
    broker.publish(numbered("t", 0..500)).await.unwrap();
    let mut tx = broker.begin().await.unwrap();
    for record in numbered("t", 500..1000) {
        tx.publish(record).unwrap();
    }
    tx.commit().await.unwrap();
    log.caught_up("one").await;
    one.stop().await;

    let (count, values, dense, ordered): (i64, i64, bool, bool) = sqlx::query_as(
        "select count(*), count(distinct value),
                (select bool_and(n = top + 1) from (select count(*) as n, max(record_offset) as top from effect group by partition) p),
                (select bool_and(value::int > coalesce(before, -1)) from (
                    select value, lag(value::int) over (partition by key order by record_offset) as before from effect) o)
           from effect",
    )
    .fetch_one(&log.pool)
    .await
    .unwrap();
    assert_eq!((count, values, dense, ordered), (1000, 1000, true, true));

    // A second group starts where the log starts; a third where it ends.
    let late = broker.consumer_group("late").topic("t", Keep::default()).start().await.unwrap();
    log.caught_up("late").await;
    let from_now = broker.consumer_group("now").topic("t", Keep::default()).start_at(Start::Latest);
    let from_now = from_now.start().await.unwrap();
    broker.publish(numbered("t", 1000..1001)).await.unwrap();
    log.caught_up("late").await;
    log.caught_up("now").await;
    late.stop().await;
    from_now.stop().await;
    let count: i64 =
        sqlx::query_scalar("select count(*) from effect").fetch_one(&log.pool).await.unwrap();
    assert_eq!(count, 1000 + 1001 + 1);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_rolled_back_transaction_publishes_nothing() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    let mut tx = broker.begin().await.unwrap();
    tx.publish(NewRecord::new("t", "never")).unwrap();
    drop(tx);
    broker.publish([NewRecord::new("t", "after")]).await.unwrap();
    let values: Vec<String> = eventually("the record", || async {
        let values: Vec<String> =
            sqlx::query_scalar("select convert_from(value, 'UTF8') from log.record")
                .fetch_all(&log.pool)
                .await
                .unwrap();
        (!values.is_empty()).then_some(values)
    })
    .await;
    assert_eq!(values, ["after"]);
    broker.shutdown().await;
}

/// More than one statement carries: what the second one meets undoes the first.
#[tokio::test]
async fn a_large_call_is_stored_whole_or_not_at_all() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 2).await.unwrap();
    let refuse = "create function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'no room for it' using errcode = '23514'; end $$;
        create trigger refuse before insert on log.record_batch
            for each row when (new.partition = 1) execute function refuse();";
    sqlx::raw_sql(refuse).execute(&log.pool).await.unwrap();
    let large = |partition| NewRecord::new("t", vec![0; 1_000_000]).partition(partition);
    let stored = async || -> i64 {
        let count = "select coalesce(sum(octet_length(lens) / 4), 0)::bigint from log.record_batch";
        sqlx::query_scalar(count).fetch_one(&log.pool).await.unwrap()
    };

    broker.publish((0..12).map(|_| large(0)).chain([large(1)])).await.unwrap_err();
    assert_eq!(stored().await, 0);
    broker.publish((0..12).map(|_| large(0))).await.unwrap();
    assert_eq!(stored().await, 12);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_bad_record_costs_nothing_but_itself() {
    let log = log().await;
    effects(&log.pool).await;
    let broker = log.broker().await;
    broker.create_topic("t", 2).await.unwrap();
    let mut records = numbered("t", 0..300);
    records.insert(100, NewRecord::new("t", "bitter").key("k1").header("from", "far"));
    records.insert(200, NewRecord::new("t", "explosive").key("k2"));
    broker.publish(records).await.unwrap();

    let picky = Keep { panic_on: Some("explosive"), ..Keep::default() };
    picky.fail_on.lock().unwrap().push("bitter");
    let retry = Retry {
        attempts: 3,
        pause: Duration::from_millis(1),
        max_pause: Duration::from_millis(5),
        ..Retry::default()
    };
    let group = broker.consumer_group("g").topic("t", picky).retry(retry).start().await.unwrap();
    log.caught_up("g").await;
    group.stop().await;

    let (count, distinct): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct value) from effect")
            .fetch_one(&log.pool)
            .await
            .unwrap();
    assert_eq!((count, distinct), (300, 300));
    let dead: Vec<(String, Option<String>, sqlx::types::JsonValue)> = eventually("dead letters", || async {
        let dead: Vec<_> = sqlx::query_as(
            "select convert_from(value, 'UTF8'), key, headers from log.record where topic = 't.g.dlq' order by 1",
        )
        .fetch_all(&log.pool)
        .await
        .unwrap();
        (dead.len() == 2).then_some(dead)
    })
    .await;
    let [(bitter, key, headers), (explosive, _, panic)] = &dead[..] else { panic!("{dead:?}") };
    assert_eq!(
        (bitter.as_str(), key.as_deref(), explosive.as_str()),
        ("bitter", Some("k1"), "explosive")
    );
    assert_eq!(
        (&headers["from"], &headers["dlq.topic"], &headers["dlq.group"]),
        (&"far".into(), &"t".into(), &"g".into())
    );
    assert_eq!(headers["dlq.attempts"], "3");
    assert!(headers["dlq.error"].as_str().unwrap().contains("no taste for bitter"), "{headers}");
    assert!(panic["dlq.error"].as_str().unwrap().contains("cannot stand explosive"), "{panic}");
    broker.shutdown().await;
}

#[tokio::test]
async fn members_share_and_take_over() {
    let log = log().await;
    effects(&log.pool).await;
    let (first, second) = (log.broker().await, log.broker().await);
    first.create_topic("t", 5).await.unwrap();
    let owners = || async {
        let owners: Vec<(Option<i32>, i64)> = sqlx::query_as(
            "select member, count(*) from log.group_lag where consumer_group = 'g' group by 1 order by 2",
        )
        .fetch_all(&log.pool)
        .await
        .unwrap();
        owners
    };
    let one = first.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    eventually("one member to own all", || async {
        matches!(owners().await[..], [(Some(_), 5)]).then_some(())
    })
    .await;
    let two = second.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    eventually("two members to share", || async {
        matches!(owners().await[..], [(Some(_), 2), (Some(_), 3)]).then_some(())
    })
    .await;
    first.publish(numbered("t", 0..200)).await.unwrap();
    log.caught_up("g").await;
    one.stop().await;
    eventually("the other to take over", || async {
        matches!(owners().await[..], [(Some(_), 5)]).then_some(())
    })
    .await;
    second.publish(numbered("t", 200..400)).await.unwrap();
    log.caught_up("g").await;
    two.stop().await;
    assert!(matches!(owners().await[..], [(None, 5)]), "a member that leaves frees what it had");
    let (count, distinct): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct value) from effect")
            .fetch_one(&log.pool)
            .await
            .unwrap();
    assert_eq!((count, distinct), (400, 400));
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test]
async fn what_is_not_permitted_is_refused_and_named() {
    let log = log().await;
    let owner = log.broker().await;
    owner.create_topic("mine", 1).await.unwrap();
    owner.create_topic("yours", 1).await.unwrap();
    let url = log.role("service").await;
    log.grant("mine", "publish", &url).await;
    log.grant("mine", "consume", &url).await;
    let broker = broker::Broker::connect(&url).await.unwrap();

    broker.publish([NewRecord::new("mine", "v")]).await.unwrap();
    let error = broker.publish([NewRecord::new("yours", "v")]).await.unwrap_err();
    assert!(matches!(&error, Error::Forbidden { what, .. } if what.contains("yours")), "{error}");
    let error = broker.publish([NewRecord::new("none", "v")]).await.unwrap_err();
    assert!(matches!(&error, Error::UnknownTopic(topic) if topic == "none"), "{error}");
    let error = broker.publish([NewRecord::new("mine", "v").partition(1)]).await.unwrap_err();
    assert!(matches!(error, Error::Record(InvalidRecord::Partition { last: 0, .. })), "{error}");
    assert!(matches!(broker.create_topic("new", 1).await, Err(Error::Forbidden { .. })));
    let error =
        broker.consumer_group("g").topic("yours", Keep::default()).start().await.unwrap_err();
    assert!(error.to_string().contains("yours"), "{error}");

    let mut tx = broker.begin().await.unwrap();
    for statement in [
        "insert into log.record_batch (topic, partition, lens, body, xid) values (1, 0, '\\x00000004', '\\x00000000', '3')",
        "insert into log.record_batch (topic, partition, lens, body, id) values (1, 0, '\\x00000004', '\\x00000000', 9)",
        "select from log.record_batch",
        "select from log.block",
        "insert into log.tick values (99, pg_current_snapshot())",
        "delete from log.progress",
        "select log.create_topic('x', 1)",
        "select log.ensure_dead_letter_topic('yours', 'x')",
    ] {
        sqlx::query("savepoint s").execute(&mut *tx).await.unwrap();
        let refused = sqlx::query(statement).execute(&mut *tx).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert!(matches!(&*code, "42501" | "428C9"), "{statement}: {refused}");
        sqlx::query("rollback to s").execute(&mut *tx).await.unwrap();
    }
    // A tick beside other writes would lose them.
    sqlx::query("insert into log.record_batch (topic, partition, lens, body) values (1, 0, '\\x00000004', '\\x00000000')")
        .execute(&mut *tx)
        .await
        .unwrap();
    let refused = sqlx::query("select log.tick(false)").execute(&mut *tx).await.unwrap_err();
    assert!(refused.to_string().contains("alone"), "{refused}");
    drop(tx);

    // Another role's group is not this one's to commit for.
    let consumer =
        owner.consumer_group("theirs").topic("mine", Keep::default()).start().await.unwrap();
    let error =
        broker.consumer_group("theirs").topic("mine", Keep::default()).start().await.unwrap_err();
    assert!(error.to_string().contains("theirs"), "{error}");
    consumer.stop().await;
    broker.shutdown().await;
    owner.shutdown().await;
}
