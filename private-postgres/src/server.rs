//! The server: start, stop, and start again.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::blocking;
use crate::folder::{Folder, PG_VARIABLES, beside};
use crate::ready::{End, Log, wait_until_ready};
use crate::{Binaries, Error, Guard, GuardedCommand, Signal};

/// Until the first answer. A recovery of much WAL takes long, and more than this is a fault.
const START_LIMIT: Duration = Duration::from_secs(30);
/// A clean stop writes all that is dirty; then it is killed, which costs a recovery and no data.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long a port may stay taken that was ours a moment ago.
const PORT_PATIENCE: Duration = Duration::from_secs(5);
/// How many free ports may be taken from under us.
const PORT_TRIES: u32 = 10;
/// A log that is longer at a start begins anew.
const LOG_LIMIT: u64 = 1 << 20;

/// How a server is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Made if it is not there. Its password, log and lock lie beside it, as `<name>.password` ….
    pub data_dir: PathBuf,
    /// `None`: a free one.
    pub port: Option<u16>,
    /// Whether a commit survives a crash. Tests of logic say `false`: then commits do not wait for
    /// the disk at all, and even a crash of the server alone loses the last of them.
    pub fsync: bool,
    /// How many sessions at once.
    pub max_connections: u16,
    /// More settings, name and value; they win over ours.
    pub settings: Vec<(String, String)>,
}

impl Options {
    /// A free port, durable, 200 sessions.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Options {
            data_dir: data_dir.into(),
            port: None,
            fsync: true,
            max_connections: 200,
            settings: Vec::new(),
        }
    }
}

/// A running server, which stops when this is dropped or this process ends, however it ends.
#[derive(Debug)]
pub struct Server {
    guard: Guard,
    launch: Launch,
    port: u16,
}

/// All that a start needs, but for the port.
#[derive(Debug)]
struct Launch {
    postgres: PathBuf,
    options: Options,
    folder: Folder,
}

impl Server {
    /// Starts a server on a data folder, which it makes if need be, and waits until it answers.
    /// A server that an earlier run left there is ended first.
    ///
    /// # Errors
    /// If the port is taken, the folder cannot be used or is another live process's, or the
    /// server does not answer within 30 seconds: then with the end of its log.
    pub async fn start(binaries: &Binaries, options: Options) -> Result<Server, Error> {
        let wanted = options.port;
        let postgres = binaries.program("postgres");
        let binaries = binaries.clone();
        let launch = blocking(move || {
            let folder = Folder::prepare(&binaries, &options.data_dir, options.fsync)?;
            Ok(Launch { postgres, options, folder })
        })
        .await?;
        let mut tries = 0;
        loop {
            let port = wanted.map_or_else(free_port, Ok)?;
            match launch.run(port).await {
                Ok(guard) => return Ok(Server { guard, launch, port }),
                // Between choosing a free port and binding it, it is anyone's.
                Err(Error::PortTaken { .. }) if wanted.is_none() && tries < PORT_TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The address of one of its databases, for the superuser `postgres`.
    pub fn url(&self, database: &str) -> String {
        url(&self.launch.folder.password, self.port, database)
    }

    /// The port of 127.0.0.1 that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process. A restart gives another.
    pub fn pid(&self) -> u32 {
        self.guard.pid()
    }

    /// Where it writes its log: its start, its stop, and what is fatal. Errors in statements go to
    /// whoever made them, and not here, so that the file stays small.
    pub fn log_file(&self) -> PathBuf {
        self.launch.log_file()
    }

    /// Sends the postmaster a signal, to try faults: [`Signal::Kill`] as a crash,
    /// [`Signal::Quit`] for an immediate shutdown, [`Signal::Stop`] to hang it.
    ///
    /// # Errors
    /// If it runs no more.
    pub fn signal(&self, signal: Signal) -> std::io::Result<()> {
        self.guard.signal(signal)
    }

    /// Whether the postmaster runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.guard.try_wait(), Ok(None))
    }

    /// Waits until the postmaster has ended, by whatever cause.
    ///
    /// # Errors
    /// If the system does not tell.
    pub async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.guard.wait().await
    }

    /// Stops it cleanly, sessions or not, and waits for its end.
    ///
    /// # Errors
    /// If it had crashed, or had to be killed after 30 seconds.
    pub async fn stop(mut self) -> Result<(), Error> {
        let program = self.launch.postgres.clone();
        let status = self.guard.stop().await.map_err(Error::run(&program))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::UncleanStop { status: status.to_string() })
    }

