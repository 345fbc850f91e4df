//! Answers that get lost, backends that are ended and a server that crashes: each record's
//! effect is there once.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use broker::{Broker, Handler, HandlerError, Options, Record, Retry, Transaction};
use common::{Keep, Log, effects, eventually, log, numbered, own_log, run, seed};
use private_postgres::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const RETRY: fn() -> Retry = || Retry {
    pause: Duration::from_millis(1),
    max_pause: Duration::from_millis(50),
    ..Retry::default()
};

/// A way to the server that drops the connection instead of passing on the answer to every
/// `every`th COMMIT: the server has committed, and the client does not know. Returns its URL
/// and how often it did so.
async fn forgetful(url: &str, every: u32) -> (String, Arc<AtomicU32>) {
    let port = url.parse::<PgConnectOptions>().unwrap().get_port();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own_port = listener.local_addr().unwrap().port();
    let (commits, cut) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counted = cut.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (commits, cut) = (commits.clone(), cut.clone());
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // An end of either is the end of both.
                let _ = pass(client, server, every, &commits, &cut).await;
            });
        }
    });
    (url.replace(&format!(":{port}/"), &format!(":{own_port}/")), counted)
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    every: u32,
    commits: &AtomicU32,
    cut: &AtomicU32,
) -> std::io::Result<()> {
    let (mut said, mut answered) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            n = client.read(&mut said) => {
                let said = &said[..n?];
                if said.is_empty() {
                    return Ok(());
                }
                server.write_all(said).await?;
                let is_commit = said.windows(7).any(|part| part == b"COMMIT\0");
                if is_commit && commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(every) {
                    // The answer shows that it is done.
                    let n = server.read(&mut answered).await?;
                    assert!(answered[..n].windows(7).any(|part| part == b"COMMIT\0"));
                    cut.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
            n = server.read(&mut answered) => {
                let answered = &answered[..n?];
                if answered.is_empty() {
                    return Ok(());
                }
                client.write_all(answered).await?;
            }
        }
    }
}

async fn broker_at(url: &str) -> Broker {
    Options::new(url).application_name("victim").connect().await.unwrap()
}

/// Every record's effect is there once, at the offset where the log has the record.
async fn exactly_once(log: &Log, count: u32) {
    assert_eq!(log.handled().await, (i64::from(count), i64::from(count)));
    let misplaced: i64 = sqlx::query_scalar(
        r#"with record as materialized (select * from log.record)
           select count(*) from effect e left join record r
             on (r.topic, r.partition, r."offset") = (e.topic, e.partition, e.record_offset)
          where convert_from(r.value, 'UTF8') is distinct from e.value"#,
    )
    .fetch_one(&log.pool)
    .await
    .unwrap();
    assert_eq!(misplaced, 0);
    assert!(log.dense().await);
}

#[tokio::test]
async fn a_lost_answer_to_commit_doubles_nothing() {
    let log = log().await;
    effects(&log.pool).await;
    let direct = log.broker().await;
    direct.create_topic("t", 3).await.unwrap();
    direct.publish(numbered("t", 0..600)).await.unwrap();
    let (url, cut) = forgetful(&log.url, 3).await;
    let broker = broker_at(&url).await;
    let group = broker.consumer_group("g").topic("t", Keep::default()).max_batch(10).retry(RETRY());
    let group = group.start().await.unwrap();
    log.caught_up("g").await;
    assert!(cut.load(Ordering::Relaxed) >= 15, "{cut:?}");
    exactly_once(&log, 600).await;
    group.stop().await;
    broker.shutdown().await;
    direct.shutdown().await;
}

/// Its effects have keys of their own, as the rows of most services have.
struct Unique;

impl Handler for Unique {
    async fn handle(&self, tx: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        for record in records {
            sqlx::query("insert into receipt values ($1, $2)")
                .bind(record.partition())
                .bind(record.offset() as i64)
                .execute(&mut **tx)
                .await?;
        }
        Ok(())
    }
}

/// Handled again after a lost answer, such a batch fails with a duplicate key before its
/// commit could find the fence. It is done all the same, and no record is to blame.
#[tokio::test]
async fn a_lost_answer_to_commit_is_not_the_fault_of_a_record() {
    let log = log().await;
    run(&mut log.session().await, "create table receipt (p int, o bigint, primary key (p, o))")
        .await;
    let direct = log.broker().await;
    direct.create_topic("t", 1).await.unwrap();
    direct.publish(numbered("t", 0..40)).await.unwrap();
    let (url, cut) = forgetful(&log.url, 3).await;
    let broker = broker_at(&url).await;
    let group = broker.consumer_group("g").topic("t", Unique).max_batch(10).retry(RETRY());
    let group = group.start().await.unwrap();
    log.caught_up("g").await;
    assert!(cut.load(Ordering::Relaxed) > 0);
    let (receipts, dead): (i64, i64) = sqlx::query_as(
        "select (select count(*) from receipt), (select count(*) from log.record where topic <> 't')",
    )
    .fetch_one(&log.pool)
    .await
    .unwrap();
    assert_eq!((receipts, dead), (40, 0));
    group.stop().await;
    broker.shutdown().await;
    direct.shutdown().await;
}

