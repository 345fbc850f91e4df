//! Faults: planned from a seed, done, and each seen to have happened.

mod plan;
mod process;
mod server;
mod zombie;

use std::time::Duration;

use anyhow::Context;
use private_postgres::Server;
use sqlx::PgPool;
use tokio::task::JoinHandle;

pub use plan::{Fault, Planned, plan};

use crate::actors::Role;
use crate::cast::Cast;
use crate::database::patiently;
use crate::report::Stuck;

/// All that faults are done to.
pub(crate) struct Stage {
    pub server: Server,
    pub url: String,
    pub pool: PgPool,
    pub cast: Cast,
    /// Idle transactions that are still open.
    pub held: Vec<JoinHandle<anyhow::Result<String>>>,
}

/// What a fault was seen to do; an error says why it did not happen.
type Seen = anyhow::Result<String>;

impl Stage {
    /// Does one fault.
    pub async fn inflict(&mut self, planned: &Planned) -> Seen {
        match planned.fault {
            Fault::KillProducer => process::kill(self, Role::Producer, planned).await,
            Fault::KillMember => process::kill(self, Role::Member, planned).await,
            Fault::KillSequencer => process::kill_sequencer(self).await,
            Fault::StopProducer => process::stop_producer(self, planned).await,
            Fault::StopMember => zombie::stop_member(self, planned).await,
            Fault::StopSequencer => process::stop_sequencer(self, planned).await,
            Fault::CrashPostgres => server::crash(self).await,
            Fault::TerminateBackends => server::terminate(self, planned).await,
            Fault::TerminateCommit => server::terminate_commit(self).await,
            Fault::IdleTransaction => server::hold_transaction(self, planned).await,
        }
    }

    /// Lets time pass: histories are read, the dead are started again.
    pub async fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + time;
        loop {
            self.cast.collect_all()?;
            self.cast.revive()?;
            if tokio::time::Instant::now() >= until {
                return Ok(());
            }
            let step = tokio::time::Instant::now() + Duration::from_millis(200);
            tokio::time::sleep_until(step.min(until)).await;
        }
    }

    /// One of the living of a role.
    fn choose(&self, role: Role, pick: usize) -> anyhow::Result<usize> {
        let living = self.cast.living(role);
        let at = pick.checked_rem(living.len()).context("nobody of that role lives")?;
        Ok(living[at])
    }

    /// The newest tick.
    async fn tick(&self) -> anyhow::Result<i64> {
        patiently(|| sqlx::query_scalar("select max(n) from log.tick").fetch_one(&self.pool)).await
    }

    /// Waits until so many ticks were appended after `tick`.
    async fn ticked(&self, tick: i64, more: i64) -> anyhow::Result<()> {
        let sequenced = async {
            while self.tick().await? < tick + more {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(20), sequenced)
            .await
            .map_err(|_| Stuck("nobody sequenced the log for 20 seconds".to_owned()))?
    }
}
