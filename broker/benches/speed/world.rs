//! A private Postgres, fresh databases with the log and a bare table in them, and records.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use broker::{Broker, NewRecord, Options};
use private_postgres::{Binaries, Server, reachable_data_dir};
use rand::Rng;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use crate::bare;

pub const PARTITIONS: i32 = 8;
const VALUE_BYTES: usize = 387;

pub struct World {
    pub server: Server,
    pub full: bool,
    pub rounds: usize,
    /// Realistic values, enough of them that a batch has none twice.
    values: Vec<Vec<u8>>,
    databases: AtomicU32,
    folder: PathBuf,
}

/// A database with the log, the topic `t` and the bare table.
pub struct Log {
    pub url: String,
    pub pool: PgPool,
}

impl World {
    pub async fn start(full: bool, rounds: Option<usize>) -> World {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("speed");
        let folder = reachable_data_dir(&folder.join("data")).unwrap();
        // What an earlier run left.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let mut options = private_postgres::Options::new(&folder);
        for (name, value) in [
            // A checkpoint in the middle of one side's round would be that side's loss.
            ("max_wal_size", "8GB"),
            ("checkpoint_timeout", "1h"),
            ("max_connections", "300"),
        ] {
            options.settings.push((name.into(), value.into()));
        }
        let binaries = Binaries::find_or_fetch(|_| ()).await.unwrap();
        println!("Postgres {}, fsync on", binaries.release);
        let server = Server::start(&binaries, options).await.unwrap();
        let rounds = rounds.unwrap_or(if full { 11 } else { 7 }) | 1;
        let values = (0..4096).map(|_| value()).collect();
        World { server, full, rounds, values, databases: AtomicU32::new(0), folder }
    }

    pub async fn stop(self) {
        self.server.stop().await.unwrap();
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// How long one side's round takes.
    pub fn round(&self) -> Duration {
        Duration::from_millis(self.pick(250, 2_000))
    }

    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.full { full } else { quick }
    }

    pub async fn log(&self) -> Log {
        let name = format!("speed_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut session = PgConnection::connect(&self.server.url("postgres")).await.unwrap();
        run(&mut session, &format!("create database {name}")).await;
        run(&mut session, "checkpoint").await;
        session.close().await.unwrap();
        let url = self.server.url(&name);
        let pool = PgPoolOptions::new().max_connections(80).connect(&url).await.unwrap();
        broker::migrate(&pool).await.unwrap();
        sqlx::query("select log.create_topic('t', $1)")
            .bind(PARTITIONS)
            .execute(&pool)
            .await
            .unwrap();
        bare::create(&pool).await;
        Log { url, pool }
    }

    pub fn value(&self, i: usize) -> &[u8] {
        &self.values[i % self.values.len()]
    }

    pub fn record(&self, i: usize) -> NewRecord {
        NewRecord::new("t", self.value(i).to_vec())
    }

    pub fn keyed(&self, topic: &str, i: usize) -> NewRecord {
        NewRecord::new(topic, self.value(i).to_vec()).key(format!("order-{i}"))
    }
}

impl Log {
    pub async fn broker(&self) -> Broker {
        Options::new(&self.url).connect().await.unwrap()
    }

    pub async fn session(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Publishes a backlog in batches of 1,000, the partitions in turn.
    pub async fn backlog(&self, world: &World, broker: &Broker, records: usize) {
        for first in (0..records).step_by(1000) {
            broker.publish((first..first + 1000).map(|i| world.record(i))).await.unwrap();
        }
        self.sequenced().await;
    }

    /// Waits until everything that was committed has its offset.
    pub async fn sequenced(&self) {
        let sql = "select (select count(*) from log.record_batch)
                        = (select coalesce(sum(cardinality(ids)), 0) from log.block)";
        while !sqlx::query_scalar::<_, bool>(sql).fetch_one(&self.pool).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn close(self, world: &World) {
        self.pool.close().await;
        let mut session = PgConnection::connect(&world.server.url("postgres")).await.unwrap();
        let name = self.url.rsplit('/').next().unwrap().to_owned();
        run(&mut session, &format!("drop database {name} with (force)")).await;
    }
}

pub async fn run(session: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(session).await.unwrap();
}

/// An event of an order. A third of it is ids, in which no compression finds anything.
fn value() -> Vec<u8> {
    let mut rng = rand::rng();
    let ids: [u128; 4] = rng.random();
    let [event, order, customer, trace] = ids.map(|id| format!("{id:032x}"));
    let mut below = |limit: u32| rng.random_range(0..limit);
    let mut json = format!(
        r#"{{"type":"OrderPlaced","event_id":"{event}","order_id":"{order}","customer_id":"{customer}","trace_id":"{trace}","placed_at":"2026-03-{:02}T{:02}:{:02}:{:02}.{:06}Z","currency":"EUR","lines":[{{"sku":"SKU-{:05}","quantity":{},"unit_price":{},"tax_rate":1900}}],"total":{},"note":""#,
        1 + below(31),
        below(24),
        below(60),
        below(60),
        below(1_000_000),
        below(100_000),
        1 + below(9),
        below(100_000),
        below(1_000_000),
    );
    while json.len() < VALUE_BYTES - 2 {
        json.push(char::from(b'a' + below(26) as u8));
    }
    json.push_str("\"}");
    assert_eq!(json.len(), VALUE_BYTES, "{json}");
    json.into_bytes()
}
