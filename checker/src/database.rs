//! The server under test, its tables, and what they hold in the end.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use private_postgres::{Binaries, Options, Server};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

use crate::analysis::{Effect, Final, Logged};

/// The topic that is checked.
pub(crate) const TOPIC: &str = "t";
/// Where handlers publish.
pub(crate) const ECHO: &str = "echo";
pub(crate) const GROUP: &str = "checker";
const DATABASE: &str = "checker";

/// A restart after a crash takes seconds; a server that is silent for longer is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// No key on `effect`: a duplicate is to be seen, not prevented.
const TABLES: &str = "
    create table effect (id bigint generated always as identity, process text not null,
        partition int not null, record_offset bigint not null, value text not null, echo bool not null);
    create table ledger (value text not null);
    select log.create_topic('echo', 1);
";

/// A server that really writes to the disk: what a crash takes back is part of the check.
pub(crate) async fn start(folder: &Path) -> anyhow::Result<Server> {
    let binaries = Binaries::find_or_fetch(|_| ()).await?;
    Ok(Server::start(&binaries, Options::new(folder)).await?)
}

pub(crate) async fn create(server: &Server, partitions: u32) -> anyhow::Result<PgPool> {
    let mut admin = PgConnection::connect(&server.url("postgres")).await?;
    sqlx::raw_sql("create database checker").execute(&mut admin).await?;
    admin.close().await?;
    let options: PgConnectOptions = url(server).parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options.application_name("checker"))
        .await?;
    broker::migrate(&pool).await?;
    sqlx::raw_sql(TABLES).execute(&pool).await?;
    sqlx::query("select log.create_topic($1, $2)")
        .bind(TOPIC)
        .bind(i32::try_from(partitions)?)
        .execute(&pool)
        .await?;
    Ok(pool)
}

pub(crate) fn url(server: &Server) -> String {
    server.url(DATABASE)
}

/// Asks until there is an answer: the connection may be one that a fault has ended.
pub(crate) async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let until = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= until => {
                return Err(error).context("the server under test has not answered for a minute");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Which start of the server this is.
pub(crate) const LIFE: &str =
    "select (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint";

/// Whether all that was published has an offset, and the group has handled it.
pub(crate) async fn is_drained(pool: &PgPool) -> anyhow::Result<bool> {
    patiently(|| {
        sqlx::query_scalar(
            "select (select count(*) from log.record_batch)
                  = (select coalesce(sum(cardinality(ids)), 0) from log.block)
                and (select coalesce(bool_and(lag = 0), false) from log.group_lag where consumer_group = $1)",
        )
        .bind(GROUP)
        .fetch_one(pool)
    })
    .await
}

/// Where each partition of the topic ends.
pub(crate) async fn ends(pool: &PgPool) -> anyhow::Result<Vec<(i32, i64)>> {
    patiently(|| {
        sqlx::query_as(
            "select p, log.partition_end(t.id, p) from log.topic t, generate_series(0, t.partitions - 1) p
              where t.name = $1",
        )
        .bind(TOPIC)
        .fetch_all(pool)
    })
    .await
}

pub(crate) async fn read_final(pool: &PgPool) -> anyhow::Result<Final> {
    let log: Vec<(i32, i64, String)> = patiently(|| {
        sqlx::query_as(
            r#"select partition, "offset"::bigint, convert_from(value, 'UTF8') from log.record where topic = $1"#,
        )
        .bind(TOPIC)
        .fetch_all(pool)
    })
    .await?;
    let effects: Vec<(String, i32, i64, String, bool)> = patiently(|| {
        sqlx::query_as(
            "select process, partition, record_offset, value, echo from effect order by id",
        )
        .fetch_all(pool)
    })
    .await?;
    let echoes = "select convert_from(value, 'UTF8') from log.record where topic = $1";
    Ok(Final {
        log: log
            .into_iter()
            .map(|(partition, offset, value)| Logged { partition, offset, value })
            .collect(),
        effects: effects
            .into_iter()
            .map(|(process, partition, offset, value, echo)| Effect {
                process,
                partition,
                offset,
                value,
                echo,
            })
            .collect(),
        echoes: patiently(|| sqlx::query_scalar(echoes).bind(ECHO).fetch_all(pool)).await?,
        rows: patiently(|| sqlx::query_scalar("select value from ledger").fetch_all(pool)).await?,
        life: patiently(|| sqlx::query_scalar(LIFE).fetch_one(pool)).await?,
    })
}