    /// Starts it again with the same data, port and password: after a crash, or, if it still
    /// runs, after a clean stop. Waits until it answers.
    ///
    /// # Errors
    /// As [`start`](Server::start).
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.guard.stop().await.map_err(Error::run(&self.launch.postgres))?;
        let until = Instant::now() + PORT_PATIENCE;
        self.guard = loop {
            match self.launch.run(self.port).await {
                Ok(guard) => break guard,
                // Sessions of the dead postmaster may hold it a moment longer.
                Err(Error::PortTaken { .. }) if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(())
    }
}

impl Launch {
    fn log_file(&self) -> PathBuf {
        beside(&self.folder.data, "log")
    }

    async fn run(&self, port: u16) -> Result<Guard, Error> {
        let until = Instant::now() + START_LIMIT;
        let url = url(&self.folder.password, port, "postgres");
        loop {
            let path = self.log_file();
            let log = open_log(&path)?;
            let written = Log::from_here(&path)?;
            let mut guard =
                self.command(port).stderr(log).spawn().map_err(Error::run(&self.postgres))?;
            let left = until.saturating_duration_since(Instant::now());
            match wait_until_ready(&mut guard, &url, &self.folder.data, left).await {
                End::Ready => return Ok(guard),
                End::TimedOut(last) => {
                    let tail = written.tail();
                    return Err(Error::NotReady { limit: START_LIMIT, last, log: path, tail });
                }
                // Sessions of a killed postmaster hold its memory until they notice.
                End::Exited(_) if written.says("shared memory block") && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                End::Exited(_) if written.says("could not bind") => {
                    return Err(Error::PortTaken { port });
                }
                End::Exited(status) => {
                    return Err(Error::Exited { status, log: path, tail: written.tail() });
                }
            }
        }
    }

    fn command(&self, port: u16) -> GuardedCommand {
        let mut command = GuardedCommand::new(&self.postgres)
            .arg("-D")
            .arg(&self.folder.data)
            .current_dir(&self.folder.data)
            .env("LC_ALL", "C")
            .stdout(std::process::Stdio::null())
            .stop_signal(Signal::Interrupt)
            .grace(STOP_LIMIT);
        for name in PG_VARIABLES {
            command = command.env_remove(name);
        }
        if let Some(user) = &self.folder.user {
            command = command.user(user.uid, user.gid);
        }
        self.settings(port).into_iter().fold(command, |command, (name, value)| {
            command.arg("-c").arg(format!("{name}={value}"))
        })
    }

    /// On the command line and not in a file: a start depends on nothing that an earlier one left.
    fn settings(&self, port: u16) -> Vec<(String, String)> {
        let options = &self.options;
        let (port, sessions) = (port.to_string(), options.max_connections.to_string());
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1"),
            ("port", &port),
            ("unix_socket_directories", ""),
            ("max_connections", &sessions),
            ("shared_buffers", "128MB"),
            ("lc_messages", "C"),
            // Below this are the errors that clients make and get; a busy day of them is gigabytes.
            ("log_min_messages", "log"),
            ("log_checkpoints", "off"),
        ];
        if !options.fsync {
            settings.extend([
                ("fsync", "off"),
                ("synchronous_commit", "off"),
                ("full_page_writes", "off"),
            ]);
        }
        if self.folder.lz4 {
            settings.push(("default_toast_compression", "lz4"));
        }
        settings
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .chain(options.settings.iter().cloned())
            .collect()
    }
}

fn url(password: &str, port: u16, database: &str) -> String {
    format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}")
}

fn free_port() -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::Run { program: "a search for a free port".into(), source })
}

fn open_log(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::path("write", path))?;
    if file.metadata().is_ok_and(|at| at.len() > LOG_LIMIT) {
        file.set_len(0).map_err(Error::path("shorten", path))?;
    }
    Ok(file)
}
