//! A dump that is restored into another cluster goes on where the first one was.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write as _;
use std::process::{Command, Stdio};

use broker::{Broker, Error};
use common::{Keep, Log, effects, eventually, log, numbered, own_log, run};
use sqlx::postgres::PgPoolCopyExt;
use sqlx::{AssertSqlSafe, PgPool};

/// What a dump holds of the log, and of the handlers' effects beside it.
const TABLES: [&str; 13] = [
    "log.identity",
    "log.topic",
    "log.topic_grant",
    "log.record_batch",
    "log.tick",
    "log.block",
    "log.log_start",
    "log.segment",
    "log.consumer_group",
    "log.subscription",
    "log.progress",
    "log.redriven",
    "public.effect",
];

/// Copies the data as a data-only dump would: where `pg_dump` is not to be had.
async fn copy(from: &PgPool, to: &PgPool) {
    sqlx::raw_sql("truncate log.identity, log.topic, log.tick, log.segment cascade")
        .execute(to)
        .await
        .unwrap();
    for table in TABLES {
        let columns: String = sqlx::query_scalar(
            "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
              where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''",
        )
        .bind(table)
        .fetch_one(from)
        .await
        .unwrap();
        let out = format!("copy (select {columns} from {table}) to stdout");
        let mut rows = from.copy_out_raw(&out).await.unwrap();
        let mut into =
            to.copy_in_raw(&format!("copy {table} ({columns}) from stdin")).await.unwrap();
        while let Some(chunk) = futures::StreamExt::next(&mut rows).await {
            into.send(chunk.unwrap()).await.unwrap();
        }
        into.finish().await.unwrap();
    }
    let sequences: Vec<(String, i64)> = sqlx::query_as(
        "select format('%I.%I', schemaname, sequencename), last_value from pg_sequences where last_value is not null",
    )
    .fetch_all(from)
    .await
    .unwrap();
    for (sequence, last) in sequences {
        sqlx::query("select setval($1::regclass, $2)")
            .bind(sequence)
            .bind(last)
            .execute(to)
            .await
            .unwrap();
    }
}

/// Whether `pg_dump` and `psql` did it.
fn dump_and_restore(from: &str, to: &str) -> bool {
    let bin = private_postgres::Binaries::find().and_then(|binaries| {
        Some(binaries.bin_dir)
            .filter(|bin| bin.join("pg_dump").exists() && bin.join("psql").exists())
    });
    let Some(bin) = bin else { return false };
    let dump = Command::new(bin.join("pg_dump")).arg(from).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let mut psql = Command::new(bin.join("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", to])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    psql.stdin.take().unwrap().write_all(&dump.stdout).unwrap();
    assert!(psql.wait().unwrap().success());
    true
}

const SPEND_IDS: &str =
    "do $$ begin for i in 1 .. 3000 loop perform pg_current_xact_id(); commit; end loop; end $$";

#[tokio::test]
async fn a_dump_goes_on_in_another_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = private_postgres::Binaries::find_or_fetch(|_| {}).await.unwrap();
    let options = private_postgres::Options::new(folder.path().join("data"));
    let server = private_postgres::Server::start(&binaries, options).await.unwrap();
    let admin = PgPool::connect(&server.url("postgres")).await.unwrap();
    sqlx::raw_sql(SPEND_IDS).execute(&admin).await.unwrap();
    let old = log().await;
    goes_on(old, &server.url("postgres")).await;
    server.stop().await.unwrap();
}

/// The servers of tests are copies of one cluster, and so have one identity.
#[tokio::test]
async fn a_dump_goes_on_in_a_copy_of_its_cluster_that_is_behind() {
    let old = log().await;
    sqlx::raw_sql(SPEND_IDS).execute(&old.pool).await.unwrap();
    let (server, other) = own_log().await;
    goes_on(old, &other.url).await;
    drop(server);
}

async fn goes_on(old: Log, server: &str) {
    effects(&old.pool).await;
    let broker = old.broker().await;
    broker.create_topic("t", 3).await.unwrap();
    let group = broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    broker.publish(numbered("t", 0..100)).await.unwrap();
    old.caught_up("g").await;
    group.stop().await;
    // Published and not handled.
    broker.publish(numbered("t", 100..150)).await.unwrap();
    eventually("offsets", || async {
        let ends = broker.partitions("t").await.unwrap();
        (ends.iter().map(|p| p.end).sum::<i64>() == 150).then_some(())
    })
    .await;
    broker.shutdown().await;
    // Published and without an offset: nobody sequences any more.
    let mut session = old.session().await;
    for n in 150..200 {
        run(&mut session, format!("select log.publish('t', '{n}', 'k{}')", n % 17)).await;
    }

    let admin = PgPool::connect(server).await.unwrap();
    sqlx::raw_sql("create database restored").execute(&admin).await.unwrap();
    let url = format!("{}/restored", server.rsplit_once('/').unwrap().0);
    let new = Log { pool: PgPool::connect(&url).await.unwrap(), url };
    if !dump_and_restore(&old.url, &new.url) {
        eprintln!("no pg_dump here: the data is copied table by table instead");
        broker::migrate(&new.pool).await.unwrap();
        effects(&new.pool).await;
        copy(&old.pool, &new.pool).await;
    }

    let refused = Broker::connect(&new.url).await;
    assert!(matches!(refused, Err(Error::Restored)), "{:?}", refused.map(drop));
    let log_id = || async {
        sqlx::query_scalar::<_, String>("select log_id::text from log.identity")
            .fetch_one(&new.pool)
            .await
            .unwrap()
    };
    let before = log_id().await;
    broker::migrate(&new.pool).await.unwrap();
    assert_ne!(log_id().await, before, "readers outside are to notice");

    let broker = Broker::connect(&new.url).await.unwrap();
    let group = broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();
    broker.publish(numbered("t", 200..300)).await.unwrap();
    new.caught_up("g").await;
    assert_eq!(new.handled().await, (300, 300), "each record once, from before and from after");
    assert!(new.dense().await);
    assert_eq!(broker.findings().await.unwrap(), Vec::<String>::new());
    group.stop().await;
    broker.shutdown().await;
    // Once is enough.
    broker::migrate(&new.pool).await.unwrap();
    let unchanged: Option<i64> =
        sqlx::query_scalar(AssertSqlSafe("select log.adopt()")).fetch_one(&new.pool).await.unwrap();
    assert_eq!(unchanged, None);
}
