//! -9, and SIGSTOP with SIGCONT, on processes.

use std::time::{Duration, Instant};

use anyhow::bail;
use private_postgres::Signal;

use super::{Planned, Seen, Stage};
use crate::actors::Role;
use crate::database::patiently;
use crate::report::Stuck;

/// The advisory lock of the one that sequences, as the broker has it.
const LEASE: i64 = 0x4c4f_4700;

pub(super) async fn kill(stage: &mut Stage, role: Role, planned: &Planned) -> Seen {
    let at = stage.choose(role, planned.pick)?;
    let (name, pid) = (stage.cast.actors[at].name.clone(), stage.cast.actors[at].pid());
    stage.cast.kill(at).await?;
    Ok(format!("{name} (pid {pid}) is gone"))
}

pub(super) async fn kill_sequencer(stage: &mut Stage) -> Seen {
    let at = lease_holder(stage).await?;
    let name = stage.cast.actors[at].name.clone();
    let tick = stage.tick().await?;
    stage.cast.kill(at).await?;
    // One may have been under way.
    stage.ticked(tick, 2).await?;
    Ok(format!("{name}, which sequenced, is gone; another goes on"))
}

pub(super) async fn stop_producer(stage: &mut Stage, planned: &Planned) -> Seen {
    let at = stage.choose(Role::Producer, planned.pick)?;
    stage.cast.signal(at, Signal::Stop).await?;
    let lines = stage.cast.collect(at)?;
    tokio::time::sleep(planned.hold).await;
    let stood_still = stage.cast.collect(at)? == lines;
    stage.cast.signal(at, Signal::Continue).await?;
    let name = stage.cast.actors[at].name.clone();
    if !stood_still {
        bail!("{name} wrote its history while it was stopped");
    }
    goes_on(stage, at).await?;
    Ok(format!("{name} stood still for {} ms and went on", planned.hold.as_millis()))
}

pub(super) async fn stop_sequencer(stage: &mut Stage, planned: &Planned) -> Seen {
    let at = lease_holder(stage).await?;
    let name = stage.cast.actors[at].name.clone();
    stage.cast.signal(at, Signal::Stop).await?;
    let stopped = Instant::now();
    let others = async {
        let tick = stage.tick().await?;
        stage.ticked(tick, 2).await
    };
    let others = others.await;
    tokio::time::sleep(planned.hold.saturating_sub(stopped.elapsed())).await;
    // Whatever happened: nobody is left standing still.
    stage.cast.signal(at, Signal::Continue).await?;
    others?;
    Ok(format!("{name}, which sequenced, stood still; another went on meanwhile"))
}

async fn goes_on(stage: &mut Stage, at: usize) -> anyhow::Result<()> {
    let lines = stage.cast.collect(at)?;
    let until = Instant::now() + Duration::from_secs(40);
    while stage.cast.collect(at)? == lines {
        if Instant::now() > until {
            let name = &stage.cast.actors[at].name;
            bail!(Stuck(format!("{name} did nothing more after SIGCONT")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The process that holds the sequencer's lease.
async fn lease_holder(stage: &Stage) -> anyhow::Result<usize> {
    let until = Instant::now() + Duration::from_secs(15);
    loop {
        let names: Vec<String> = patiently(|| {
            sqlx::query_scalar(
                "select a.application_name from pg_locks l join pg_stat_activity a on a.pid = l.pid
                  where a.datname = current_database() and l.locktype = 'advisory' and l.granted
                    and l.classid = 0 and l.objid::bigint = $1 and l.objsubid = 1",
            )
            .bind(LEASE)
            .fetch_all(&stage.pool)
        })
        .await?;
        let living = |at: &usize| stage.cast.actors[*at].guard.is_some();
        let holder = names.iter().find_map(|name| stage.cast.index(name).filter(living));
        match holder {
            Some(at) => return Ok(at),
            None if Instant::now() > until => bail!("nobody held the sequencer's lease"),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
