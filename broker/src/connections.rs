//! The process's connections for transactions and publishing.
//!
//! A pool of our own for two things that sqlx's does otherwise: the connection that was used last
//! is used next, so that a quiet log finds one warm; and what a caller leaves in order goes back at
//! once, without a round trip that asks whether it is, which cost a commit as much as its BEGIN.

use std::fmt::{self, Debug, Formatter};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgTransactionManager};
use sqlx::{ConnectOptions, Connection, PgConnection};
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::notices::Notices;

/// How long to wait for a connection, for one that comes back with something unfinished, and for
/// those in use at the end.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection that was idle for longer is tried before it is used, as is one from before the
/// server was last seen to end one.
const PING_AFTER: Duration = Duration::from_secs(1);
/// One that nobody needed for so long is closed.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// What a session caches on the server grows with its age.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

#[derive(Clone)]
pub(crate) struct Connections {
    home: Arc<Home>,
}

struct Home {
    options: PgConnectOptions,
    notices: Arc<Notices>,
    /// Where connections live: one belongs to the runtime that opened it.
    runtime: Handle,
    max: u32,
    permits: Arc<Semaphore>,
    closed: AtomicBool,
    /// The last used is the last. Never more than there are permits.
    idle: Mutex<Vec<Open>>,
}

struct Open {
    conn: PgConnection,
    /// Of the server's process behind it.
    pid: i32,
    opened: Instant,
    used: Instant,
}

/// A connection lent out. Whoever drops it may have left anything on it: what is unfinished is
/// waited for and rolled back before the next one gets it.
pub(crate) struct Conn {
    open: Option<Open>,
    permit: Option<OwnedSemaphorePermit>,
    home: Arc<Home>,
}

impl Connections {
    pub fn new(
        options: PgConnectOptions,
        max: u32,
        notices: Arc<Notices>,
        runtime: Handle,
    ) -> Connections {
        let home = Home {
            options,
            notices,
            runtime,
            max,
            permits: Arc::new(Semaphore::new(max as usize)),
            closed: AtomicBool::new(false),
            idle: Mutex::new(Vec::new()),
        };
        Connections { home: Arc::new(home) }
    }

    /// For who runs where connections live.
    pub async fn acquire(&self) -> Result<Conn, sqlx::Error> {
        let home = self.home.clone();
        timeout(PATIENCE, acquire(home)).await.map_err(|_| sqlx::Error::PoolTimedOut)?
    }

    /// Closes all, once those in use are back.
    pub async fn close(&self) {
        self.home.closed.store(true, Ordering::Relaxed);
        let all = self.home.permits.acquire_many(self.home.max);
        let _ = timeout(PATIENCE, all).await;
        self.home.permits.close();
        let idle = std::mem::take(&mut *self.home.idle());
        for open in idle {
            let _ = open.conn.close().await;
        }
    }
}

async fn acquire(home: Arc<Home>) -> Result<Conn, sqlx::Error> {
    let permit = home.permits.clone().acquire_owned().await;
    let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
    if home.closed.load(Ordering::Relaxed) {
        return Err(sqlx::Error::PoolClosed);
    }
    let open = loop {
        let Some(mut open) = home.idle().pop() else {
            break Open::connect(&home.options).await?;
        };
        let suspect =
            open.used.elapsed() > PING_AFTER || home.notices.may_have_ended(open.used.elapsed());
        if !suspect || open.conn.ping().await.is_ok() {
            break open;
        }
    };
    Ok(Conn { open: Some(open), permit: Some(permit), home })
}

impl Open {
    async fn connect(options: &PgConnectOptions) -> Result<Open, sqlx::Error> {
        let mut conn = options.connect().await?;
        let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut conn).await?;
        Ok(Open { conn, pid, opened: Instant::now(), used: Instant::now() })
    }
}

impl Home {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Open>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the next one, unless it is too old.
    fn take_back(&self, mut open: Open) {
        open.used = Instant::now();
        let mut idle = self.idle();
        let mut old = Vec::new();
        match open.opened.elapsed() < MAX_AGE && !self.closed.load(Ordering::Relaxed) {
            true => idle.push(open),
            false => old.push(open),
        }
        if idle.first().is_some_and(|first| first.used.elapsed() > IDLE) {
            old.push(idle.remove(0));
        }
        drop(idle);
        for open in old {
            self.runtime.spawn(open.conn.close());
        }
    }
}

impl Conn {
    /// Opens a transaction.
    pub async fn begin(&mut self) -> Result<(), sqlx::Error> {
        PgTransactionManager::begin(self, None).await
    }

    /// Commits the transaction that [`begin`](Conn::begin) opened.
    pub async fn commit(mut self) -> Result<Conn, sqlx::Error> {
        // Savepoints within it that their owner forgot, too.
        while PgTransactionManager::get_transaction_depth(&self) > 0 {
            PgTransactionManager::commit(&mut self).await?;
        }
        Ok(self)
    }

    /// The server's process behind it, as notifications name it.
    pub fn pid(&self) -> i32 {
        self.open.as_ref().map_or(0, |open| open.pid)
    }

    /// Gives it back with nothing left on it: every statement was answered, and no transaction is
    /// open.
    pub fn done(mut self) {
        if let Some(open) = self.open.take() {
            self.home.take_back(open);
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let (Some(mut open), Some(permit)) = (self.open.take(), self.permit.take()) else { return };
        let home = self.home.clone();
        self.home.runtime.spawn(async move {
            while PgTransactionManager::get_transaction_depth(&open.conn) > 0 {
                PgTransactionManager::start_rollback(&mut open.conn);
            }
            if let Ok(Ok(())) = timeout(PATIENCE, open.conn.ping()).await {
                home.take_back(open);
            }
            drop(permit);
        });
    }
}

impl Debug for Conn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").finish_non_exhaustive()
    }
}

impl Deref for Conn {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        // Taken by what consumes it alone.
        &self.open.as_ref().expect("a connection").conn
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.open.as_mut().expect("a connection").conn
    }
}
