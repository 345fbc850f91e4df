//! The rows of schema `dashboard`, for its pages.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

/// What one page shows of a timeline.
const MAX_STEPS: i64 = 200;
/// And of the attempts at one record.
const MAX_ATTEMPTS: i64 = 20;

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

/// A group's attempt at a record that failed.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Attempt {
    pub topic: String,
    pub partition: i32,
    pub record_offset: i64,
    pub consumer_group: String,
    pub at: DateTime<Utc>,
    pub told: String,
}

/// Those at an order's records, oldest first.
pub async fn attempts(pool: &PgPool, subject_id: Uuid) -> sqlx::Result<Vec<Attempt>> {
    sqlx::query_as(
        "select a.topic, a.partition, a.record_offset, a.consumer_group, a.at, a.told
           from (select topic, partition, record_offset from dashboard.step where subject_id = $1 limit $2) s
          cross join lateral (
            select * from dashboard.attempt a
             where a.topic = s.topic and a.partition = s.partition and a.record_offset = s.record_offset
             order by a.at limit $3) a
          order by a.at",
    )
    .bind(subject_id)
    .bind(MAX_STEPS)
    .bind(MAX_ATTEMPTS)
    .fetch_all(pool)
    .await
}

/// The answer to an order that was placed from the page, as this service saw it.
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

/// A request for an order, as the order service says it answered it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Request {
    pub answered_at: DateTime<Utc>,
    pub status: i32,
    pub micros: i64,
    pub replayed: bool,
}

/// Those for one order, oldest first.
pub async fn requests(pool: &PgPool, order_id: Uuid) -> sqlx::Result<Vec<Request>> {
    sqlx::query_as(
        "select answered_at, status, micros, replayed from dashboard.request
          where order_id = $1 order by answered_at limit $2",
    )
    .bind(order_id)
    .bind(MAX_STEPS)
    .fetch_all(pool)
    .await
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

/// How many of an effect came so long after their order, in one minute.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Bucket {
    pub effect: String,
    pub minute: DateTime<Utc>,
    pub ms: f64,
    pub n: i64,
}

/// The times from orders to effects that came since then, by effect; see
/// `migrations/dashboard/0003_delay.sql`.
pub async fn delays(pool: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Vec<Bucket>> {
    sqlx::query_as(
        "select effect, minute, dashboard.bucket_ms(bucket) as ms, sum(n)::bigint as n
           from dashboard.delay where minute >= $1
          group by effect, minute, bucket order by effect",
    )
    .bind(since)
    .fetch_all(pool)
    .await
}

/// How far a group was at the end of a minute.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct GroupMinute {
    pub consumer_group: String,
    pub minute: DateTime<Utc>,
    pub committed: i64,
}

/// Since then, by group.
pub async fn group_minutes(pool: &PgPool, since: DateTime<Utc>) -> sqlx::Result<Vec<GroupMinute>> {
    sqlx::query_as(
        "select consumer_group, minute, committed from dashboard.group_minute
          where minute >= $1 order by consumer_group, minute limit 5000",
    )
    .bind(since)
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
