//! The tick itself, on whichever of this process's connections, and how often it may be.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::Error;
use crate::connections::Conn;
use crate::error::is_foreign_tick;
use crate::notices::{Ends, Fresh, Notices, Ticked};
use crate::record::Batch;

/// Without a gap between ticks, publishers lose a quarter of their rate to the sequencer.
pub(crate) const GAP: Duration = Duration::from_millis(5);
/// So many gaps may be saved up: what follows on a record that just came through, a handler's
/// own publish for one, waits for none.
const SAVED_GAPS: u32 = 4;
const TICKS_BETWEEN_TRIMS: i64 = 10_000;

/// This process's ticks. They never run at once, or they would only meet each other's key.
pub(crate) struct Ticks {
    notices: Arc<Notices>,
    state: Arc<Mutex<State>>,
}

struct State {
    last: Option<i64>,
    /// Where ticks a gap apart would be by now.
    due: Instant,
}

impl State {
    /// Whether so little goes on that a tick is not one of many.
    fn is_light(&self) -> bool {
        self.due <= Instant::now() + GAP * (SAVED_GAPS - 1)
    }
}

/// What a tick came to.
pub(crate) struct Done {
    /// Whether there was something to do.
    pub fresh: bool,
    /// Whether no other process ticked since this one's last.
    pub alone: bool,
}

impl Ticks {
    pub fn new(notices: Arc<Notices>) -> Ticks {
        let state = State { last: None, due: Instant::now() };
        Ticks { notices, state: Arc::new(Mutex::new(state)) }
    }

    /// Forgets which tick was the last, and with it what others did since.
    pub async fn begin_anew(&self) {
        self.state.lock().await.last = None;
    }

    /// Waits until the next tick is due.
    pub async fn rest(&self) {
        let due = self.state.lock().await.due;
        if due > Instant::now() + GAP * SAVED_GAPS {
            sleep_until(due - GAP * SAVED_GAPS).await;
        }
    }

    /// Ticks, and tells this process's readers.
    pub async fn tick(
        &self,
        conn: &mut PgConnection,
        pid: i32,
        forced: bool,
    ) -> Result<Done, Error> {
        let mut state = self.state.lock().await;
        let (done, ticked) = self.run(&mut state, conn, pid, forced).await?;
        self.tell(ticked);
        Ok(done)
    }

    /// Gives back a connection whose last commit published something, and sees to its tick.
    ///
    /// While the log is quiet that tick runs on the connection itself, whose process on the server
    /// is awake already: the sequencer's would have to be woken.
    pub fn published(self: &Arc<Self>, mut conn: Conn) {
        let light = self.state.clone().try_lock_owned().ok().filter(|state| state.is_light());
        let (Some(mut state), true) = (light, self.notices.is_quiet(GAP)) else {
            conn.done();
            return self.notices.published();
        };
        let this = self.clone();
        tokio::spawn(async move {
            let pid = conn.pid();
            match this.run(&mut state, &mut conn, pid, false).await {
                Ok((_, ticked)) => {
                    // Before anybody hears of the records and wants a connection for them.
                    conn.done();
                    this.tell(ticked);
                }
                Err(trouble) => {
                    if matches!(&trouble, Error::Database(error) if is_foreign_tick(error)) {
                        conn.done();
                    }
                    this.notices.published();
                }
            }
        });
    }

    /// For a commit whose outcome is not known, or that happened elsewhere: the sequencer looks.
    pub fn may_have_published(&self) {
        self.notices.published();
    }

    /// Before the next tick: its notification may be taken for another process's once that has begun,
    /// and is then to come behind what is told here.
    fn tell(&self, ticked: Option<Ticked>) {
        if let Some(ticked) = ticked {
            self.notices.ticked_here(ticked);
        }
    }

    async fn run(
        &self,
        state: &mut State,
        conn: &mut PgConnection,
        pid: i32,
        forced: bool,
    ) -> Result<(Done, Option<Ticked>), Error> {
        // Reading along pays while there is little to read.
        let topics = if state.is_light() { self.notices.consumed() } else { Vec::new() };
        self.notices.set_own_backend(pid);
        let begun = Instant::now();
        let rows = sqlx::query(
            "select ticked, ends, topic, partition, base, at, lens, body
               from log.tick_and_read($1, $2)",
        )
        .bind(forced)
        .bind(topics)
        .fetch_all(&mut *conn)
        .await
        .map_err(|error| Error::from_statement("the log", error))?;
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let Some(tick) = first.try_get::<Option<i64>, _>(0)? else {
            return Ok((Done { fresh: false, alone: true }, None));
        };
        let alone = state.last.is_none_or(|last| tick == last + 1);
        state.last = Some(tick);
        state.due = state.due.max(begun) + GAP;
        let ticked = match first.try_get::<Option<&str>, _>(1)? {
            Some(ends) => Some(Ticked { ends: Ends::parse(ends), fresh: fresh(&rows[1..])? }),
            None => None,
        };
        if tick % TICKS_BETWEEN_TRIMS == 0 {
            sqlx::query("select log.trim_ticks()").execute(conn).await?;
        }
        Ok((Done { fresh: true, alone }, ticked))
    }
}

/// The batches that the tick brought along.
fn fresh(rows: &[PgRow]) -> Result<Arc<[Fresh]>, sqlx::Error> {
    let mut fresh = Vec::new();
    for row in rows {
        let batch = Batch {
            base: row.try_get(4)?,
            at: row.try_get(5)?,
            lens: row.try_get(6)?,
            body: Bytes::from(row.try_get::<Vec<u8>, _>(7)?),
        };
        fresh.push(Fresh { topic: row.try_get(2)?, partition: row.try_get(3)?, batch });
    }
    Ok(fresh.into())
}
