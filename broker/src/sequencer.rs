//! Gives offsets to what was committed: one process ticks for the whole log.
//!
//! Correctness is in `log.tick`, whose key lets only one of several racing sequencers
//! append a tick. Who ticks is only a matter of work saved: the holder of an advisory lock,
//! and whoever finds records that the holder left lying for a second.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use crate::error::is_foreign_tick;
use crate::notices::Notices;
use crate::ticks::{Done, GAP, Ticks};
use crate::{Error, Stop};

const SAFETY_POLL: Duration = Duration::from_secs(1);
/// 'LOG' in ASCII and a zero byte: the advisory lock of the one that ticks.
const LEASE: i64 = 0x4c4f_4700;

/// Ticks or stands by until asked to stop.
pub(crate) async fn run(
    options: PgConnectOptions,
    notices: Arc<Notices>,
    ticks: Arc<Ticks>,
    mut stop: Stop,
) -> Result<(), Error> {
    // Nothing that it says has to outlive a crash.
    let mut conn = options.options([("synchronous_commit", "off")]).connect().await?;
    let (pid, at_home): (i32, bool) =
        sqlx::query_as("select pg_backend_pid(), log.is_at_home()").fetch_one(&mut conn).await?;
    if !at_home {
        return Err(Error::Restored);
    }
    let mut sequencer = Sequencer { conn, pid, notices, ticks, lease: false };
    tokio::select! {
        end = sequencer.turns() => end?,
        () = stop.requested() => {}
    }
    Ok(sequencer.conn.close().await?)
}

struct Sequencer {
    conn: PgConnection,
    /// Of the server's process behind it.
    pid: i32,
    notices: Arc<Notices>,
    ticks: Arc<Ticks>,
    lease: bool,
}

impl Sequencer {
    async fn turns(&mut self) -> Result<(), Error> {
        loop {
            self.stand_by().await?;
            info!(lease = self.lease, "sequencing the log");
            self.lead().await?;
            debug!("another process sequences the log");
        }
    }

    /// Passes hints on until there is reason to lead.
    ///
    /// While the log is quiet it ticks for what its own process published: that spares the
    /// way to the leader and back, and there is nobody to race with.
    async fn stand_by(&mut self) -> Result<(), Error> {
        let mut look_at = Instant::now();
        let mut alive = true;
        loop {
            tokio::select! {
                () = sleep_until(look_at) => {
                    look_at = Instant::now() + SAFETY_POLL.mul_f64(rand::rng().random_range(0.8..1.2));
                    if self.take_lease().await? {
                        return Ok(());
                    }
                    // The holder may be stopped, or cut off without the server knowing.
                    if !std::mem::take(&mut alive) && self.tick(false).await?.fresh {
                        return Ok(());
                    }
                }
                () = self.notices.foreign_tick() => alive = true,
                () = self.notices.published_here() => {
                    if !(self.notices.is_quiet(GAP) && self.tick_once().await?) {
                        sqlx::query("select pg_notify('log_hint', '')").execute(&mut self.conn).await?;
                    }
                }
            }
        }
    }

    /// A standby's tick; false where somebody else's came between.
    async fn tick_once(&mut self) -> Result<bool, Error> {
        match self.tick(false).await {
            Ok(_) => Ok(true),
            Err(Error::Database(conflict)) if is_foreign_tick(&conflict) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// Ticks at once when something was published, a `GAP` apart on average, and less and
    /// less often when nothing is; returns when another process does this work.
    async fn lead(&mut self) -> Result<(), Error> {
        self.ticks.begin_anew().await;
        let mut pause = GAP;
        let mut last = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(last + pause) => {}
                () = self.notices.published_here() => {}
                () = self.notices.hint() => {}
            }
            self.ticks.rest().await;
            last = Instant::now();
            let (fresh, alone) = match self.tick(pause >= SAFETY_POLL).await {
                Ok(done) => (done.fresh, done.alone),
                Err(Error::Database(conflict)) if is_foreign_tick(&conflict) => (true, false),
                Err(trouble) => return Err(trouble),
            };
            if !alone && !self.lease && !self.take_lease().await? {
                return Ok(());
            }
            pause = if fresh { GAP } else { (pause * 2).min(SAFETY_POLL) };
        }
    }

    async fn tick(&mut self, forced: bool) -> Result<Done, Error> {
        self.ticks.tick(&mut self.conn, self.pid, forced).await
    }

    async fn take_lease(&mut self) -> Result<bool, Error> {
        self.lease = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(LEASE)
            .fetch_one(&mut self.conn)
            .await?;
        Ok(self.lease)
    }
}
