//! Gives offsets to what was committed: one process ticks for the whole log.
//!
//! Correctness is in `log.tick`, whose key lets only one of several racing sequencers
//! append a tick. Who ticks is only a matter of work saved: the holder of an advisory lock,
//! and whoever finds records that the holder left lying for a second.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};

use crate::error::is_foreign_tick;
use crate::notices::Notices;
use crate::{Error, Stop};

/// Without a gap between ticks, publishers lose a quarter of their rate to the sequencer.
const GAP: Duration = Duration::from_millis(5);
/// So many gaps may be saved up: what follows on a record that just came through, a handler's
/// own publish for one, waits for none.
const SAVED_GAPS: u32 = 4;
const SAFETY_POLL: Duration = Duration::from_secs(1);
/// 'LOG' in ASCII and a zero byte: the advisory lock of the one that ticks.
const LEASE: i64 = 0x4c4f_4700;
const TICKS_BETWEEN_TRIMS: i64 = 10_000;

/// Ticks or stands by until asked to stop.
pub(crate) async fn run(
    options: PgConnectOptions,
    notices: Arc<Notices>,
    mut stop: Stop,
) -> Result<(), Error> {
    // A lost tick was seen by nobody: whoever acts on an offset commits durably after it.
    // That holds inside this cluster only.
    let mut conn = options.options([("synchronous_commit", "off")]).connect().await?;
    let (backend, at_home): (i32, bool) =
        sqlx::query_as("select pg_backend_pid(), log.is_at_home()").fetch_one(&mut conn).await?;
    if !at_home {
        return Err(Error::Restored);
    }
    notices.set_own_backend(backend as u32);
    let mut sequencer = Sequencer { conn, notices, lease: false, last_tick: None };
    tokio::select! {
        end = sequencer.turns() => end?,
        () = stop.requested() => {}
    }
    Ok(sequencer.conn.close().await?)
}

struct Sequencer {
    conn: PgConnection,
    notices: Arc<Notices>,
    lease: bool,
    last_tick: Option<i64>,
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
        let mut quiet_from = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(look_at) => {
                    look_at = Instant::now() + SAFETY_POLL.mul_f64(rand::rng().random_range(0.8..1.2));
                    if self.take_lease().await? {
                        return Ok(());
                    }
                    // The holder may be stopped, or cut off without the server knowing.
                    if !std::mem::take(&mut alive) && self.tick(false).await? {
                        return Ok(());
                    }
                }
                () = self.notices.foreign_tick() => {
                    alive = true;
                    quiet_from = Instant::now() + GAP;
                }
                () = self.notices.published_here() => {
                    let quiet = Instant::now() >= quiet_from;
                    quiet_from = Instant::now() + GAP;
                    if !(quiet && self.tick_once().await?) {
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
        self.last_tick = None;
        let mut pause = GAP;
        let mut last = Instant::now();
        // Where ticks a gap apart would be by now.
        let mut due = last;
        loop {
            tokio::select! {
                () = sleep_until(last + pause) => {}
                () = self.notices.published_here() => {}
                () = self.notices.hint() => {}
            }
            if due > Instant::now() + GAP * SAVED_GAPS {
                sleep_until(due - GAP * SAVED_GAPS).await;
            }
            last = Instant::now();
            let before = self.last_tick;
            let fresh = match self.tick(pause >= SAFETY_POLL).await {
                Ok(fresh) => fresh,
                Err(Error::Database(conflict)) if is_foreign_tick(&conflict) => {
                    if !self.lease && !self.take_lease().await? {
                        return Ok(());
                    }
                    true
                }
                Err(trouble) => return Err(trouble),
            };
            let alone =
                before.is_none_or(|before| self.last_tick == Some(before + i64::from(fresh)));
            if !alone && !self.lease && !self.take_lease().await? {
                return Ok(());
            }
            if fresh {
                due = due.max(last) + GAP;
            }
            pause = if fresh { GAP } else { (pause * 2).min(SAFETY_POLL) };
        }
    }

    /// Whether there was something to do.
    async fn tick(&mut self, forced: bool) -> Result<bool, Error> {
        let row = sqlx::query("select ticked, ends from log.tick($1)")
            .bind(forced)
            .fetch_one(&mut self.conn)
            .await
            .map_err(|error| Error::from_statement("the log", error))?;
        let Some(tick) = row.try_get::<Option<i64>, _>(0)? else {
            return Ok(false);
        };
        self.last_tick = Some(tick);
        if let Some(ends) = row.try_get::<Option<&str>, _>(1)? {
            self.notices.ticked_here(ends);
        }
        if tick % TICKS_BETWEEN_TRIMS == 0 {
            sqlx::query("select log.trim_ticks()").execute(&mut self.conn).await?;
        }
        Ok(true)
    }

    async fn take_lease(&mut self) -> Result<bool, Error> {
        self.lease = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(LEASE)
            .fetch_one(&mut self.conn)
            .await?;
        Ok(self.lease)
    }
}
