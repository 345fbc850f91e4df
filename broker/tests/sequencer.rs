//! The sequencer: every committed batch gets its offsets once, whoever ticks.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Log, eventually, own_log, run, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::PgConnection;

const WRITERS: u64 = 8;
const TRANSACTIONS: u32 = 300;

/// Inserts one to five batches of one to four records, over two topics' partitions.
async fn insert(session: &mut PgConnection, rng: &mut StdRng) -> Vec<i64> {
    let batches = rng.random_range(1..=5);
    let column = |rng: &mut StdRng, below: i32| -> Vec<i32> {
        (0..batches).map(|_| rng.random_range(0..below)).collect()
    };
    sqlx::query_scalar(
        "insert into log.record_batch (topic, partition, lens, body)
         select 1 + t, p, decode(repeat('00000004', 1 + n), 'hex'), decode(repeat('00000000', 1 + n), 'hex')
           from unnest($1::int[], $2::int[], $3::int[]) w(t, p, n)
         returning id",
    )
    .bind(column(rng, 2))
    .bind(column(rng, 3))
    .bind(column(rng, 4))
    .fetch_all(session)
    .await
    .unwrap()
}

/// One transaction of a random shape; returns the batches that it committed.
async fn transaction(session: &mut PgConnection, rng: &mut StdRng, name: &str) -> Vec<i64> {
    run(session, "begin").await;
    let mut ids = insert(session, rng).await;
    // How many ids there were at each savepoint that stands.
    let mut savepoints: Vec<usize> = Vec::new();
    // More than 64 overflow what a backend shows of its subtransactions.
    let steps = [0, 0, 0, 3, 8, 70][rng.random_range(0..6)];
    for _ in 0..steps {
        run(session, format!("savepoint s{}", savepoints.len())).await;
        savepoints.push(ids.len());
        if rng.random_bool(0.6) {
            ids.extend(insert(session, rng).await);
        }
        let back = rng.random_range(0..savepoints.len());
        match rng.random_range(0..40) {
            0 => {
                run(session, format!("rollback to s{back}")).await;
                ids.truncate(savepoints[back]);
                savepoints.truncate(back + 1);
            }
            1 => {
                run(session, format!("release s{back}")).await;
                savepoints.truncate(back);
            }
            _ => {}
        }
    }
    let committed = rng.random_bool(0.8);
    let end = if committed { "commit" } else { "rollback" };
    if rng.random_bool(0.1) {
        run(session, format!("prepare transaction '{name}'")).await;
        run(session, format!("select pg_sleep({})", rng.random_range(0.0..0.02))).await;
        run(session, format!("{end} prepared '{name}'")).await;
    } else {
        run(session, end).await;
    }
    if committed { ids } else { Vec::new() }
}

/// Transactions that stay open over many ticks.
async fn hold(log: Arc<Log>, seed: u64, done: Arc<AtomicBool>) -> Vec<i64> {
    let (mut session, mut rng) = (log.session().await, StdRng::seed_from_u64(seed));
    let tick = || async {
        let tick = sqlx::query_scalar("select max(n) from log.tick").fetch_one(&log.pool).await;
        tick.unwrap_or(0i64)
    };
    let mut all = Vec::new();
    while !done.load(Ordering::Relaxed) {
        run(&mut session, "begin").await;
        let mut ids = insert(&mut session, &mut rng).await;
        let (opened_at, ticks) = (tick().await, rng.random_range(20..200));
        eventually("many ticks", || async {
            let over = done.load(Ordering::Relaxed) || tick().await >= opened_at + ticks;
            over.then_some(())
        })
        .await;
        ids.extend(insert(&mut session, &mut rng).await);
        run(&mut session, "commit").await;
        all.extend(ids);
    }
    all
}

