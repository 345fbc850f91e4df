//! What an operator does to a running log.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use broker::{
    AfterRetries, Breaker, Error, Handler, HandlerError, NewRecord, Position, Record, Redrive,
    Retry, Start, Transaction,
};
use common::{Keep, effects, eventually, log, numbered};

const QUICK: Retry = Retry {
    attempts: 2,
    pause: Duration::from_millis(1),
    max_pause: Duration::from_millis(5),
    then: AfterRetries::DeadLetter,
};

#[tokio::test]
async fn a_running_group_is_moved_back_and_forth() {
    let log = log().await;
    effects(&log.pool).await;
    let broker = log.broker().await;
    broker.create_topic("t", 3).await.unwrap();
    let group = broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    broker.publish(numbered("t", 0..90)).await.unwrap();
    log.caught_up("g").await;
    assert_eq!(log.handled().await, (90, 90));

    let ends = broker.partitions("t").await.unwrap();
    let plan = broker.seek_plan("g", "t", Some(1), Position::Earliest).await.unwrap();
    assert_eq!((plan.len(), plan[0].committed, plan[0].target), (1, ends[1].end, 0));
    assert_eq!(log.handled().await, (90, 90), "a plan changes nothing");

    broker.seek("g", "t", Some(1), Position::Earliest).await.unwrap();
    log.caught_up("g").await;
    let again = 90 + ends[1].end;
    assert_eq!(log.handled().await, (again, 90), "the partition came again, and no other did");

    let second = broker.read("t", 1, 1, 1).await.unwrap().remove(0);
    let by_time = Position::Time(second.published_at());
    let plan = broker.seek_plan("g", "t", Some(1), by_time).await.unwrap();
    assert!(plan[0].target <= 1, "{plan:?}: all of a batch has one time");

    group.stop().await;
    broker.publish(numbered("t", 90..120)).await.unwrap();
    eventually("offsets for all", || async {
        let ends = broker.partitions("t").await.unwrap();
        (ends.iter().map(|p| p.end).sum::<i64>() == 120).then_some(())
    })
    .await;
    broker.seek("g", "t", None, Position::Latest).await.unwrap();
    let group = broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    log.caught_up("g").await;
    assert_eq!(log.handled().await, (again, 90), "what was skipped is not handled");

    let refused = broker.seek("g", "t", None, Position::Offset(999)).await.unwrap_err();
    assert!(refused.to_string().contains("keeps offsets 0 to"), "{refused}");
    let refused = broker.seek("nobody", "t", None, Position::Earliest).await.unwrap_err();
    assert!(refused.to_string().contains("never read topic"), "{refused}");
    let refused = broker.seek("g", "t", Some(3), Position::Earliest).await.unwrap_err();
    assert!(refused.to_string().contains("no partition 3"), "{refused}");
    let refused = broker.consumer_group("g").topic("none", Keep::default()).start().await;
    assert!(matches!(refused, Err(Error::UnknownTopic(name)) if name == "none"));
    group.stop().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_time_is_found_among_many_blocks() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    for n in 0..40 {
        broker.publish(numbered("t", n * 3..n * 3 + 3)).await.unwrap();
    }
    let records = eventually("all records", || async {
        let records = broker.read("t", 0, 0, 500).await.unwrap();
        (records.len() == 120).then_some(records)
    })
    .await;
    let found = |at: chrono::DateTime<chrono::Utc>| {
        let pool = log.pool.clone();
        async move {
            sqlx::query_scalar::<_, i64>("select log.offset_at(log.topic_id('t'), 0, $1)")
                .bind(at)
                .fetch_one(&pool)
                .await
                .unwrap()
        }
    };
    for at in records.iter().map(Record::published_at) {
        let first = records.iter().find(|record| record.published_at() >= at).unwrap();
        assert_eq!(found(at).await, first.offset() as i64);
    }
    assert_eq!(found(chrono::DateTime::UNIX_EPOCH).await, 0);
    assert_eq!(found(chrono::Utc::now() + chrono::TimeDelta::days(1)).await, 120);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_paused_subscription_hands_nothing_out() {
    let log = log().await;
    effects(&log.pool).await;
    let broker = log.broker().await;
    for topic in ["t", "other"] {
        broker.create_topic(topic, 2).await.unwrap();
    }
    let group = broker
        .consumer_group("g")
        .topic("t", Keep::default())
        .topic("other", Keep::default())
        .start()
        .await
        .unwrap();
    broker.pause("g", "t").await.unwrap();
    let places = broker.places(Some("g")).await.unwrap();
    assert!(places.iter().all(|place| place.paused == (place.topic == "t")), "{places:?}");
    // A pause is seen at a member's next look; from then on nothing more is handed out.
    let seen = |value: String| {
        let pool = &log.pool;
        async move {
            sqlx::query_scalar::<_, bool>("select exists (select from effect where value = $1)")
                .bind(value)
                .fetch_one(pool)
                .await
                .unwrap()
        }
    };
    for n in 0.. {
        let both = [NewRecord::new("t", format!("t{n}")), NewRecord::new("other", format!("o{n}"))];
        broker.publish(both).await.unwrap();
        eventually("the other topic's record", || async {
            seen(format!("o{n}")).await.then_some(())
        })
        .await;
        if !seen(format!("t{n}")).await {
            break;
        }
    }
    let t = (0..20).map(|n| NewRecord::new("t", format!("held{n}")));
    broker.publish(t.collect::<Vec<_>>()).await.unwrap();
    for n in 0..3 {
        broker.publish([NewRecord::new("other", format!("beside{n}"))]).await.unwrap();
        eventually("the other topic's record", || async {
            seen(format!("beside{n}")).await.then_some(())
        })
        .await;
        assert!(!seen("held0".to_owned()).await);
    }
    broker.resume("g", "t").await.unwrap();
    log.caught_up("g").await;
    let all = log.handled().await;
    assert_eq!(all.0, all.1, "none twice");
    group.stop().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn partitions_are_added_to_a_topic_in_use() {
    let log = log().await;
    effects(&log.pool).await;
    let (here, there) = (log.broker().await, log.broker().await);
    here.create_topic("t", 1).await.unwrap();
    let group = there
        .consumer_group("g")
        .topic("t", Keep::default())
        .start_at(Start::Latest)
        .start()
        .await
        .unwrap();
    there.publish(numbered("t", 0..50)).await.unwrap();
    here.add_partitions("t", 4).await.unwrap();
    // The other process hears of it, and spreads its keys anew.
    let mut n = 50;
    eventually("keys in all partitions", || {
        let from = n;
        n += 50;
        let there = &there;
        async move {
            there.publish(numbered("t", from..from + 50)).await.unwrap();
            let ends = there.partitions("t").await.unwrap();
            (ends.len() == 4 && ends.iter().all(|partition| partition.end > 0)).then_some(())
        }
    })
    .await;
    log.caught_up("g").await;
    assert_eq!(log.handled().await, (i64::from(n), i64::from(n)));
    let refused = here.add_partitions("t", 2).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)), "{refused}");

    group.stop().await;
    let known = here.topics_info().await.unwrap();
    let topic = known.iter().find(|topic| topic.name == "t").unwrap();
    assert_eq!((topic.partitions, topic.records), (4, i64::from(n)));
    here.delete_topic("t").await.unwrap();
    assert!(matches!(here.partitions("t").await, Err(Error::UnknownTopic(_))));
    here.delete_group("g").await.unwrap();
    assert!(here.places(Some("g")).await.unwrap_err().to_string().contains("does not exist"));
    assert_eq!(here.findings().await.unwrap(), Vec::<String>::new());
    here.shutdown().await;
    there.shutdown().await;
}

