//! The rows of schema `dashboard`, for its pages.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

/// What one page shows of a timeline.
const MAX_STEPS: i64 = 200;
/// How many orders the times to effects are measured from, the newest.
const MEASURED_ORDERS: i64 = 5000;

/// One thing that was said of an order.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Step {
    pub topic: String,
    pub partition: i32,
    pub record_offset: i64,
    pub kind: String,
    pub at: DateTime<Utc>,
    pub details: Value,
}

/// An order's timeline, oldest first.
pub async fn steps(pool: &PgPool, subject_id: Uuid) -> sqlx::Result<Vec<Step>> {
    sqlx::query_as(
        "select topic, partition, record_offset, kind, at, details from dashboard.step
          where subject_id = $1 order by published_at, at, topic, record_offset limit $2",
    )
    .bind(subject_id)
    .bind(MAX_STEPS)
    .fetch_all(pool)
    .await
}

/// The answer to an order that was placed from the page.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Answer {
    pub status: i32,
    pub micros: i64,
    pub answered_at: DateTime<Utc>,
}

pub async fn answer(pool: &PgPool, order_id: Uuid) -> sqlx::Result<Option<Answer>> {
    sqlx::query_as("select status, micros, answered_at from dashboard.answer where order_id = $1")
        .bind(order_id)
        .fetch_optional(pool)
        .await
}

/// Keeps the first answer: a repeated request gets it again, faster.
pub async fn keep_answer(
    pool: &PgPool,
    order_id: Uuid,
    status: u16,
    micros: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into dashboard.answer (order_id, status, micros) values ($1, $2, $3) on conflict do nothing",
    )
    .bind(order_id)
    .bind(i32::from(status))
    .bind(micros)
    .execute(pool)
    .await?;
    Ok(())
}

/// Orders of one minute.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Minute {
    pub minute: DateTime<Utc>,
    pub currency: String,
    pub n: i64,
    pub amount: i64,
}

/// The last minutes that had orders, oldest first.
pub async fn minutes(pool: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Vec<Minute>> {
    sqlx::query_as(
        "select minute, currency, sum(n)::bigint as n, sum(amount)::bigint as amount
           from dashboard.minute where kind = 'OrderPlaced' and minute >= $1
          group by minute, currency order by minute, currency limit 1000",
    )
    .bind(since)
    .fetch_all(pool)
    .await
}

/// How long after an order was placed something happened.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Delay {
    pub kind: String,
    pub n: i64,
    /// In milliseconds.
    pub p50: f64,
    pub p99: f64,
}

/// The times to each effect, of the newest orders since then.
pub async fn delays(pool: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Vec<Delay>> {
    sqlx::query_as(
        "with placed as (
            select subject_id, at from dashboard.step
             where kind = 'OrderPlaced' and at >= $1 order by at desc limit $2)
         select s.kind || coalesce(' ' || (s.details->>'kind'), '') as kind, count(*) as n,
                percentile_cont(0.5) within group (order by extract(epoch from s.at - o.at)::float8 * 1000) as p50,
                percentile_cont(0.99) within group (order by extract(epoch from s.at - o.at)::float8 * 1000) as p99
           from placed o join dashboard.step s using (subject_id)
          where s.kind <> 'OrderPlaced'
          group by 1 order by p50",
    )
    .bind(since)
    .bind(MEASURED_ORDERS)
    .fetch_all(pool)
    .await
}

/// The newest orders: id, when, currency and amount.
pub async fn newest_orders(
    pool: &PgPool,
) -> sqlx::Result<Vec<(Uuid, DateTime<Utc>, Option<String>, Option<i64>)>> {
    sqlx::query_as(
        "select subject_id, at, details->>'currency', (details->>'gross')::bigint from dashboard.step
          where kind = 'OrderPlaced' order by at desc limit 10",
    )
    .fetch_all(pool)
    .await
}