#[tokio::test]
async fn ended_backends_lose_and_double_nothing() {
    let mut rng = StdRng::seed_from_u64(seed());
    let log = log().await;
    effects(&log.pool).await;
    let direct = log.broker().await;
    direct.create_topic("t", 4).await.unwrap();
    direct.publish(numbered("t", 0..3000)).await.unwrap();
    let brokers = [broker_at(&log.url).await, broker_at(&log.url).await];
    let mut groups = Vec::new();
    for broker in &brokers {
        let group = broker.consumer_group("g").topic("t", Keep::default());
        groups.push(group.max_batch(10).retry(RETRY()).start().await.unwrap());
    }
    for round in 0..60 {
        // Mostly those that are in a transaction: sessions come back slowly.
        let busy = rng.random_bool(0.95);
        let skip: i32 = rng.random_range(0..4);
        sqlx::query(
            "select pg_terminate_backend(pid) from (
                select pid from pg_stat_activity
                 where application_name = 'victim' and datname = current_database()
                   and (not $1 or state in ('active', 'idle in transaction') and xact_start is not null)
                 order by pid offset $2 limit 1) victim",
        )
        .bind(busy)
        .bind(skip)
        .execute(&log.pool)
        .await
        .unwrap();
        if round % 20 == 0 {
            direct.publish(numbered("t", 3000 + round..3001 + round)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..20))).await;
    }
    log.caught_up("g").await;
    exactly_once(&log, 3003).await;
    for group in groups {
        group.stop().await;
    }
    for broker in brokers.into_iter().chain([direct]) {
        broker.shutdown().await;
    }
}

#[tokio::test]
async fn a_crash_of_the_server_loses_and_doubles_nothing() {
    let mut rng = StdRng::seed_from_u64(seed());
    let (mut server, log) = own_log().await;
    // The server's own default is meant for tests that do not care.
    let durable = "do $$ begin execute format('alter database %I set synchronous_commit = on', current_database()); end $$";
    run(&mut log.session().await, durable).await;
    effects(&log.pool).await;
    let brokers = [broker_at(&log.url).await, broker_at(&log.url).await];
    brokers[0].create_topic("t", 4).await.unwrap();
    brokers[0].publish(numbered("t", 0..3000)).await.unwrap();
    let mut groups = Vec::new();
    for broker in &brokers {
        let group = broker.consumer_group("g").topic("t", Keep::default());
        groups.push(group.max_batch(10).retry(RETRY()).start().await.unwrap());
    }
    let mut handled = 0;
    for _ in 0..3 {
        let until = handled + rng.random_range(200..800);
        handled = eventually("some more to be handled", || async {
            let (count, _) = log.handled().await;
            (count >= until).then_some(count)
        })
        .await;
        server.server().signal(Signal::Quit).unwrap();
        server.server_mut().wait().await.unwrap();
        server.server_mut().restart().await.unwrap();
    }
    log.caught_up("g").await;
    exactly_once(&log, 3000).await;
    for group in groups {
        group.stop().await;
    }
    for broker in brokers {
        broker.shutdown().await;
    }
}

/// Claims are committed asynchronously: a crash takes the last of them back, and their seqs
/// are given again, while the process that claimed lives on with a batch in hand.
#[tokio::test]
async fn a_claim_that_a_crash_took_back_commits_nothing() {
    let (mut server, log) = own_log().await;
    let mut session = log.session().await;
    // Nothing flushes the claims: not the writer's turn, nor a page of WAL that is full.
    run(&mut session, "alter system set wal_writer_delay = '10s'").await;
    run(&mut session, "alter system set full_page_writes = off").await;
    run(&mut session, "select pg_reload_conf()").await;
    effects(&log.pool).await;
    run(&mut session, "select log.create_topic('t', 1)").await;
    run(&mut session, "select log.subscribe('g', 't', 'earliest')").await;
    run(&mut session, "checkpoint").await;
    run(&mut session, "select pg_switch_wal()").await;

    let append = |member: i32, after: i64, generation: i32| {
        format!(
            "insert into effect (topic, partition, record_offset, value) values ('t', 0, 0, '{member}');
             select log.commit_progress(1, 0, {after}, {member}, {generation}, 10)"
        )
    };
    // The first dies, the second claims after it, and the server crashes.
    run(&mut session, "select log.claim(1, array[1], array[0], array[-1::bigint])").await;
    run(&mut session, "select log.claim(2, array[1], array[0], array[0::bigint])").await;
    server.server().signal(Signal::Quit).unwrap();
    server.server_mut().wait().await.unwrap();
    server.server_mut().restart().await.unwrap();

    let mut session = log.session().await;
    let seq: i64 = sqlx::query_scalar("select seq from log.assignment(array[1])")
        .fetch_one(&mut session)
        .await
        .unwrap();
    assert_eq!(seq, -1, "the crash left the claims in place, so this shows nothing");
    run(&mut session, "select log.claim(3, array[1], array[0], array[-1::bigint])").await;
    sqlx::raw_sql(AssertSqlSafe(append(3, 0, 1))).execute(&mut session).await.unwrap();
    // The second's batch, in hand all the time.
    let zombie = sqlx::raw_sql(AssertSqlSafe(append(2, 1, 2))).execute(&mut session).await;
    let handled: Vec<String> =
        sqlx::query_scalar("select value from effect").fetch_all(&mut session).await.unwrap();
    assert_eq!(handled, ["3"], "{zombie:?}");
}

/// Connections that a restart ended are not handed out again: nobody else's call has to fail for
/// each of them first.
#[tokio::test]
async fn after_a_restart_no_call_meets_a_dead_connection() {
    let (mut server, log) = own_log().await;
    let broker = log.broker().await;
    let six = || async {
        let mut open = Vec::new();
        for _ in 0..6 {
            let mut tx = broker.begin().await.unwrap();
            sqlx::query("select").execute(&mut *tx).await.unwrap();
            open.push(tx);
        }
    };
    six().await;
    server.server().signal(Signal::Quit).unwrap();
    server.server_mut().wait().await.unwrap();
    server.server_mut().restart().await.unwrap();
    six().await;
    broker.shutdown().await;
}
