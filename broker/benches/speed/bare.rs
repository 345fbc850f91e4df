//! The other side: the same records in a table with nothing around it.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgListener, PgPool};
use sqlx::{Connection, PgConnection};

use crate::world::Log;

pub async fn create(pool: &PgPool) {
    let sql = "create table bare (
            id bigint generated always as identity primary key,
            at timestamptz not null default clock_timestamp(),
            value bytea not null);
        create table position (reader int primary key, at bigint not null)";
    sqlx::raw_sql(sql).execute(pool).await.unwrap();
}

pub async fn insert(session: &mut PgConnection, value: &[u8]) {
    let insert = sqlx::query("insert into bare (value) values ($1)").bind(value);
    insert.execute(session).await.unwrap();
}

/// Rows in COPY's binary form.
pub fn copy_data<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for value in values {
        data.extend_from_slice(&1u16.to_be_bytes());
        data.extend_from_slice(&(value.len() as u32).to_be_bytes());
        data.extend_from_slice(value);
    }
    data.extend_from_slice(&u16::MAX.to_be_bytes());
    data
}

pub async fn copy(session: &mut PgConnection, data: Vec<u8>) {
    let copy = "copy bare (value) from stdin with (format binary)";
    let mut copy = session.copy_in_raw(copy).await.unwrap();
    copy.send(data).await.unwrap();
    copy.finish().await.unwrap();
}

/// Pages through the table and keeps the position with each page; how long that took.
pub async fn read_all(log: &Log, reader: i32, page: i64, rows: usize) -> Duration {
    let mut session = log.session().await;
    let start = "insert into position values ($1, 0) on conflict (reader) do update set at = 0";
    sqlx::query(start).bind(reader).execute(&mut session).await.unwrap();
    let begun = Instant::now();
    let (mut seen, mut at) = (0, 0i64);
    while seen < rows {
        let mut tx = session.begin().await.unwrap();
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select id, value from bare where id > $1 order by id limit $2")
                .bind(at)
                .bind(page)
                .fetch_all(&mut *tx)
                .await
                .unwrap();
        at = rows.last().expect("a row").0;
        sqlx::query("update position set at = $1 where reader = $2")
            .bind(at)
            .bind(reader)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        seen += std::hint::black_box(rows).len();
    }
    begun.elapsed()
}

/// A session that hears of rows and reads them.
pub struct Hop {
    writer: PgConnection,
    listener: PgListener,
    reader: PgConnection,
}

impl Hop {
    pub async fn new(log: &Log) -> Hop {
        let mut listener = PgListener::connect(&log.url).await.unwrap();
        listener.listen("bare").await.unwrap();
        Hop { writer: log.session().await, listener, reader: log.session().await }
    }

    /// From the INSERT to the row in the reader's hands.
    pub async fn once(&mut self, value: &[u8]) -> Duration {
        let Hop { writer, listener, reader } = self;
        let value = value.to_vec();
        let begun = Instant::now();
        let write = async {
            sqlx::query(
                "with made as (insert into bare (value) values ($1) returning id)
                 select pg_notify('bare', id::text) from made",
            )
            .bind(value)
            .execute(writer)
            .await
            .unwrap();
        };
        let read = async {
            let id: i64 = listener.recv().await.unwrap().payload().parse().unwrap();
            let select = sqlx::query_as("select id, value from bare where id = $1").bind(id);
            let _row: (i64, Vec<u8>) = select.fetch_one(reader).await.unwrap();
            begun.elapsed()
        };
        tokio::join!(write, read).1
    }
}
