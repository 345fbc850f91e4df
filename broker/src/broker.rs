//! The handle to the log: connecting, topics, publishing, shutting down.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use futures::FutureExt;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::connections::{Conn, Connections};
use crate::error::{is_foreign_tick, statement};
use crate::notices::{self, Notices};
use crate::publish::Topics;
use crate::publisher::{self, Publish, Publisher};
use crate::record::{InvalidRecord, NewRecord};
use crate::supervise::Supervised;
use crate::ticks::Ticks;
use crate::{Error, Options, Transaction, operate, sequencer, telemetry};

/// How long a shutdown waits for the parts that it stopped.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// A process's connection to the log. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    connect: PgConnectOptions,
    connections: Connections,
    topics: Arc<Topics>,
    notices: Arc<Notices>,
    ticks: Arc<Ticks>,
    publisher: mpsc::UnboundedSender<Publish>,
    room: Arc<Semaphore>,
    // All of the log's connections and actors live on a runtime of their own: one that the
    // caller blocks or drops would take them along.
    runtime: tokio::runtime::Handle,
    arbiter: ArbiterHandle,
    system: System,
    stop: watch::Sender<bool>,
    /// Every long-lived part holds a clone; closed when the last has ended.
    parts: Mutex<Parts>,
}

#[derive(Debug)]
struct Parts {
    alive: Option<mpsc::Sender<()>>,
    ended: Option<mpsc::Receiver<()>>,
}

/// Asks a long-lived part to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Completes once the broker, or this part alone, is to stop.
    pub async fn requested(&mut self) {
        if self.0.wait_for(|stop| *stop).await.is_err() {
            // Whoever could ask is gone without having asked.
            std::future::pending().await
        }
    }

    pub fn channel() -> (watch::Sender<bool>, Stop) {
        let (sender, receiver) = watch::channel(false);
        (sender, Stop(receiver))
    }
}

impl Broker {
    /// Connects with default [`Options`].
    ///
    /// # Errors
    /// As [`Options::connect`].
    pub async fn connect(url: &str) -> Result<Broker, Error> {
        Options::new(url).connect().await
    }

    pub(crate) async fn start(options: Options) -> Result<Broker, Error> {
        let connect = options.connect_options()?;
        check(&connect).await?;

        telemetry::describe();
        let (runtime, arbiter, system) = start_system().await?;
        let (stop, stopped) = Stop::channel();
        let (alive, ended) = mpsc::channel(1);
        let notices = Arc::new(Notices::new());
        let ticks = Arc::new(Ticks::new(notices.clone()));
        let topics = Arc::new(Topics::default());
        let connections = Connections::new(
            connect.clone(),
            options.max_connections,
            notices.clone(),
            runtime.clone(),
        );
        let publisher = {
            let (connections, topics, ticks) = (connections.clone(), topics.clone(), ticks.clone());
            let (publisher, mailbox) = Publisher::new(connections, topics, ticks);
            // Handlers publish while consumers end: no shutdown waits for this one, and it ends
            // with its mailbox.
            let (alone, _) = mpsc::channel(1);
            Supervised::start(&arbiter, "publisher", alone, move || {
                publisher.clone().run().boxed()
            });
            mailbox
        };
        let turn = {
            let (connect, notices) = (connect.clone(), notices.clone());
            let (topics, stop) = (topics.clone(), stopped.clone());
            move || {
                notices::listen(connect.clone(), notices.clone(), topics.clone(), stop.clone())
                    .boxed()
            }
        };
        Supervised::start(&arbiter, "listener", alive.clone(), turn);
        let retention_stop = stopped.clone();
        let turn = {
            let (connect, notices, ticks) = (connect.clone(), notices.clone(), ticks.clone());
            move || {
                sequencer::run(connect.clone(), notices.clone(), ticks.clone(), stopped.clone())
                    .boxed()
            }
        };
        Supervised::start(&arbiter, "sequencer", alive.clone(), turn);
        let turn = {
            let (connections, stop) = (connections.clone(), retention_stop);
            move || operate::keep(connections.clone(), stop.clone()).boxed()
        };
        Supervised::start(&arbiter, "retention", alive.clone(), turn);

        Ok(Broker {
            inner: Arc::new(Inner {
                connect,
                connections,
                topics,
                notices,
                ticks,
                publisher,
                room: Arc::new(Semaphore::new(publisher::MAX_WAITING_BYTES)),
                runtime,
                arbiter,
                system,
                stop,
                parts: Mutex::new(Parts { alive: Some(alive), ended: Some(ended) }),
            }),
        })
    }

    /// Makes a topic with so many partitions, 1 to 1,024; one that exists is left as it is.
    /// Needs the role that migrated the log.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for another role, [`Error::Database`] for an impossible name or
    /// number.
    pub async fn create_topic(&self, topic: &str, partitions: u32) -> Result<(), Error> {
        sqlx::query("select log.create_topic($1, $2)")
            .bind(topic)
            .bind(i32::try_from(partitions).unwrap_or(i32::MAX))
            .execute(&mut *self.conn().await?)
            .await
            .map_err(statement("creating topics"))?;
        Ok(())
    }

