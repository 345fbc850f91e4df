//! The server crashes, ends sessions, and is left with an open transaction.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use private_postgres::Signal;
use sqlx::{Connection, PgConnection};

use super::{Planned, Seen, Stage};
use crate::actors::Role;
use crate::database::patiently;

/// Stopped in immediate mode: no session ends in peace, nothing is written. If it can be, while a
/// producer's commit waits for the disk: its WAL is then with the operating system, so recovery
/// finds it committed, and nobody was told.
pub(super) async fn crash(stage: &mut Stage) -> Seen {
    let producers = stage.cast.living(Role::Producer).into_iter();
    let names: Vec<String> = producers.map(|at| stage.cast.actors[at].name.clone()).collect();
    let until = Instant::now() + Duration::from_secs(3);
    let mut committing: i64 = 0;
    while committing == 0 && Instant::now() < until {
        committing = patiently(|| {
            sqlx::query_scalar(
                "select count(*) from pg_stat_activity
                  where datname = current_database() and application_name = any ($1)
                    and wait_event in ('WALSync', 'WalSync')",
            )
            .bind(&names)
            .fetch_one(&stage.pool)
        })
        .await?;
    }
    let old = stage.server.pid();
    stage.server.signal(Signal::Quit)?;
    tokio::time::timeout(Duration::from_secs(30), stage.server.wait())
        .await
        .context("Postgres did not stop in immediate mode")??;
    stage.server.restart().await?;
    let new = stage.server.pid();
    if new == old {
        bail!("the postmaster is the same process as before");
    }
    Ok(format!("the postmaster was {old} and is {new}; producers committing: {committing}"))
}

/// Up to three sessions, at work or not.
pub(super) async fn terminate(stage: &mut Stage, planned: &Planned) -> Seen {
    let names = stage.cast.names();
    let (count, skip) = (1 + planned.pick % 3, planned.pick);
    let ended: Vec<Option<String>> = patiently(|| {
        sqlx::query_scalar(
            "with session as (
                select pid, application_name, count(*) over () as count,
                       row_number() over (order by xact_start is null, application_name, pid) as n
                  from pg_stat_activity
                 where datname = current_database() and application_name = any ($1))
             select case when pg_terminate_backend(pid) then application_name end from (
                select * from session where n > $2 % count order by n limit $3) victim",
        )
        .bind(&names)
        .bind(skip as i64)
        .bind(count as i64)
        .fetch_all(&stage.pool)
    })
    .await?;
    let ended: Vec<String> = ended.into_iter().flatten().collect();
    if ended.is_empty() {
        bail!("there was no session to end");
    }
    Ok(format!("{} ended: {}", ended.len(), ended.join(", ")))
}

/// A session that the server shows in its COMMIT, or flushing what a statement that commits by
/// itself wrote. It may be through by the time the signal arrives: that, too, is a case.
pub(super) async fn terminate_commit(stage: &mut Stage) -> Seen {
    let names = stage.cast.names();
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let ended: Option<(String, String, String)> = patiently(|| {
            sqlx::query_as(
                "select application_name, wait, left(query, 40) from (
                    select pid, application_name, coalesce(wait_event, 'none') as wait, query
                      from pg_stat_activity
                     where datname = current_database() and application_name = any ($1)
                       and state = 'active'
                       and (query ilike 'commit%' or wait_event in ('WALSync', 'WalSync', 'WALWrite'))
                     order by wait_event is distinct from 'WALSync'
                     limit 1) committing
                  where pg_terminate_backend(pid)",
            )
            .bind(&names)
            .fetch_optional(&stage.pool)
        })
        .await?;
        if let Some((name, wait, query)) = ended {
            let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
            return Ok(format!("a session of {name} in {query:?}, wait event {wait}"));
        }
    }
    bail!("no session was seen in its COMMIT for 20 seconds")
}

/// Opens a transaction with an xid and leaves it; how it went is told when it ends.
pub(super) async fn hold_transaction(stage: &mut Stage, planned: &Planned) -> Seen {
    let mut holder = patiently(|| PgConnection::connect(&stage.url)).await?;
    sqlx::raw_sql("begin").execute(&mut holder).await?;
    let xid: String =
        sqlx::query_scalar("select pg_current_xact_id()::text").fetch_one(&mut holder).await?;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut holder).await?;
    let idle: bool = patiently(|| {
        sqlx::query_scalar(
            "select exists (select from pg_stat_activity
              where pid = $1 and state = 'idle in transaction' and backend_xid::text = $2)",
        )
        .bind(pid)
        .bind(&xid)
        .fetch_one(&stage.pool)
    })
    .await?;
    if !idle {
        bail!("the server does not show the open transaction");
    }
    // The log goes on behind it, or this fault shows what must not be.
    let tick = stage.tick().await?;
    stage.ticked(tick, 2).await?;
    let hold = planned.hold * 3;
    stage.held.push(tokio::spawn(async move {
        tokio::time::sleep(hold).await;
        // A crash of the server ends it sooner.
        let ended = sqlx::raw_sql("rollback").execute(&mut holder).await;
        Ok(match ended {
            Ok(_) => format!("transaction {xid} was open for {} ms", hold.as_millis()),
            Err(error) => format!("transaction {xid} was cut short: {error}"),
        })
    }));
    Ok(format!("open for {} ms from now on; the log was sequenced behind it", hold.as_millis()))
}
