//! Effects that were heard of before their order: counted once that was read, too.
//!
//! Two partitions are read side by side, and neither transaction sees what the other has not
//! committed. So an effect without an order waits in a table, and what is taken out there is
//! counted in the same transaction.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::watch;
use tracing::warn;

const EVERY: Duration = Duration::from_secs(1);
/// What one step looks at.
const STEP: i64 = 2000;

/// A step's end: where the next one begins.
type Place = (String, i32, i64);

#[derive(sqlx::FromRow)]
struct Settled {
    looked: i64,
    counted: i64,
    topic: Option<String>,
    partition: Option<i32>,
    record_offset: Option<i64>,
}

/// Counts what it can until the service stops. Those that go on waiting are looked at in turn, a
/// step a second: many that wait in vain cost no more than few.
pub async fn run(pool: PgPool, mut stopping: watch::Receiver<bool>) {
    let mut after = Place::default();
    loop {
        let mut pause = EVERY;
        match settle(&pool, &after).await {
            Ok(Settled { looked, counted, topic, partition, record_offset }) => {
                after = match (looked == STEP, topic, partition, record_offset) {
                    (true, Some(topic), Some(partition), Some(offset)) => {
                        (topic, partition, offset)
                    }
                    _ => Place::default(),
                };
                if looked == STEP && counted > 0 {
                    pause = Duration::ZERO;
                }
            }
            Err(error) => warn!("times from orders to effects are counted late: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn settle(pool: &PgPool, (topic, partition, offset): &Place) -> sqlx::Result<Settled> {
    sqlx::query_as(
        "with looked as (
            select * from dashboard.waiting_effect
             where (topic, partition, record_offset) > ($1, $2, $3)
             order by topic, partition, record_offset limit $4
               for update skip locked
         ), known as (
            select l.*, o.at as ordered from looked l
             cross join lateral (
                select s.at from dashboard.step s
                 where s.subject_id = l.subject_id and s.kind = 'OrderPlaced' order by s.at limit 1) o
         ), taken as (
            delete from dashboard.waiting_effect w using known k
             where (w.topic, w.partition, w.record_offset) = (k.topic, k.partition, k.record_offset)
            returning k.effect, k.at, k.ordered
         ), timed as (
            insert into dashboard.delay (minute, effect, partition, bucket, n)
            select date_trunc('minute', at), effect, -1, dashboard.delay_bucket(ordered, at), count(*)
              from taken group by 1, 2, 4
             -- In one order, so that two dashboards cannot wait for each other.
             order by 1, 2, 4
            on conflict (minute, effect, partition, bucket) do update set n = delay.n + excluded.n
         )
         select (select count(*) from looked) as looked, (select count(*) from taken) as counted,
                l.topic, l.partition, l.record_offset
           from (select 1) one
           left join (select * from looked order by topic desc, partition desc, record_offset desc limit 1) l on true",
    )
    .bind(topic)
    .bind(partition)
    .bind(offset)
    .bind(STEP)
    .fetch_one(pool)
    .await
}
