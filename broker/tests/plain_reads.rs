//! Reading without a group from anywhere, and what has to be true before that: offsets for
//! all, and the right to.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use broker::{Broker, Error, NewRecord, Position, Privilege, Retention, Start};
use common::{PATIENCE, log, numbered, run};
use rand::RngCore;

async fn offsets(broker: &Broker, at: Position) -> Vec<u64> {
    let offsets = broker.offsets("t", None, at).await.unwrap();
    offsets.into_iter().map(|(_, offset)| offset).collect()
}

#[tokio::test]
async fn a_reader_begins_where_it_is_told() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 3).await.unwrap();
    broker.publish(numbered("t", 0..60)).await.unwrap();
    broker.sequenced().await.unwrap();
    let ends = offsets(&broker, Position::Latest).await;
    assert_eq!(ends.iter().sum::<u64>(), 60, "a call, and all have their offset");
    assert_eq!(offsets(&broker, Position::Earliest).await, [0, 0, 0]);
    let at = broker.read("t", 0, 0, 1).await.unwrap()[0].published_at();
    assert_eq!(broker.offsets("t", Some(0), Position::Time(at)).await.unwrap(), [(0, 0)]);
    assert!(broker.read("t", 0, u64::MAX, 1).await.unwrap().is_empty(), "nothing is there");
    let refused = broker.offsets("t", None, Position::Offset(999)).await.unwrap_err();
    assert!(refused.to_string().contains("keeps offsets 0 to"), "{refused}");
    let refused = broker.offsets("t", Some(3), Position::Earliest).await.unwrap_err();
    assert!(refused.to_string().contains("no partition 3"), "{refused}");

    let from = [("t", 0, ends[0] - 2), ("t", 2, ends[2] - 1)];
    let mut reader = broker.broadcast_from(&from).await.unwrap();
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        let records = reader.next().await.unwrap();
        seen.extend(records.iter().map(|record| (record.partition(), record.offset())));
    }
    let wanted = [(0, ends[0] - 2), (0, ends[0] - 1), (2, ends[2] - 1)];
    assert_eq!(seen, BTreeSet::from(wanted));
    // It goes on with what comes, and the partition that was not asked for does not.
    let new = [1, 2].map(|n| NewRecord::new("t", "new").partition(n));
    broker.publish(new).await.unwrap();
    let records = reader.next().await.unwrap();
    assert_eq!((records.len(), records[0].partition()), (1, 2));

    let refused = broker.broadcast_from(&[("t", 3, 0)]).await.unwrap_err();
    assert!(refused.to_string().contains("partitions 0 to 2, not 3"), "{refused}");
    broker.shutdown().await;
}

/// Publishes until retention deleted more than one look at the log would ask for.
async fn outgrow(broker: &Broker) -> u64 {
    let mut value = vec![0; 500];
    loop {
        let records = (0..500).map(|_| {
            // Without a pattern, or compression would shrink it.
            rand::rng().fill_bytes(&mut value);
            NewRecord::new("t", value.clone())
        });
        broker.publish(records.collect::<Vec<_>>()).await.unwrap();
        broker.sequenced().await.unwrap();
        broker.apply_retention().await.unwrap();
        let start = offsets(broker, Position::Earliest).await[0];
        if start > 3000 {
            return start;
        }
    }
}

#[tokio::test]
async fn a_reader_that_retention_overtakes_goes_on_at_the_log_start() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    let mut early = broker.broadcast(&["t"], Start::Earliest).await.unwrap();
    let limit = Retention { keep_bytes: Some(1024 * 1024), ..Retention::default() };
    broker.set_retention(limit).await.unwrap();
    let start = outgrow(&broker).await;
    let mut late = broker.broadcast(&["t"], Start::Earliest).await.unwrap();
    for reader in [&mut early, &mut late] {
        // One that waits for what is gone would wait for ever.
        let records = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().unwrap();
        assert!(records[0].offset() >= start, "{} is gone", records[0].offset());
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_reader_of_a_whole_topic_meets_partitions_that_are_added() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    let mut whole = broker.broadcast(&["t"], Start::Latest).await.unwrap();
    let mut grown = broker.broadcast_from(&[("t", 0, 0)]).await.unwrap().with_added_partitions();
    let mut asked = broker.broadcast_from(&[("t", 0, 0)]).await.unwrap();
    broker.add_partitions("t", 3).await.unwrap();
    broker.publish([2, 0].map(|n| NewRecord::new("t", "v").partition(n))).await.unwrap();
    for reader in [&mut whole, &mut grown] {
        let mut seen = BTreeSet::new();
        while seen.len() < 2 {
            let records = reader.next().await.unwrap();
            seen.extend(records.iter().map(|record| (record.partition(), record.offset())));
        }
        assert_eq!(seen, BTreeSet::from([(0, 0), (2, 0)]));
    }
    let records = asked.next().await.unwrap();
    assert_eq!((records.len(), records[0].partition()), (1, 0), "and only what was asked for");
    broker.shutdown().await;
}

#[tokio::test]
async fn a_batch_that_somebody_deleted_is_named_and_nothing_takes_its_offset() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    let mut session = log.session().await;
    // Three batches of one transaction, and so of one tick.
    run(&mut session, "select log.publish('t', 'v' || n) from generate_series(0, 2) n").await;
    broker.sequenced().await.unwrap();
    assert_eq!(broker.read("t", 0, 0, 10).await.unwrap().len(), 3);
    run(
        &mut session,
        "delete from log.record_batch where id = (select ids[2] from log.block where topic = log.topic_id('t'))",
    )
    .await;
    let error = broker.read("t", 0, 0, 10).await.unwrap_err().to_string();
    assert!(
        error.contains(r#"topic "t", partition 0: 1 of the 3 batches from offset 0"#),
        "{error}"
    );
    let behind = broker.read("t", 0, 2, 10).await.unwrap();
    assert_eq!((behind[0].offset(), behind[0].value()), (2, &b"v2"[..]));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_right_is_given_to_a_role_that_exists() {
    let log = log().await;
    let owner = log.broker().await;
    owner.create_topic("t", 1).await.unwrap();
    let url = log.role("writer").await;
    let role = url.split("//").nth(1).unwrap().split(':').next().unwrap();
    let writer = Broker::connect(&url).await.unwrap();
    let refused = writer.publish([NewRecord::new("t", "x")]).await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }), "{refused}");
    let refused = writer.grant_topic("t", Privilege::Publish, role).await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }), "{refused}");

    owner.grant_topic("t", Privilege::Publish, role).await.unwrap();
    writer.publish([NewRecord::new("t", "x")]).await.unwrap();
    let refused = owner.grant_topic("t", Privilege::Consume, "nobody").await.unwrap_err();
    assert!(refused.to_string().contains("\"nobody\" does not exist"), "{refused}");
    let refused = owner.grant_topic("none", Privilege::Consume, role).await.unwrap_err();
    assert!(matches!(refused, Error::UnknownTopic(_)), "{refused}");
    writer.shutdown().await;
    owner.shutdown().await;
}
