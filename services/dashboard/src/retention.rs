//! What is old is forgotten: by age, and beyond a number of steps the oldest of each partition.
//!
//! It goes in small steps with pauses, so that no transaction is long and nobody waits. A
//! partition's steps go from its first offset on. A mark says how far, or the group, moved back,
//! would count what went again; it is set first, and what lies below it is deleted once whoever
//! may not have seen the mark is done.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::watch;
use tracing::{info, warn};

const EVERY: Duration = Duration::from_secs(60);
/// Rows that one transaction deletes at most.
const STEP: i64 = 1000;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks at whether older transactions have ended.
const LOOK: Duration = Duration::from_millis(50);
/// What counts something stays so much longer than that: where nothing is forgotten, both agree.
const LONGER: TimeDelta = TimeDelta::days(1);
/// An effect whose order is not heard of for so long has none.
const WAITS: TimeDelta = TimeDelta::days(1);

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    pub days: u32,
    /// Steps, of all orders together.
    pub rows: u64,
}

/// A partition's steps: offsets are dense where every record is told.
#[derive(Debug, sqlx::FromRow)]
struct Span {
    topic: String,
    partition: i32,
    first: i64,
    last: i64,
    oldest: DateTime<Utc>,
}

impl Span {
    fn rows(&self) -> i64 {
        self.last - self.first + 1
    }
}

/// Forgets until the service stops.
pub async fn run(pool: PgPool, keep: Keep, mut stopping: watch::Receiver<bool>) {
    loop {
        let passed = tokio::select! {
            passed = pass(&pool, keep) => passed,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match passed {
            Ok(0) => {}
            Ok(rows) => info!(rows, "forgot what is older than is kept"),
            Err(error) => warn!("what is old is forgotten later: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Returns how many rows went.
async fn pass(pool: &PgPool, keep: Keep) -> sqlx::Result<u64> {
    let horizon = Utc::now() - TimeDelta::days(i64::from(keep.days));
    let spans = spans(pool).await?;
    let all: i64 = spans.iter().map(Span::rows).sum();
    let excess = all - i64::try_from(keep.rows).unwrap_or(i64::MAX);
    let mut gone = 0;
    for span in spans {
        // Each its share, and so down to about the same time.
        let share = (excess.max(0) as f64 * span.rows() as f64 / all.max(1) as f64).ceil() as i64;
        if share == 0 && span.oldest >= horizon {
            continue;
        }
        loop {
            let rows = forget(pool, &span, horizon, span.first + share).await?;
            gone += rows;
            if rows < STEP as u64 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    for (table, column, before) in [
        ("answer", "answered_at", horizon),
        ("request", "answered_at", horizon),
        ("group_commit", "last_at", horizon),
        ("attempt", "at", horizon),
        ("minute", "minute", horizon - LONGER),
        ("delay", "minute", horizon - LONGER),
        ("group_minute", "minute", horizon - LONGER),
        ("waiting_effect", "at", Utc::now() - WAITS),
    ] {
        gone += forget_before(pool, table, column, before).await?;
    }
    Ok(gone)
}

/// Partition after partition along the key, without looking at what lies between.
async fn spans(pool: &PgPool) -> sqlx::Result<Vec<Span>> {
    sqlx::query_as(
        "with recursive of as (
            (select topic, partition from dashboard.step order by topic, partition limit 1)
            union all
            select n.topic, n.partition from of
             cross join lateral (
                select s.topic, s.partition from dashboard.step s
                 where (s.topic, s.partition) > (of.topic, of.partition)
                 order by s.topic, s.partition limit 1) n
         )
         select of.topic, of.partition, f.record_offset as first, l.record_offset as last, f.published_at as oldest
           from of
          cross join lateral (
            select s.record_offset, s.published_at from dashboard.step s
             where s.topic = of.topic and s.partition = of.partition order by s.record_offset limit 1) f
          cross join lateral (
            select s.record_offset from dashboard.step s
             where s.topic = of.topic and s.partition = of.partition order by s.record_offset desc limit 1) l",
    )
    .fetch_all(pool)
    .await
}

/// One step.
async fn forget(
    pool: &PgPool,
    span: &Span,
    horizon: DateTime<Utc>,
    below: i64,
) -> sqlx::Result<u64> {
    sqlx::query(
        "with first as (
            select record_offset, published_at from dashboard.step
             where topic = $1 and partition = $2 order by record_offset limit $5
         )
         insert into dashboard.forgotten (topic, partition, below)
         select $1, $2, max(record_offset) + 1 from first
          where published_at < $3 or record_offset < $4 having count(*) > 0
         on conflict (topic, partition) do update set below = greatest(forgotten.below, excluded.below)",
    )
    .bind(&span.topic)
    .bind(span.partition)
    .bind(horizon)
    .bind(below)
    .bind(STEP)
    .execute(pool)
    .await?;
    older_ended(pool).await?;
    let gone = sqlx::query(
        "delete from dashboard.step s using dashboard.forgotten f
          where f.topic = $1 and f.partition = $2
            and s.topic = $1 and s.partition = $2 and s.record_offset < f.below",
    )
    .bind(&span.topic)
    .bind(span.partition)
    .execute(pool)
    .await?;
    // Of records that are told no more.
    sqlx::query(
        "delete from dashboard.group_commit c using dashboard.forgotten f
          where f.topic = $1 and f.partition = $2
            and c.topic = $1 and c.partition = $2 and c.upto <= f.below",
    )
    .bind(&span.topic)
    .bind(span.partition)
    .execute(pool)
    .await?;
    Ok(gone.rows_affected())
}

/// Waits until all transactions of this role have ended that are open now. Handlers are among
/// them; none stays open for longer than `idle_in_transaction_session_timeout`.
async fn older_ended(pool: &PgPool) -> sqlx::Result<()> {
    let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await?;
    loop {
        let open: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity a
                             where a.datname = current_database() and a.usename = session_user
                               and a.pid <> pg_backend_pid() and a.xact_start <= $1)",
        )
        .bind(now)
        .fetch_one(pool)
        .await?;
        if !open {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// All steps of a table whose rows have a time.
async fn forget_before(
    pool: &PgPool,
    table: &'static str,
    column: &'static str,
    before: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let delete = format!(
        "delete from dashboard.{table} where ctid = any (array(
            select ctid from dashboard.{table} where {column} < $1 limit $2))"
    );
    let mut gone = 0;
    loop {
        let delete = sqlx::query(AssertSqlSafe(delete.as_str())).bind(before).bind(STEP);
        let rows = delete.execute(pool).await?.rows_affected();
        gone += rows;
        if rows < STEP as u64 {
            return Ok(gone);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
