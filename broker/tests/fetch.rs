//! `log.fetch_raw` tells of the same batches as `log.fetch`, however they lie.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{log, run, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

const PARTITIONS: i32 = 3;

/// By partition and base: the batch's lengths and body.
type Batches = BTreeMap<(i32, i64), (Vec<u8>, Vec<u8>)>;

struct Wish {
    froms: Vec<i64>,
    max_records: i32,
    max_bytes: i64,
}

async fn ask(session: &mut PgConnection, function: &str, wish: &Wish) -> Vec<PgRow> {
    let sql = format!(
        "select partition, base, lens, body
           from {function}(array_fill(1, array[{PARTITIONS}]), array[0, 1, 2], $1, $2, $3)"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&wish.froms)
        .bind(wish.max_records)
        .bind(wish.max_bytes)
        .fetch_all(session)
        .await
        .unwrap()
}

/// Counts along, as the contract says.
fn counted(rows: &[PgRow]) -> Batches {
    let mut next = BTreeMap::new();
    let mut batches = Batches::new();
    for row in rows {
        let partition: i32 = row.get(0);
        if let Some(base) = row.get::<Option<i64>, _>(1) {
            next.insert(partition, base);
        }
        let Some(lens) = row.get::<Option<Vec<u8>>, _>(2) else { continue };
        let base = next.get_mut(&partition).expect("where the partition's rows start");
        let count = lens.len() as i64 / 4;
        assert!(batches.insert((partition, *base), (lens, row.get(3))).is_none());
        *base += count;
    }
    batches
}

/// Transactions of two sessions that end in any order, ticks in between, and now and then the next
/// segment.
async fn fill(sessions: &mut [PgConnection; 2], rng: &mut StdRng) {
    let mut open = [false; 2];
    let mut segment = 0;
    for i in 0..400 {
        let at = rng.random_range(0..2);
        let session = &mut sessions[at];
        match rng.random_range(0..12) {
            0..6 => {
                if !std::mem::replace(&mut open[at], true) {
                    run(session, "begin").await;
                }
                let (count, partition) = (rng.random_range(1..4), rng.random_range(0..PARTITIONS));
                let body = format!("{i:04}").repeat(count);
                let insert = sqlx::query(
                    "insert into log.record_batch (topic, partition, lens, body)
                     values (1, $1, decode(repeat('00000004', $2), 'hex'), $3)",
                );
                let insert = insert.bind(partition).bind(count as i32).bind(body.into_bytes());
                insert.execute(session).await.unwrap();
            }
            6..9 if open[at] => {
                run(session, "commit").await;
                open[at] = false;
            }
            9..11 if !open[at] => run(session, "select log.tick(false)").await,
            11 if rng.random_range(0..20) == 0 => {
                segment += 1;
                run(
                    session,
                    format!("select setval('log.record_batch_id', {segment}::bigint << 40)"),
                )
                .await;
            }
            _ => {}
        }
    }
    for (session, open) in sessions.iter_mut().zip(open) {
        if open {
            run(session, "commit").await;
        }
    }
    run(&mut sessions[0], "select log.tick(false)").await;
}

#[tokio::test]
async fn both_fetches_agree() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut counted_along = 0;
    for _ in 0..8 {
        let log = log().await;
        let mut sessions = [log.session().await, log.session().await];
        run(&mut sessions[0], format!("select log.create_topic('t', {PARTITIONS})")).await;
        fill(&mut sessions, &mut rng).await;
        let session = &mut sessions[0];
        let everything = Wish { froms: vec![0; 3], max_records: 100_000, max_bytes: 1 << 30 };
        let all = counted(&ask(session, "log.fetch", &everything).await);
        let ends =
            "select array_agg(log.partition_end(1, p) order by p) from generate_series(0, 2) p";
        let ends: Vec<i64> = sqlx::query_scalar(ends).fetch_one(&mut *session).await.unwrap();
        for _ in 0..60 {
            let froms = ends.iter().map(|end| rng.random_range(0..=*end)).collect();
            let max_records = [1, 5, 40, 1000][rng.random_range(0..4)];
            let max_bytes = [1, 100, 1 << 20][rng.random_range(0..3)];
            let wish = Wish { froms, max_records, max_bytes };
            let asked = counted(&ask(session, "log.fetch", &wish).await);
            let rows = ask(session, "log.fetch_raw", &wish).await;
            counted_along +=
                rows.iter().filter(|row| row.get::<Option<i64>, _>(1).is_none()).count();
            let raw = counted(&rows);
            for (place, batch) in &asked {
                assert_eq!(raw.get(place), Some(batch), "at {place:?}");
            }
            for (place, batch) in &raw {
                assert_eq!(all.get(place), Some(batch), "at {place:?}");
            }
        }
    }
    assert!(counted_along > 0, "never the quick way");
}

#[tokio::test]
async fn a_batch_that_somebody_deleted_is_an_error_and_no_gap() {
    let log = log().await;
    let mut session = log.session().await;
    run(&mut session, format!("select log.create_topic('t', {PARTITIONS})")).await;
    for value in ["a", "b", "c"] {
        run(&mut session, format!("select log.publish('t', '{value}', part => 1)")).await;
    }
    run(&mut session, "select log.tick(false)").await;
    run(&mut session, "delete from log.record_batch where substring(body from 5) = 'b'").await;
    let fetch = "select * from log.fetch_raw('{1}', '{1}', '{0}', 10, 1000)";
    let error = sqlx::query(fetch).fetch_all(&mut session).await.unwrap_err();
    let error = error.into_database_error().unwrap();
    assert_eq!(error.code().as_deref(), Some("LG500"), "{error}");
    assert!(error.message().contains("1 of 3 batches are missing"), "{error}");

    run(&mut session, "truncate log.record_batch").await;
    let rows = sqlx::query(fetch).fetch_all(&mut session).await.unwrap();
    assert!(rows.iter().all(|row| row.get::<Option<Vec<u8>>, _>("lens").is_none()));
}