#[tokio::test]
async fn a_dead_letter_goes_through_its_own_group_again() {
    let log = log().await;
    effects(&log.pool).await;
    let broker = log.broker().await;
    broker.create_topic("t", 2).await.unwrap();
    let sick = Keep {
        fail_on: Arc::new(vec!["3", "4"].into_iter().collect::<Vec<_>>().into()),
        ..Keep::default()
    };
    let other = broker.consumer_group("other").topic("t", Keep::default()).start().await.unwrap();
    let group =
        broker.consumer_group("g").topic("t", sick.clone()).retry(QUICK).start().await.unwrap();
    broker.publish(numbered("t", 0..10)).await.unwrap();
    log.caught_up("g").await;
    log.caught_up("other").await;
    let all = Redrive::default();
    let dead = eventually("two dead letters", || async {
        let dead = broker.dead_letters("g", "t", &all).await.unwrap();
        (dead.len() == 2).then_some(dead)
    })
    .await;
    assert!(dead.iter().all(|dead| dead.redriven_at.is_none() && dead.redrives == 0), "{dead:?}");
    assert_eq!(log.handled().await, (18, 10));

    // One is healed, the other is not.
    *sick.fail_on.lock().unwrap() = vec!["4"];
    let sent = broker.redrive("g", "t", &all).await.unwrap();
    assert_eq!(sent.len(), 2);
    let back = eventually("the one that fails again", || async {
        let dead = broker.dead_letters("g", "t", &all).await.unwrap();
        (dead.len() == 1).then_some(dead)
    })
    .await;
    assert_eq!((back[0].record.value(), back[0].redrives), (&b"4"[..], 1));
    assert_eq!(back[0].record.header("dlq.topic"), Some("t"));
    let first = dead.iter().find(|dead| dead.record.value() == b"4").unwrap();
    for name in ["dlq.partition", "dlq.offset", "dlq.group"] {
        assert_eq!(back[0].record.header(name), first.record.header(name), "{name}");
    }
    log.caught_up("g").await;
    assert_eq!(log.handled().await, (19, 10), "no other group saw it again");

    // What was redriven is not redriven once more unless that is asked for.
    let none = Redrive { offsets: Some(vec![first.record.offset()]), ..Redrive::default() };
    assert!(broker.redrive("g", "t", &none).await.unwrap().is_empty());
    let guarded = Redrive { max_redrives: 1, ..Redrive::default() };
    assert!(broker.redrive("g", "t", &guarded).await.unwrap().is_empty(), "the loop guard");
    *sick.fail_on.lock().unwrap() = vec![];
    assert_eq!(broker.redrive("g", "t", &all).await.unwrap().len(), 1);
    eventually("all to be handled", || async { (log.handled().await == (20, 10)).then_some(()) })
        .await;
    group.stop().await;
    other.stop().await;
    broker.shutdown().await;
}

