//! Two brokers and one lease: whatever becomes of its holder, the other goes on.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use common::{Keep, effects, eventually, log, numbered, run};

/// The advisory lock of the one that ticks, as `src/sequencer.rs` has it.
const LEASE: i64 = 0x4c4f_4700;

#[tokio::test]
async fn the_standby_ticks_for_a_holder_that_hangs() {
    let log = log().await;
    effects(&log.pool).await;
    let mut stalled = log.session().await;
    run(&mut stalled, format!("select pg_advisory_lock({LEASE})")).await;
    let (first, second) = (log.broker().await, log.broker().await);
    first.create_topic("t", 3).await.unwrap();
    let group = second.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    first.publish(numbered("t", 0..100)).await.unwrap();
    log.caught_up("g").await;
    // Once more: who leads without the lease goes on, and does not compete with itself.
    second.publish(numbered("t", 100..200)).await.unwrap();
    log.caught_up("g").await;
    assert_eq!(log.handled().await, (200, 200));
    group.stop().await;
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test]
async fn a_leader_that_dies_is_followed_by_the_other() {
    let log = log().await;
    effects(&log.pool).await;
    let brokers = [log.broker().await, log.broker().await];
    brokers[0].create_topic("t", 3).await.unwrap();
    let group = brokers[0].consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    let leader = || async {
        sqlx::query_scalar::<_, i32>(
            "select l.pid from pg_locks l join pg_database d on d.oid = l.database
              where d.datname = current_database() and l.locktype = 'advisory' and l.granted
                and l.classid = 0 and l.objid::bigint = $1 and l.objsubid = 1",
        )
        .bind(LEASE)
        .fetch_optional(&log.pool)
        .await
        .unwrap()
    };
    let published = AtomicU32::new(0);
    let dead = AtomicBool::new(false);
    let publish = async {
        while !dead.load(Ordering::Relaxed) {
            for broker in &brokers {
                let n = published.fetch_add(5, Ordering::Relaxed);
                broker.publish(numbered("t", n..n + 5)).await.unwrap();
            }
        }
    };
    let kill = async {
        let mut last = None;
        for _ in 0..5 {
            let pid = eventually("another leader", || async {
                leader().await.filter(|pid| last != Some(*pid))
            })
            .await;
            sqlx::query("select pg_terminate_backend($1)")
                .bind(pid)
                .execute(&log.pool)
                .await
                .unwrap();
            last = Some(pid);
        }
        dead.store(true, Ordering::Relaxed);
    };
    tokio::join!(publish, kill);
    log.caught_up("g").await;
    let published = i64::from(published.into_inner());
    assert_eq!(log.handled().await, (published, published));
    assert!(log.dense().await);
    group.stop().await;
    for broker in brokers {
        broker.shutdown().await;
    }
}

/// What a process says to others must not come back to it as news.
#[tokio::test]
async fn two_that_have_nothing_to_do_are_quiet() {
    let log = log().await;
    let brokers = [log.broker().await, log.broker().await];
    brokers[0].create_topic("t", 1).await.unwrap();
    brokers[0].publish(numbered("t", 0..10)).await.unwrap();
    let transactions = async || -> i64 {
        let count = "select xact_commit from pg_stat_database where datname = current_database()";
        sqlx::query_scalar(count).fetch_one(&log.pool).await.unwrap()
    };
    // What is published is sequenced; sessions report what they did once a second.
    eventually("the log to rest", || async {
        let before = transactions().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        // A safety poll a second each, and this test's own.
        (transactions().await - before < 50).then_some(())
    })
    .await;
    for broker in brokers {
        broker.shutdown().await;
    }
}
