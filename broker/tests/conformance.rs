//! Tries every promise on a real server, and writes the table that the README shows.
//!
//! `UPDATE_README=1 cargo test -p broker --test conformance` writes it anew.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::promises::{POSTGRES, Promise};
use broker::{
    AfterRetries, Broker, Error, Handler, HandlerError, NewRecord, Options, Position, Record,
    Redrive, Retry, Start, Transaction,
};
use common::{Keep, Log, effects, eventually, log, numbered, own_log, run};
use private_postgres::Signal;

type Check = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Which function tries which promise.
const CHECKS: &[(&str, Check)] = &[
    ("durable", || Box::pin(durable())),
    ("transactional publish", || Box::pin(transactional_publish())),
    ("dense offsets", || Box::pin(dense_offsets())),
    ("order by key", || Box::pin(order_by_key())),
    ("every group", || Box::pin(every_group())),
    ("exactly-once effects", || Box::pin(exactly_once_effects())),
    ("one owner", || Box::pin(one_owner())),
    ("takeover", || Box::pin(takeover())),
    ("isolation of bad records", || Box::pin(isolation_of_bad_records())),
    ("replay", || Box::pin(replay())),
    ("no silent skip", || Box::pin(no_silent_skip())),
    ("nobody waits", || Box::pin(nobody_waits())),
    ("rights", || Box::pin(rights())),
    // Tried at length in tests/restore.rs; here that the log has an id and is at home.
    ("one log over restores", || Box::pin(one_log_over_restores())),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_is_kept() {
    let tried: BTreeMap<&str, Check> = CHECKS.iter().copied().collect();
    let given: BTreeSet<&str> = POSTGRES.iter().filter(|p| p.given).map(|p| p.name).collect();
    assert_eq!(tried.keys().copied().collect::<BTreeSet<_>>(), given, "a promise and a check each");
    let trials: Vec<_> =
        tried.into_iter().map(|(name, check)| (name, tokio::spawn(check()))).collect();
    let mut broken = Vec::new();
    for (name, trial) in trials {
        if let Err(error) = trial.await {
            broken.push(format!("{name}: {error}"));
        }
    }
    assert!(broken.is_empty(), "promises were broken: {broken:#?}");
    shown(&table());
}

fn table() -> String {
    let row = |promise: &Promise| {
        let given = if promise.given { "yes" } else { "no" };
        format!("| {} | {given} | {} |\n", promise.name, promise.means)
    };
    let rows: String = POSTGRES.iter().map(row).collect();
    format!("| promise | Postgres | what it means |\n|---|---|---|\n{rows}")
}

/// Compares the README's table, or writes it.
fn shown(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("<!-- promises -->\n").unwrap();
    let (now, after) = rest.split_once("<!-- /promises -->").unwrap();
    let wanted = format!("\n{table}\n");
    if std::env::var_os("UPDATE_README").is_some() {
        let readme = format!("{before}<!-- promises -->\n{wanted}<!-- /promises -->{after}");
        return std::fs::write(path, readme).unwrap();
    }
    assert_eq!(now, wanted, "README.md is stale: run this test with UPDATE_README=1");
}

const QUICK: Retry = Retry {
    attempts: 2,
    pause: Duration::from_millis(1),
    max_pause: Duration::from_millis(5),
    then: AfterRetries::DeadLetter,
};

async fn fresh(partitions: u32) -> (Log, Broker) {
    let log = log().await;
    effects(&log.pool).await;
    let broker = log.broker().await;
    broker.create_topic("t", partitions).await.unwrap();
    (log, broker)
}

/// All records of the topic by partition, once there are so many.
async fn all(broker: &Broker, count: usize) -> BTreeMap<i32, Vec<Record>> {
    eventually("all records", || async {
        let mut found = BTreeMap::new();
        for partition in broker.partitions("t").await.unwrap() {
            let mut records = Vec::new();
            while (records.len() as i64) < partition.end {
                let next = records.len() as u64;
                records.extend(broker.read("t", partition.partition, next, 1000).await.unwrap());
            }
            found.insert(partition.partition, records);
        }
        (found.values().map(Vec::len).sum::<usize>() == count).then_some(found)
    })
    .await
}

async fn durable() {
    let (mut server, log) = own_log().await;
    // As every real server has it: those of tests do not wait for the disk.
    let mut session = log.session().await;
    let durable = "do $$ begin execute format('alter database %I set synchronous_commit = on', current_database()); end $$";
    run(&mut session, durable).await;
    let broker = log.broker().await;
    broker.create_topic("t", 2).await.unwrap();
    let mut acknowledged = 0;
    for round in 0..3 {
        for n in 0..20 {
            broker.publish(numbered("t", round * 20 + n..round * 20 + n + 1)).await.unwrap();
            acknowledged += 1;
        }
        server.server().signal(Signal::Quit).unwrap();
        server.server_mut().wait().await.unwrap();
        server.server_mut().restart().await.unwrap();
        eventually("the server again", || async { broker.topics_info().await.ok().map(drop) })
            .await;
    }
    assert_eq!(all(&broker, acknowledged).await.values().map(Vec::len).sum::<usize>(), 60);
    broker.shutdown().await;
}

async fn transactional_publish() {
    let (log, broker) = fresh(1).await;
    for n in 0..20 {
        let mut tx = broker.begin().await.unwrap();
        tx.publish(NewRecord::new("t", n.to_string())).unwrap();
        sqlx::query(
            "insert into effect (topic, partition, record_offset, value) values ('t', 0, 0, $1)",
        )
        .bind(n.to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
        match n % 2 {
            0 => tx.commit().await.unwrap(),
            _ => drop(tx),
        }
    }
    let published: Vec<String> = all(&broker, 10).await[&0]
        .iter()
        .map(|record| String::from_utf8_lossy(record.value()).into_owned())
        .collect();
    let rows: Vec<String> = sqlx::query_scalar("select value from effect order by id")
        .fetch_all(&log.pool)
        .await
        .unwrap();
    assert_eq!(published, rows);
    broker.shutdown().await;
}

async fn dense_offsets() {
    let (log, broker) = fresh(3).await;
    let publish = |from: u32| {
        let broker = broker.clone();
        async move {
            for n in (from..from + 100).step_by(5) {
                let mut tx = broker.begin().await.unwrap();
                for record in numbered("t", n..n + 5) {
                    tx.publish(record).unwrap();
                }
                match n % 3 {
                    0 => drop(tx),
                    _ => tx.commit().await.unwrap(),
                }
            }
        }
    };
    futures::join!(publish(0), publish(100), publish(200), publish(300));
    let kept = (0..400).step_by(5).filter(|n| n % 3 != 0).count() * 5;
    for records in all(&broker, kept).await.values() {
        assert!(records.iter().enumerate().all(|(n, record)| record.offset() == n as u64));
    }
    assert!(log.dense().await);
    broker.shutdown().await;
}

async fn order_by_key() {
    let (log, broker) = fresh(4).await;
    sqlx::raw_sql("create table thing (id text primary key, version bigint not null); insert into thing select n::text, 0 from generate_series(0, 4) n")
        .execute(&log.pool)
        .await
        .unwrap();
    let change = || {
        let broker = broker.clone();
        async move {
            for n in 0..100 {
                let id = (n % 5).to_string();
                let mut tx = broker.begin().await.unwrap();
                // Published first, and inserted last all the same.
                let version: i64 = sqlx::query_scalar(
                    "update thing set version = version + 1 where id = $1 returning version",
                )
                .bind(&id)
                .fetch_one(&mut *tx)
                .await
                .unwrap();
                tx.publish(NewRecord::new("t", version.to_string()).key(id)).unwrap();
                tx.commit().await.unwrap();
            }
        }
    };
    futures::join!(change(), change(), change(), change());
    let mut versions: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for record in all(&broker, 400).await.values().flatten() {
        let version: i64 = std::str::from_utf8(record.value()).unwrap().parse().unwrap();
        let last = versions.entry(record.key().unwrap().to_vec()).or_default();
        assert_eq!(version, *last + 1, "of {:?}", record.key());
        *last = version;
    }
    broker.shutdown().await;
}

async fn every_group() {
    let (log, broker) = fresh(3).await;
    broker.publish(numbered("t", 0..100)).await.unwrap();
    for (n, group) in ["one", "two", "three"].into_iter().enumerate() {
        broker.consumer_group(group).topic("t", Keep::default()).start().await.unwrap();
        log.caught_up(group).await;
        assert_eq!(log.handled().await, (100 * (n as i64 + 1), 100));
    }
    broker.shutdown().await;
}

async fn exactly_once_effects() {
    let (log, broker) = fresh(3).await;
    broker.publish(numbered("t", 0..2000)).await.unwrap();
    let group =
        || broker.consumer_group("g").topic("t", Keep::default()).max_batch(20).retry(QUICK);
    group().start().await.unwrap();
    // Every session of the group's is killed, again and again, wherever it is.
    while log.handled().await.0 < 2000 {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
              where datname = current_database() and application_name = 'broker' and random() < 0.5",
        )
        .execute(&log.pool)
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    log.caught_up("g").await;
    assert_eq!(log.handled().await, (2000, 2000));
    broker.shutdown().await;
}

async fn one_owner() {
    let (log, broker) = fresh(1).await;
    let mut session = log.session().await;
    run(&mut session, "select log.subscribe('g', 't', 'earliest')").await;
    let sub: i32 = sqlx::query_scalar("select log.subscription_id('g', 't')")
        .fetch_one(&log.pool)
        .await
        .unwrap();
    let claim = |member: i32, seq: i64| {
        format!("select log.claim({member}, array[{sub}], array[0], array[{seq}::bigint])")
    };
    run(&mut session, claim(1, -1)).await;
    run(&mut session, claim(2, 0)).await;
    let commit = |seq: i64, member: i32, generation: i32| {
        sqlx::query("select log.commit_progress($1, 0, $2, $3, $4, 1)")
            .bind(sub)
            .bind(seq)
            .bind(member)
            .bind(generation)
    };
    let older = commit(0, 1, 1).execute(&log.pool).await.unwrap_err();
    assert_eq!(older.as_database_error().unwrap().code().as_deref(), Some("LG001"));
    commit(1, 2, 2).execute(&log.pool).await.unwrap();
    broker.shutdown().await;
}

async fn takeover() {
    let (log, broker) = fresh(4).await;
    let dying = Options::new(&log.url).application_name("dying").connect().await.unwrap();
    dying.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    let owners = || async {
        let places = broker.places(Some("g")).await.unwrap();
        places.into_iter().map(|place| place.process).collect::<Vec<_>>()
    };
    eventually("both to have their share", || async {
        let share = owners().await.iter().filter(|owner| owner.as_deref() == Some("dying")).count();
        (share == 2).then_some(())
    })
    .await;
    // As a process does that is killed: nothing is released. Again and again, since this one is
    // not dead and would come back.
    drop(dying);
    eventually("the other to own all", || async {
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'dying' and datname = current_database()")
            .execute(&log.pool)
            .await
            .unwrap();
        owners().await.iter().all(|owner| owner.as_deref() == Some("broker")).then_some(())
    })
    .await;
    broker.publish(numbered("t", 0..100)).await.unwrap();
    log.caught_up("g").await;
    assert_eq!(log.handled().await, (100, 100));
    broker.shutdown().await;
}

async fn isolation_of_bad_records() {
    let (log, broker) = fresh(1).await;
    let bad = Keep { fail_on: Arc::new(vec!["17", "18", "40"].into()), panic_on: Some("50") };
    broker.publish(numbered("t", 0..60)).await.unwrap();
    broker.consumer_group("g").topic("t", bad).retry(QUICK).start().await.unwrap();
    log.caught_up("g").await;
    assert_eq!(log.handled().await, (56, 56));
    let dead = eventually("the dead letters", || async {
        let dead = broker.dead_letters("g", "t", &Redrive::default()).await.unwrap();
        (dead.len() == 4).then_some(dead)
    })
    .await;
    let values: BTreeSet<&[u8]> = dead.iter().map(|dead| dead.record.value()).collect();
    assert_eq!(values, [&b"17"[..], b"18", b"40", b"50"].into());
    broker.shutdown().await;
}

async fn replay() {
    let (log, broker) = fresh(2).await;
    broker.publish(numbered("t", 0..50)).await.unwrap();
    broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    log.caught_up("g").await;
    broker.seek("g", "t", None, Position::Earliest).await.unwrap();
    eventually("all to be handled again", || async {
        (log.handled().await == (100, 50)).then_some(())
    })
    .await;
    broker.shutdown().await;
}

async fn no_silent_skip() {
    let (log, broker) = fresh(1).await;
    broker.publish(numbered("t", 0..10)).await.unwrap();
    all(&broker, 10).await;
    broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap().stop().await;
    let committed = broker.places(Some("g")).await.unwrap()[0].committed;
    sqlx::raw_sql("select log.seek('g', 't', 0, '2'); insert into log.log_start select log.topic_id('t'), 0, 5")
        .execute(&log.pool)
        .await
        .unwrap();
    let told = broker.consumer_group("g").topic("t", Keep::default()).start().await;
    assert!(
        matches!(told, Err(Error::BelowLogStart { committed: 2, log_start: 5, .. })),
        "{told:?} after {committed}"
    );
    broker.shutdown().await;
}

/// Handles nothing until it is let go.
struct Slow(Arc<AtomicBool>);

impl Handler for Slow {
    async fn handle(&self, _: &mut Transaction, _: &[Record]) -> Result<(), HandlerError> {
        while !self.0.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

async fn nobody_waits() {
    let (log, broker) = fresh(2).await;
    let go = Arc::new(AtomicBool::new(false));
    broker.consumer_group("slow").topic("t", Slow(go.clone())).start().await.unwrap();
    broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    let mut open = log.session().await;
    run(&mut open, "begin").await;
    run(&mut open, "select log.publish('t', 'late', 'late')").await;
    broker.publish(numbered("t", 0..200)).await.unwrap();
    eventually("the others' records", || async {
        (log.handled().await == (200, 200)).then_some(())
    })
    .await;
    run(&mut open, "commit").await;
    eventually("the late one", || async { (log.handled().await == (201, 201)).then_some(()) })
        .await;
    go.store(true, Ordering::Relaxed);
    log.caught_up("slow").await;
    broker.shutdown().await;
}

async fn rights() {
    let (log, broker) = fresh(1).await;
    let url = log.role("reader").await;
    log.grant("t", "consume", &url).await;
    let reader = Broker::connect(&url).await.unwrap();
    let refused = reader.publish([NewRecord::new("t", "v")]).await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }), "{refused}");
    reader.consumer_group("r").topic("t", Slow(Arc::new(true.into()))).start().await.unwrap();
    broker.create_topic("other", 1).await.unwrap();
    let foreign =
        reader.consumer_group("r").topic("other", Keep::default()).start().await.unwrap_err();
    assert!(matches!(foreign, Error::Forbidden { .. }), "{foreign}");
    reader.shutdown().await;
    broker.shutdown().await;
}

async fn one_log_over_restores() {
    let (log, broker) = fresh(1).await;
    let at_home: bool =
        sqlx::query_scalar("select log.is_at_home()").fetch_one(&log.pool).await.unwrap();
    assert!(at_home);
    sqlx::query("update log.identity set cluster_id = cluster_id + 1")
        .execute(&log.pool)
        .await
        .unwrap();
    assert!(matches!(log.broker_or_error().await, Err(Error::Restored)));
    broker.publish(numbered("t", 0..10)).await.unwrap();
    broker.shutdown().await;
    broker::migrate(&log.pool).await.unwrap();
    let broker = log.broker().await;
    let mut reader = broker.broadcast(&["t"], Start::Earliest).await.unwrap();
    let mut seen = 0;
    while seen < 10 {
        seen += reader.next().await.unwrap().len();
    }
    assert!(log.dense().await);
    broker.shutdown().await;
}

impl Log {
    async fn broker_or_error(&self) -> Result<Broker, Error> {
        Options::new(&self.url).connect().await
    }
}