/// Fails on everything while something that it needs is away.
struct Needy {
    away: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
}

impl Handler for Needy {
    async fn handle(&self, _: &mut Transaction, _: &[Record]) -> Result<(), HandlerError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match self.away.load(Ordering::Relaxed) {
            true => Err(HandlerError::from(std::io::Error::other("it is away"))),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn what_fails_wholesale_is_not_diverted_wholesale() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    let (away, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    broker.publish(numbered("t", 0..50)).await.unwrap();
    let group = broker
        .consumer_group("g")
        .topic("t", Needy { away: away.clone(), calls: calls.clone() })
        .retry(QUICK)
        .breaker(Breaker {
            failures: 3,
            pause: Duration::from_millis(1),
            max_pause: Duration::from_millis(20),
        })
        .start()
        .await
        .unwrap();
    // Three records' worth of attempts, and then the same record again and again.
    eventually("many attempts", || async { (calls.load(Ordering::Relaxed) > 60).then_some(()) })
        .await;
    let all = Redrive::default();
    assert_eq!(broker.dead_letters("g", "t", &all).await.unwrap().len(), 3);
    away.store(false, Ordering::Relaxed);
    log.caught_up("g").await;
    assert_eq!(broker.dead_letters("g", "t", &all).await.unwrap().len(), 3);
    group.stop().await;
    broker.shutdown().await;
}

/// Notes the largest batch that it got.
struct Largest(Arc<AtomicU32>);

impl Handler for Largest {
    async fn handle(&self, _: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        self.0.fetch_max(records.len() as u32, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn a_rate_bounds_what_is_handed_out() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    broker.publish(numbered("t", 0..150)).await.unwrap();
    let largest = Arc::new(AtomicU32::new(0));
    let started = std::time::Instant::now();
    let group = broker
        .consumer_group("g")
        .topic("t", Largest(largest.clone()))
        .max_rate(50)
        .start()
        .await
        .unwrap();
    log.caught_up("g").await;
    // A second's worth at once, and then two seconds for the rest: never faster than that.
    assert!(started.elapsed() >= Duration::from_millis(1900), "{:?}", started.elapsed());
    assert!(largest.load(Ordering::Relaxed) <= 50);
    group.stop().await;
    broker.shutdown().await;
}
