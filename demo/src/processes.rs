//! The services as processes: started, restarted when they die, stopped with their parent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use private_postgres::{Guard, GuardedCommand};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::ChildStderr;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// After this long a death is news, and not the same trouble again.
const STABLE: Duration = Duration::from_secs(10);

/// What a process is started with.
#[derive(Clone)]
pub struct Spec {
    /// As `delivery` or `delivery-2`.
    pub name: String,
    pub service: &'static str,
    pub env: Vec<(&'static str, String)>,
}

/// A supervised process.
pub struct Process {
    pub name: String,
    pid: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Process {
    /// Starts it and keeps it running until `stop`; `on_death` hears of each death.
    pub fn start(
        spec: Spec,
        logs: &Path,
        stop: watch::Receiver<bool>,
        on_death: impl Fn(&str, &str) + Send + Sync + 'static,
    ) -> anyhow::Result<Process> {
        let log = Log::open(logs.join(format!("{}.log", spec.name)))
            .with_context(|| format!("the log of {} cannot be written", spec.name))?;
        let pid = Arc::new(AtomicU32::new(0));
        let name = spec.name.clone();
        let task = tokio::spawn(keep_running(spec, log, pid.clone(), stop, on_death));
        Ok(Process { name, pid, task })
    }

    /// The pid now; 0 between two lives.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    pub async fn ended(self) {
        let _ = self.task.await;
    }
}

async fn keep_running(
    spec: Spec,
    mut log: Log,
    pid: Arc<AtomicU32>,
    mut stop: watch::Receiver<bool>,
    on_death: impl Fn(&str, &str),
) {
    let mut deaths = 0;
    loop {
        let started = Instant::now();
        let end = match spawn(&spec) {
            Ok(mut guard) => {
                pid.store(guard.pid(), Ordering::Relaxed);
                let end = live(&mut guard, &mut log, &mut stop).await;
                pid.store(0, Ordering::Relaxed);
                match end {
                    Some(end) => end,
                    None => return,
                }
            }
            Err(error) => error.to_string(),
        };
        deaths = if started.elapsed() > STABLE { 0 } else { deaths + 1 };
        let pause = (Duration::from_millis(100) * (1 << deaths.min(7))).min(MAX_PAUSE);
        on_death(&spec.name, &format!("{end}; again in {:.1} s", pause.as_secs_f64()));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = asked(&mut stop) => return,
        }
    }
}

/// Completes when a stop was asked for.
pub async fn asked(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn spawn(spec: &Spec) -> io::Result<Guard> {
    let mut command = GuardedCommand::new(std::env::current_exe()?)
        .args(["service", spec.service])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    for (name, value) in &spec.env {
        command = command.env(name, value);
    }
    command.spawn()
}

/// Until the process ends, with how; `None` when it was asked to.
async fn live(
    guard: &mut Guard,
    log: &mut Log,
    stop: &mut watch::Receiver<bool>,
) -> Option<String> {
    let mut stderr = guard
        .take_stderr()
        .and_then(|stderr| ChildStderr::from_std(stderr).ok())
        .map(BufReader::new);
    let end = tokio::select! {
        end = guard.wait() => end,
        () = copy(&mut stderr, log) => guard.wait().await,
        () = asked(stop) => {
            guard.ask_to_stop();
            // Its last words are worth keeping.
            let _ = tokio::time::timeout(Duration::from_secs(15), copy(&mut stderr, log)).await;
            let _ = guard.stop().await;
            return None;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), copy(&mut stderr, log)).await;
    Some(match end {
        Ok(status) => match status.code() {
            Some(137) => "was killed".to_owned(),
            Some(code) => format!("ended with code {code}: {}", log.last),
            None => status.to_string(),
        },
        Err(error) => error.to_string(),
    })
}

/// Lines into the log until the process closes its end.
async fn copy<R: AsyncRead + Unpin>(from: &mut Option<BufReader<R>>, log: &mut Log) {
    let Some(reader) = from else { return std::future::pending().await };
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        log.line(&line);
        line.clear();
    }
}

/// A file of a bounded size and the one before it.
struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    last: String,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Log> {
        let file = File::options().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Log { path, file, bytes, last: String::new() })
    }

    fn line(&mut self, line: &[u8]) {
        if !line.starts_with(b"note:") && !line.trim_ascii().is_empty() {
            self.last = String::from_utf8_lossy(line).trim().chars().take(500).collect();
        }
        self.bytes += line.len() as u64;
        if self.bytes > MAX_LOG_BYTES {
            let _ = fs::rename(&self.path, self.path.with_extension("old.log"));
            if let Ok(file) = File::create(&self.path) {
                self.file = file;
                self.bytes = line.len() as u64;
            }
        }
        // A log that cannot be written is no reason to stop what it is about.
        let _ = self.file.write_all(line);
    }
}
