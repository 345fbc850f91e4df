//! A log of one's own for each test.
#![allow(dead_code, clippy::unwrap_used)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broker::{Broker, Handler, HandlerError, NewRecord, Options, Record, Transaction};
use private_postgres::TestServer;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

/// Long enough for a busy machine: only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Log {
    pub url: String,
    pub pool: PgPool,
}

/// A fresh database with the log in it.
pub async fn log() -> Log {
    let server = TestServer::shared(&template_key(), make_log).await;
    Log::at(server.database().await).await
}

/// As [`log`], on a server of its own: for a test that breaks the server, or that counts
/// what everybody on it does.
pub async fn own_log() -> (TestServer, Log) {
    let server = TestServer::start(&template_key(), make_log).await.unwrap();
    let log = Log::at(server.database().await).await;
    (server, log)
}

fn template_key() -> String {
    let mut key = DefaultHasher::new();
    broker::migrations()
        .iter()
        .for_each(|migration| (migration.version, &migration.checksum).hash(&mut key));
    format!("log-{:016x}", key.finish())
}

async fn make_log(url: String) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let pool = PgPool::connect(&url).await?;
    broker::migrate(&pool).await?;
    pool.close().await;
    Ok(())
}

/// A random test's seed: told when it fails, and repeated with `SEED=…`.
pub fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("SEED={seed}");
    seed
}

/// Shows what the crate logs, for a test that is being looked into.
pub fn show_logs() {
    let _ = tracing_subscriber::fmt().with_env_filter("broker=debug").with_test_writer().try_init();
}

impl Log {
    pub async fn at(url: String) -> Log {
        let pool = PgPoolOptions::new().max_connections(4).connect(&url).await.unwrap();
        Log { url, pool }
    }

    /// A session of its own, with whatever is set on it.
    pub async fn session(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    pub async fn broker(&self) -> Broker {
        Options::new(&self.url).connect().await.unwrap()
    }

    /// A role that may log in and nothing else, and its URL.
    pub async fn role(&self, name: &str) -> String {
        // Roles are the whole server's, and so every test's.
        let name = format!("{name}_{}", self.url.rsplit('/').next().unwrap());
        let create = format!("create role \"{name}\" login password 'test'");
        sqlx::query(AssertSqlSafe(create)).execute(&self.pool).await.unwrap();
        format!("postgres://{name}:test@{}", self.url.split_once('@').unwrap().1)
    }

    pub async fn grant(&self, topic: &str, privilege: &str, url: &str) {
        let role = url.split("//").nth(1).unwrap().split(':').next().unwrap();
        sqlx::query("select log.grant_topic($1, $2, $3::text::name)")
            .bind(topic)
            .bind(privilege)
            .bind(role)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Whether each partition's offsets follow on each other from 0, each batch has as many as
    /// it has records, and ids ascend within a tick.
    pub async fn dense(&self) -> bool {
        sqlx::query_scalar(
            "select bool_and(base = coalesce(before, 0) and n = (select sum(c) from unnest(counts) c))
                    and (select bool_and(id > coalesce(earlier, 0) and count = n and placed) from (
                            select u.id, u.count, octet_length(r.lens) / 4 as n, (r.topic, r.partition) = (b.topic, b.partition) as placed,
                                   lag(u.id) over (partition by b.topic, b.partition, b.tick order by b.base, u.ord) as earlier
                              from log.block b
                             cross join unnest(b.ids, b.counts) with ordinality u(id, count, ord)
                              join log.record_batch r on r.id = u.id) batch)
               from (select *, sum(n) over (partition by topic, partition order by base
                                            rows between unbounded preceding and 1 preceding) as before
                       from log.block) block",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// How many records [`Keep`] handled, and how many different ones.
    pub async fn handled(&self) -> (i64, i64) {
        sqlx::query_as("select count(*), count(distinct value) from effect")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Waits until the group has committed all that was sequenced and all was sequenced.
    pub async fn caught_up(&self, group: &str) {
        eventually("the group to catch up", || async {
            let done: Option<bool> = sqlx::query_scalar(
                "select coalesce(bool_and(lag = 0), false)
                    and (select count(*) from log.record_batch)
                      = (select coalesce(sum(cardinality(ids)), 0) from log.block)
                   from log.group_lag where consumer_group = $1",
            )
            .bind(group)
            .fetch_one(&self.pool)
            .await
            .unwrap();
            done.filter(|done| *done).map(drop)
        })
        .await;
    }
}

/// A statement that must succeed.
pub async fn run(session: &mut PgConnection, statement: impl Into<String>) {
    sqlx::query(AssertSqlSafe(statement.into())).execute(session).await.unwrap();
}

pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Keeps what it sees in a table, so that its effects can be counted.
#[derive(Clone, Default)]
pub struct Keep {
    pub fail_on: Arc<Mutex<Vec<&'static str>>>,
    pub panic_on: Option<&'static str>,
}

pub async fn effects(pool: &PgPool) {
    sqlx::query(
        "create table effect (id bigint generated always as identity, topic text not null,
            partition int not null, record_offset bigint not null, key text, value text not null)",
    )
    .execute(pool)
    .await
    .unwrap();
}

impl Handler for Keep {
    async fn handle(&self, tx: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        for record in records {
            let value = std::str::from_utf8(record.value())?;
            if Some(value) == self.panic_on {
                panic!("cannot stand {value}");
            }
            sqlx::query("insert into effect (topic, partition, record_offset, key, value) values ($1, $2, $3, $4, $5)")
                .bind(record.topic())
                .bind(record.partition())
                .bind(record.offset() as i64)
                .bind(record.key().map(|key| String::from_utf8_lossy(key).into_owned()))
                .bind(value)
                .execute(&mut **tx)
                .await?;
            if self.fail_on.lock().unwrap().contains(&value) {
                return Err(HandlerError::from(std::io::Error::other(format!(
                    "no taste for {value}"
                ))));
            }
        }
        Ok(())
    }
}

pub fn numbered(topic: &str, numbers: std::ops::Range<u32>) -> Vec<NewRecord> {
    numbers.map(|n| NewRecord::new(topic, n.to_string()).key(format!("k{}", n % 17))).collect()
}