/// Ticks without a lease until told to stop; returns how many ticks it lost to others.
async fn sequence(log: Arc<Log>, seed: u64, done: Arc<AtomicBool>) -> u32 {
    let (mut session, mut rng) = (log.session().await, StdRng::seed_from_u64(seed));
    let mut lost = 0;
    while !done.load(Ordering::Relaxed) {
        let tick = sqlx::query("select log.tick($1)").bind(rng.random_bool(0.5));
        if let Err(error) = tick.execute(&mut session).await {
            let key = error.as_database_error().and_then(|error| error.constraint());
            assert!(matches!(key, Some("tick_pkey" | "block_pkey")), "{error}");
            lost += 1;
        }
        tokio::time::sleep(Duration::from_micros(rng.random_range(0..3000))).await;
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_committed_batch_is_numbered_once_whoever_races() {
    let seed = seed();
    let (mut server, log) = own_log().await;
    run(&mut log.session().await, "alter system set max_prepared_transactions = 20").await;
    server.server_mut().restart().await.unwrap();
    for topic in ["a", "b"] {
        sqlx::query("select log.create_topic($1, 3)").bind(topic).execute(&log.pool).await.unwrap();
    }

    let log = Arc::new(log);
    let (writers_done, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let seeds = move |kind: u64, i: u64| seed ^ (kind << 32) ^ i;
    let sequencers: Vec<_> =
        (0..3).map(|i| tokio::spawn(sequence(log.clone(), seeds(1, i), done.clone()))).collect();
    let holders: Vec<_> = (0..3)
        .map(|i| tokio::spawn(hold(log.clone(), seeds(2, i), writers_done.clone())))
        .collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|i| {
            let log = log.clone();
            tokio::spawn(async move {
                let (mut session, mut rng) =
                    (log.session().await, StdRng::seed_from_u64(seeds(3, i)));
                let mut ids = Vec::new();
                for n in 0..TRANSACTIONS {
                    ids.extend(transaction(&mut session, &mut rng, &format!("{i}-{n}")).await);
                }
                ids
            })
        })
        .collect();
    let mut committed = Vec::new();
    for writer in writers {
        committed.extend(writer.await.unwrap());
    }
    writers_done.store(true, Ordering::Relaxed);
    for holder in holders {
        committed.extend(holder.await.unwrap());
    }
    done.store(true, Ordering::Relaxed);
    let mut lost_ticks = 0;
    for sequencer in sequencers {
        lost_ticks += sequencer.await.unwrap();
    }
    assert!(lost_ticks > 0, "nobody raced");
    sqlx::query("select log.tick(false)").execute(&log.pool).await.unwrap();
    let rest: Option<i64> = sqlx::query_scalar("select ticked from log.tick(false)")
        .fetch_one(&log.pool)
        .await
        .unwrap();
    assert_eq!(rest, None, "one tick takes all");

    committed.sort_unstable();
    let numbered: Vec<i64> =
        sqlx::query_scalar("select unnest(ids) as id from log.block order by id")
            .fetch_all(&log.pool)
            .await
            .unwrap();
    assert!(numbered == committed, "{} numbered, {} committed", numbered.len(), committed.len());
    assert!(log.dense().await, "offsets have gaps, or ids are out of order");
}

#[tokio::test]
async fn a_tick_is_forced_once_for_an_open_transaction_and_never_when_idle() {
    let (_server, log) = own_log().await;
    let (mut ticker, mut writer) = (log.session().await, log.session().await);
    // Its analysis of tables is a transaction, too.
    run(&mut ticker, "alter system set autovacuum = off").await;
    run(&mut ticker, "select pg_reload_conf()").await;
    run(&mut ticker, "select log.create_topic('t', 1)").await;
    let ticked = async |forced: bool, ticker: &mut PgConnection| -> Option<i64> {
        let tick = sqlx::query_scalar("select ticked from log.tick($1)").bind(forced);
        tick.fetch_one(ticker).await.unwrap()
    };
    let next_xid = async |session: &mut PgConnection| -> String {
        let next = "select pg_snapshot_xmax(pg_current_snapshot())::text";
        sqlx::query_scalar(next).fetch_one(session).await.unwrap()
    };
    // Whatever making this database left behind.
    eventually("the server to be idle", || async {
        let mut session = log.session().await;
        ticked(true, &mut session).await.is_none().then_some(())
    })
    .await;

    let before = next_xid(&mut ticker).await;
    for _ in 0..5 {
        assert_eq!(ticked(true, &mut ticker).await, None);
    }
    assert_eq!(next_xid(&mut ticker).await, before, "an idle tick writes nothing");

    run(&mut writer, "begin").await;
    let mut rng = StdRng::seed_from_u64(1);
    let ids = insert(&mut writer, &mut rng).await;
    // Somebody later that committed: the open one is in the snapshot and not at its end.
    run(&mut ticker, "select pg_current_xact_id()").await;
    assert_eq!(ticked(false, &mut ticker).await, None);
    assert!(ticked(true, &mut ticker).await.is_some(), "its rows are below the next tick's range");
    for _ in 0..5 {
        assert_eq!(ticked(true, &mut ticker).await, None, "once is enough");
    }
    run(&mut writer, "commit").await;
    assert!(ticked(false, &mut ticker).await.is_some());
    assert_eq!(ticked(false, &mut ticker).await, None);
    let count: i64 = sqlx::query_scalar("select sum(cardinality(ids))::bigint from log.block")
        .fetch_one(&log.pool)
        .await
        .unwrap();
    assert_eq!(count, ids.len() as i64);
}
