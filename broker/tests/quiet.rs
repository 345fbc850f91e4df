//! A quiet log: who publishes ticks, and what is fresh comes along with the tick.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use broker::{Handler, HandlerError, NewRecord, Options, Record, Transaction};
use common::{effects, log, run};
use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Says what it handled.
struct Tell(mpsc::UnboundedSender<Vec<u8>>);

impl Handler for Tell {
    async fn handle(&self, _: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        for record in records {
            self.0.send(record.value().to_vec())?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_a_process_publishes_reaches_its_own_group_without_a_fetch() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 3).await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    broker.consumer_group("g").topic("t", Tell(tell)).start().await.unwrap();
    // Until it owns its partitions.
    broker.publish([NewRecord::new("t", "first")]).await.unwrap();
    assert_eq!(told.recv().await.unwrap(), b"first");

    let mut session = log.session().await;
    run(
        &mut session,
        "alter function log.fetch_raw(int[], int[], bigint[], int, bigint) rename to gone",
    )
    .await;
    broker.publish([NewRecord::new("t", "second")]).await.unwrap();
    let second = timeout(common::PATIENCE, told.recv()).await;
    assert_eq!(second.expect("the record, though nothing can be fetched").unwrap(), b"second");
    let mut tx = broker.begin().await.unwrap();
    tx.publish(NewRecord::new("t", "third")).unwrap();
    tx.commit().await.unwrap();
    let third = timeout(common::PATIENCE, told.recv()).await;
    assert_eq!(third.expect("the record, though nothing can be fetched").unwrap(), b"third");
    broker.shutdown().await;
}

/// (partition, base, value) of each batch that comes with a tick.
async fn tick_and_read(session: &mut PgConnection, topics: &[i32]) -> Vec<(i32, i64, Vec<u8>)> {
    let tick = sqlx::query(
        "select ticked, topic, partition, base, body from log.tick_and_read(false, $1)",
    );
    let rows = tick.bind(topics).fetch_all(session).await.unwrap();
    assert!(rows[0].get::<Option<i64>, _>(0).is_some(), "it ticked");
    // A record without key and headers has four bytes before its value.
    let batch = |row: &PgRow| (row.get(2), row.get(3), row.get::<Vec<u8>, _>(4)[4..].to_vec());
    rows[1..].iter().map(batch).collect()
}

#[tokio::test]
async fn a_tick_brings_a_small_batch_to_who_may_consume_it() {
    let log = log().await;
    let mut owner = log.session().await;
    run(&mut owner, "select log.create_topic('mine', 2), log.create_topic('theirs', 1)").await;
    let ids = "select array[log.topic_id('mine'), log.topic_id('theirs')]";
    let both: Vec<i32> = sqlx::query_scalar(ids).fetch_one(&mut owner).await.unwrap();
    let url = log.role("reader").await;
    log.grant("mine", "consume", &url).await;
    let mut reader = PgConnection::connect(&url).await.unwrap();
    let publish = "select log.publish('mine', 'a', part => 1)";

    run(&mut owner, publish).await;
    assert_eq!(tick_and_read(&mut reader, &both).await, [(1, 0, b"a".to_vec())]);
    run(&mut owner, publish).await;
    assert_eq!(tick_and_read(&mut reader, &both).await, [(1, 1, b"a".to_vec())]);

    run(&mut owner, "select log.publish('theirs', 'secret')").await;
    assert_eq!(tick_and_read(&mut reader, &both).await, [], "not the reader's to see");
    run(&mut owner, publish).await;
    assert_eq!(tick_and_read(&mut reader, &both[1..]).await, [], "not asked for");
    run(&mut owner, publish).await;
    run(&mut owner, publish).await;
    assert_eq!(tick_and_read(&mut reader, &both).await, [], "more than one: to be fetched");
    run(&mut owner, "select log.publish('mine', convert_to(repeat('x', 20000), 'UTF8'))").await;
    assert_eq!(tick_and_read(&mut reader, &both).await, [], "large: to be fetched");
    run(&mut owner, publish).await;
    run(&mut owner, "select log.publish('mine', 'b', part => 0)").await;
    let mut two = tick_and_read(&mut reader, &both).await;
    two.sort();
    assert_eq!(two.len(), 2, "one of each partition: {two:?}");
}

#[tokio::test]
async fn a_connection_is_in_order_for_whoever_gets_it_next() {
    let log = log().await;
    effects(&log.pool).await;
    let broker = Options::new(&log.url).max_connections(1).connect().await.unwrap();
    broker.create_topic("t", 1).await.unwrap();
    let insert =
        "insert into effect (topic, partition, record_offset, value) values ('', 0, 0, '')";

    let mut dropped = broker.begin().await.unwrap();
    run(&mut dropped, insert).await;
    drop(dropped);
    let mut broken_off = broker.begin().await.unwrap();
    run(&mut broken_off, insert).await;
    let sleep = sqlx::query("select pg_sleep(0.2)");
    let late = timeout(Duration::from_millis(20), sleep.execute(&mut *broken_off)).await;
    assert!(late.is_err(), "it is still under way");
    drop(broken_off);
    let mut refused = broker.begin().await.unwrap();
    run(&mut refused, insert).await;
    sqlx::query("select 1 / 0").execute(&mut *refused).await.unwrap_err();
    drop(refused);

    let mut forgetful = broker.begin().await.unwrap();
    run(&mut forgetful, insert).await;
    std::mem::forget(forgetful.begin().await.unwrap());
    drop(forgetful);

    let mut tx = broker.begin().await.unwrap();
    std::mem::forget(tx.begin().await.unwrap());
    run(&mut tx, insert).await;
    let mut nested = tx.begin().await.unwrap();
    run(&mut nested, insert).await;
    nested.rollback().await.unwrap();
    tx.publish(NewRecord::new("t", "with the row")).unwrap();
    tx.commit().await.unwrap();
    assert_eq!(log.handled().await.0, 1, "of all these the committed one alone");
    broker.publish([NewRecord::new("t", "after it")]).await.unwrap();
    broker.sequenced().await.unwrap();
    let records = "select count(*) from log.record where topic = 't'";
    assert_eq!(sqlx::query_scalar::<_, i64>(records).fetch_one(&log.pool).await.unwrap(), 2);
    broker.shutdown().await;
}
