//! One server for a test binary, and a database of its own for each test in it.

use std::error::Error as StdError;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Pid;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::OnceCell;

use crate::error::blocking;
use crate::leftover::{self, alive};
use crate::template::{self, TEMPLATE};
use crate::user::{User, own_folder};
use crate::{Binaries, Error, Options, Server, places};

static SHARED: OnceCell<TestServer> = OnceCell::const_new();

/// A server that all tests of a binary share: fsync off, on a copy of a migrated data folder.
///
/// It holds nothing of any runtime, so tests with a runtime each can share it. It stops with the
/// process, however that ends, and then its folder is removed.
#[derive(Debug)]
pub struct TestServer {
    server: Server,
    /// Only held: its end is what the janitor waits for. After the server, so that it closes last.
    _janitor: Child,
    key: String,
    databases: AtomicU32,
}

impl TestServer {
    /// The server of this test binary, started by whichever test asks first.
    ///
    /// `template_key` stands for what `migrate` does: a hash of the migrations. For a key that is
    /// new on this machine, `migrate` gets the superuser's address of an empty database and fills
    /// it; roles that it makes are kept also. It must have closed its connections when it returns.
    /// For a known key it is not called.
    ///
    /// # Panics
    /// If there is no Postgres, or it does not start, or `migrate` fails; also if another test of
    /// the binary asked with another key.
    pub async fn shared<F, Fut>(template_key: &str, migrate: F) -> &'static TestServer
    where
        F: FnOnce(String) -> Fut,
        Fut: Future<Output = Result<(), Box<dyn StdError + Send + Sync>>>,
    {
        let started = SHARED.get_or_try_init(|| TestServer::start(template_key, migrate)).await;
        let shared = match started {
            Ok(shared) => shared,
            Err(error) => panic!("no Postgres for the tests: {error}"),
        };
        assert_eq!(shared.key, template_key, "a test binary has one server, so one template key");
        shared
    }

    /// A server of one's own of the same kind, for a test that breaks it.
    ///
    /// # Errors
    /// If there is no Postgres, or it does not start, or `migrate` fails.
    pub async fn start<F, Fut>(
        template_key: &str,
        migrate: F,
    ) -> Result<TestServer, Box<dyn StdError + Send + Sync>>
    where
        F: FnOnce(String) -> Fut,
        Fut: Future<Output = Result<(), Box<dyn StdError + Send + Sync>>>,
    {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let binaries = Binaries::find_or_fetch(|_| ()).await?;
        let user = User::for_server()?;
        let mode = if user.is_some() { 0o755 } else { 0o700 };
        let templates = places::cache(user.as_ref())?.join("templates");
        own_folder(&templates, mode)?;
        let template = template::find_or_make(&templates, &binaries, template_key, migrate).await?;
        let (data, janitor) = blocking(move || {
            let places = places::test_runs(user.as_ref())?;
            places.iter().for_each(|runs| remove_dead(runs));
            let runs = places.iter().find(|runs| places::has_test_room(runs));
            let Some(runs) = runs.or(places.last()) else { return Err(Error::NoServerUser) };
            let count = STARTED.fetch_add(1, Ordering::Relaxed);
            let run = runs.join(format!("{}-{count}", std::process::id()));
            // Of a process that had the same pid.
            let _ = fs::remove_dir_all(&run);
            let janitor = janitor(&run)?;
            Ok((template.copy(&run)?, janitor))
        })
        .await?;
        let mut options = Options { fsync: false, ..Options::new(data) };
        // It may be memory.
        options.settings.push(("max_wal_size".into(), "256MB".into()));
        let server = Server::start(&binaries, options).await?;
        let (key, databases) = (template_key.to_owned(), AtomicU32::new(0));
        Ok(TestServer { server, _janitor: janitor, key, databases })
    }

    /// The superuser's address of a new database, a copy of the template. Nothing else uses it.
    ///
    /// # Panics
    /// If it cannot be made; say, because something is still connected to the template.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        if let Err(error) = self.copy_template(&name).await {
            panic!("cannot make the database {name}: {error}");
        }
        self.url(&name)
    }

    async fn copy_template(&self, name: &str) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        // With fsync off, copying the files is the quick way.
        let create = format!("create database {name} template {TEMPLATE} strategy file_copy");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await?;
        connection.close().await
    }

    /// The superuser's address of any database of this server.
    pub fn url(&self, database: &str) -> String {
        self.server.url(database)
    }

    /// The server itself.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server itself, for a test that stops or restarts it.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// A process that waits for our end, then for the server's, and removes the run's folder.
fn janitor(run: &Path) -> Result<Child, Error> {
    const SCRIPT: &str = r#"
        cat >/dev/null
        tries=100
        while [ -e "$1/data/postmaster.pid" ] && [ "$tries" -gt 0 ]; do
            sleep 0.1
            tries=$((tries - 1))
        done
        rm -rf -- "$1"
    "#;
    let shell = Path::new("/bin/sh");
    Command::new(shell)
        .args(["-c", SCRIPT, "janitor"])
        .arg(run)
        .stdin(Stdio::piped())
        // Whoever waits for the end of the tests' output does not wait for this.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        .process_group(0)
        .spawn()
        .map_err(Error::run(shell))
}

/// Removes the folders of test processes that are no more and whose janitors were killed. What cannot be removed now, the next
/// run removes; it is never a reason to fail a test.
fn remove_dead(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').next()?.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else { continue };
        if !alive(pid) && end_and_remove(&entry.path()).is_err() {
            tracing::debug!(folder = %entry.path().display(), "left for the next run");
        }
    }
}

fn end_and_remove(run: &Path) -> Result<(), Error> {
    leftover::end(&run.join("data"))?;
    fs::remove_dir_all(run).map_err(Error::path("remove", run))
}
