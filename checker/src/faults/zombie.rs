//! A member that stands still in the middle of a batch, loses its partitions, and comes back.

use std::time::{Duration, Instant};

use anyhow::bail;
use private_postgres::Signal;
use sqlx::AssertSqlSafe;

use super::{Planned, Seen, Stage};
use crate::actors::Role;
use crate::database::patiently;
use crate::report::Stuck;

/// A session's time-out is 3 seconds, a heartbeat one, and a claim takes its turn.
const TAKE_OVER: Duration = Duration::from_secs(30);

pub(super) async fn stop_member(stage: &mut Stage, planned: &Planned) -> Seen {
    let at = stage.choose(Role::Member, planned.pick)?;
    let (member, xids) = stop_at_work(stage, at).await?;
    let taken_over = until_taken_over(stage, member, planned.hold).await;
    // What it has in hand: all that was open before and is so still, right before it goes on.
    let open = open_batches(stage, &stage.cast.actors[at].name).await;
    stage.cast.signal(at, Signal::Continue).await?;
    taken_over?;
    stage.cast.collect(at)?;
    // One that fails by itself shows no fence.
    let failing = &stage.cast.collector.failing;
    let to_fence = |xid: &String| xids.contains(xid) && !failing.contains(xid);
    let xids: Vec<String> = open?.0.into_iter().filter(to_fence).collect();

    let name = &stage.cast.actors[at].name;
    let (mut fenced, mut committed) = (0, 0);
    for xid in &xids {
        match fate(stage, xid).await?.as_str() {
            "aborted" => fenced += 1,
            _ => committed += 1,
        }
    }
    // What it committed after that, the analysis shows as handled twice.
    if committed > 0 {
        return Ok(format!("{name} was NOT fenced: it committed {committed} batches"));
    }
    if fenced == 0 {
        bail!("{name} lost its open batches before it went on: nothing was left to fence");
    }
    Ok(format!("{name} stood still, lost its partitions and went on; batches fenced: {fenced}"))
}

/// Stops it with a batch handled and not committed; returns its member id and the batches' xids.
async fn stop_at_work(stage: &Stage, at: usize) -> anyhow::Result<(i32, Vec<String>)> {
    let name = &stage.cast.actors[at].name;
    let until = Instant::now() + Duration::from_secs(30);
    while Instant::now() < until {
        let member = member_id(stage, name).await?;
        let (xids, _) = open_batches(stage, name).await?;
        let (Some(member), false) = (member, xids.is_empty()) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        stage.cast.signal(at, Signal::Stop).await?;
        // What it had sent is done by then.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (xids, in_the_way) = open_batches(stage, name).await?;
        let same = member_id(stage, name).await? == Some(member);
        // Stopped between its progress and its COMMIT, it keeps others out of its partition
        // until the server ends its transaction, after a minute: nothing to be fenced.
        if same && !xids.is_empty() && !in_the_way {
            return Ok((member, xids));
        }
        stage.cast.signal(at, Signal::Continue).await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("{name} was never caught with a batch in hand")
}

async fn member_id(stage: &Stage, name: &str) -> anyhow::Result<Option<i32>> {
    patiently(|| {
        sqlx::query_scalar(
            "select m.member from log.members((select array_agg(id) from log.subscription)) m
               join pg_stat_activity a on a.pid = m.pid
              where a.application_name = $1
                and exists (select from log.group_lag g where g.member = m.member)",
        )
        .bind(name)
        .fetch_optional(&stage.pool)
    })
    .await
}

/// The transactions in which this process has handled a batch, and whether one of its
/// transactions has written the group's progress.
async fn open_batches(stage: &Stage, name: &str) -> anyhow::Result<(Vec<String>, bool)> {
    let open: Vec<(String, bool)> = patiently(|| {
        sqlx::query_as(
            "select backend_xid::text, query not like 'with effects as (insert into effect %'
               from pg_stat_activity
              where application_name = $1 and state = 'idle in transaction' and backend_xid is not null",
        )
        .bind(name)
        .fetch_all(&stage.pool)
    })
    .await?;
    let in_the_way = open.iter().any(|(_, other)| *other);
    let batches = open.into_iter().filter(|(_, other)| !other).map(|(xid, _)| xid).collect();
    Ok((batches, in_the_way))
}

async fn until_taken_over(stage: &Stage, member: i32, hold: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let left: i64 = patiently(|| {
            sqlx::query_scalar("select count(*) from log.group_lag where member = $1")
                .bind(member)
                .fetch_one(&stage.pool)
        })
        .await?;
        match left {
            0 if began.elapsed() >= hold => return Ok(()),
            1.. if began.elapsed() > TAKE_OVER => {
                bail!(Stuck(format!(
                    "{left} partitions of a member that hung for 30 s were not taken over"
                )))
            }
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// How a transaction ended.
async fn fate(stage: &Stage, xid: &str) -> anyhow::Result<String> {
    let until = Instant::now() + Duration::from_secs(90);
    loop {
        // A cluster this young has no second epoch of xids.
        let ask = format!("select pg_xact_status('{xid}'::xid8)");
        let status: String =
            patiently(|| sqlx::query_scalar(AssertSqlSafe(ask.clone())).fetch_one(&stage.pool))
                .await?;
        if status != "in progress" {
            return Ok(status);
        }
        if Instant::now() > until {
            bail!(Stuck(format!("transaction {xid} of a member that went on does not end")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