    /// Publishes records and returns once they are durable; a call's records are stored
    /// together or not at all. Calls that come while another is being written share the next
    /// commit.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] where the connection broke on the way; after any other error
    /// nothing was stored.
    pub async fn publish(&self, records: impl IntoIterator<Item = NewRecord>) -> Result<(), Error> {
        let records: Vec<_> = records.into_iter().collect();
        for record in &records {
            record.check()?;
        }
        let bytes: usize = records.iter().map(NewRecord::encoded_len).sum();
        if bytes > publisher::MAX_WAITING_BYTES {
            return Err(InvalidRecord::TooLarge(bytes).into());
        }
        let room = self.inner.room.clone().acquire_many_owned(bytes as u32).await;
        let room = room.map_err(|_| Error::Closed)?;
        let (reply, result) = oneshot::channel();
        let call = Publish { records, reply, room };
        self.inner.publisher.send(call).map_err(|_| Error::Closed)?;
        result.await.unwrap_or(Err(Error::Closed))
    }

    /// Opens a transaction that can publish.
    ///
    /// # Errors
    /// [`Error::Database`] where no connection can be had.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        let broker = self.clone();
        // A connection belongs to the runtime that opens it.
        let begun = self.inner.runtime.spawn(async move { broker.begin_here().await });
        begun.await.map_err(|_| Error::Closed)?
    }

    /// [`begin`](Broker::begin) for those who run on the broker's runtime.
    pub(crate) async fn begin_here(&self) -> Result<Transaction, Error> {
        Transaction::begin(self.conn_here().await?, self.clone()).await
    }

    /// Tells the sequencer that records were committed. [`Transaction::commit`] and
    /// [`publish`](Broker::publish) do so themselves; records inserted otherwise are found
    /// within a second without it.
    pub fn wake(&self) {
        self.inner.ticks.may_have_published();
    }

    /// Gives an offset to everything that was committed before this call, by the sequencer's
    /// own statement: for who publishes, or finds a log that no process had open, and is to see
    /// all of it at once. A running consumer has no need of it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn sequenced(&self) -> Result<(), Error> {
        loop {
            match sqlx::query("select log.tick(false)").execute(&mut *self.conn().await?).await {
                Ok(_) => return Ok(()),
                // Another sequencer's tick came between, perhaps without the newest records.
                Err(error) if is_foreign_tick(&error) => {}
                Err(error) => return Err(Error::from_statement("sequencing", error)),
            }
        }
    }

    /// Stops consumers after the batch in hand, then all else.
    pub async fn shutdown(&self) {
        let ended = {
            let mut parts = self.inner.parts.lock().unwrap_or_else(PoisonError::into_inner);
            parts.alive = None;
            parts.ended.take()
        };
        self.inner.stop.send_replace(true);
        if let Some(mut ended) = ended {
            let _ = tokio::time::timeout(SHUTDOWN_GRACE, ended.recv()).await;
            self.inner.room.close();
            self.inner.connections.close().await;
            self.inner.system.stop();
        }
    }

    /// A connection for a statement of the log's own.
    pub(crate) async fn conn(&self) -> Result<Conn, Error> {
        let connections = self.inner.connections.clone();
        // A connection belongs to the runtime that opens it.
        let conn = self.inner.runtime.spawn(async move { connections.acquire().await });
        Ok(conn.await.map_err(|_| Error::Closed)??)
    }

    /// [`conn`](Broker::conn) for those who run on the broker's runtime.
    pub(crate) async fn conn_here(&self) -> Result<Conn, Error> {
        Ok(self.inner.connections.acquire().await?)
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.inner.topics
    }

    pub(crate) fn ticks(&self) -> &Arc<Ticks> {
        &self.inner.ticks
    }

    pub(crate) fn notices(&self) -> &Arc<Notices> {
        &self.inner.notices
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.inner.runtime
    }

    pub(crate) fn arbiter(&self) -> &ArbiterHandle {
        &self.inner.arbiter
    }

    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        self.inner.connect.clone()
    }

    pub(crate) fn stop(&self) -> Stop {
        Stop(self.inner.stop.subscribe())
    }

    /// `None` once the broker is shutting down.
    pub(crate) fn part(&self) -> Option<mpsc::Sender<()>> {
        self.inner.parts.lock().unwrap_or_else(PoisonError::into_inner).alive.clone()
    }
}

// By hand, or it would show the password.
impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connect = &self.inner.connect;
        f.debug_struct("Broker")
            .field("host", &connect.get_host())
            .field("port", &connect.get_port())
            .field("database", &connect.get_database())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.system.stop();
    }
}

/// Fails now rather than in the background: unreachable, not migrated, or too old a server.
async fn check(connect: &PgConnectOptions) -> Result<(), Error> {
    let mut conn = connect.clone().connect().await?;
    let at_home: bool = sqlx::query_scalar("select log.is_at_home()")
        .fetch_one(&mut conn)
        .await
        .map_err(|error| Error::from_statement("schema log", error))?;
    conn.close().await?;
    match at_home {
        true => Ok(()),
        false => Err(Error::Restored),
    }
}

/// A thread with an actix system on a multi-threaded runtime: actors on its one thread, what
/// they spawn on all.
async fn start_system() -> Result<(tokio::runtime::Handle, ArbiterHandle, System), Error> {
    let (started, handles) = oneshot::channel();
    std::thread::Builder::new()
        .name("broker".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("broker-worker")
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            let runner = System::with_tokio_rt(|| runtime);
            let handles = runner.block_on(async {
                (tokio::runtime::Handle::current(), Arbiter::current(), System::current())
            });
            let _ = started.send(Ok(handles));
            let _ = runner.run();
        })
        .map_err(sqlx::Error::Io)?;
    Ok(handles.await.map_err(|_| Error::Closed)?.map_err(sqlx::Error::Io)?)
}
