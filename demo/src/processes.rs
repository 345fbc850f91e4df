//! A service as a process: started, started again when it dies, signalled, stopped with its
//! parent.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use private_postgres::{Guard, GuardedCommand, Signal};
use tokio::process::ChildStderr;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::process_log::{Lines, Log};

const MAX_PAUSE: Duration = Duration::from_secs(10);
/// After this long a death is news, and not the same trouble again.
const STABLE: Duration = Duration::from_secs(10);
/// Signals on their way to a process.
const MAX_SIGNALS: usize = 8;

/// What a process is started with.
#[derive(Clone)]
pub struct Spec {
    /// As `delivery` or `delivery-2`.
    pub name: String,
    pub service: &'static str,
    pub env: Vec<(&'static str, String)>,
}

/// What a process is doing.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// `None` between two lives.
    pub pid: Option<u32>,
    /// Whether it was sent SIGSTOP.
    pub paused: bool,
    /// How often it died of itself.
    pub deaths: u32,
    /// How it died last.
    pub last_end: Option<String>,
}

/// What a process is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Run,
    Rest,
    End,
}

/// A supervised process.
pub struct Process {
    pub name: String,
    wish: watch::Sender<Wish>,
    signals: mpsc::Sender<Signal>,
    life: watch::Receiver<Life>,
    task: JoinHandle<()>,
}

impl Process {
    /// Starts it and keeps it running; `on_death` hears of each death.
    pub fn start(
        spec: Spec,
        logs: &Path,
        on_death: impl Fn(&str, &str) + Send + Sync + 'static,
    ) -> anyhow::Result<Process> {
        let log = Log::open(logs.join(format!("{}.log", spec.name)))
            .with_context(|| format!("the log of {} cannot be written", spec.name))?;
        let name = spec.name.clone();
        let (wish, wished) = watch::channel(Wish::Run);
        let (signals, signalled) = mpsc::channel(MAX_SIGNALS);
        let (lives, life) = watch::channel(Life::default());
        let keeper = Keeper { spec, log, wish: wished, signals: signalled, life: lives };
        let task = tokio::spawn(keeper.keep_running(on_death));
        Ok(Process { name, wish, signals, life, task })
    }

    pub fn life(&self) -> Life {
        self.life.borrow().clone()
    }

    /// To wait for the next change of its life.
    pub fn watch(&self) -> watch::Receiver<Life> {
        let mut life = self.life.clone();
        life.mark_unchanged();
        life
    }

    /// Whether it is meant to run.
    pub fn is_wanted(&self) -> bool {
        *self.wish.borrow() == Wish::Run
    }

    /// Runs it, or lets it finish what it has in hand and rest; false where it does already.
    pub fn want(&self, runs: bool) -> bool {
        let next = if runs { Wish::Run } else { Wish::Rest };
        self.wish.send_if_modified(|wish| std::mem::replace(wish, next) != next)
    }

    /// Sends a signal; false where nothing runs that could get it.
    pub fn signal(&self, signal: Signal) -> bool {
        self.life.borrow().pid.is_some() && self.signals.try_send(signal).is_ok()
    }

    /// Lets it finish what it has in hand and end for good, without waiting for that.
    pub fn end(&self) {
        self.wish.send_replace(Wish::End);
    }

    pub async fn ended(self) {
        let _ = self.task.await;
    }
}

/// Completes when a stop was asked for.
pub async fn asked(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Keeper {
    spec: Spec,
    log: Log,
    wish: watch::Receiver<Wish>,
    signals: mpsc::Receiver<Signal>,
    life: watch::Sender<Life>,
}

impl Keeper {
    async fn keep_running(mut self, on_death: impl Fn(&str, &str)) {
        let mut deaths = 0;
        loop {
            match self.wish.wait_for(|wish| *wish != Wish::Rest).await {
                Ok(wish) if *wish == Wish::Run => {}
                _ => return,
            }
            let started = Instant::now();
            let end = match spawn(&self.spec) {
                Ok(guard) => match self.live(guard).await {
                    Some(end) => end,
                    None => {
                        deaths = 0;
                        continue;
                    }
                },
                Err(error) => error.to_string(),
            };
            deaths = if started.elapsed() > STABLE { 0 } else { deaths + 1 };
            let pause = (Duration::from_millis(100) * (1 << deaths.min(7))).min(MAX_PAUSE);
            on_death(&self.spec.name, &format!("{end}; again in {:.1} s", pause.as_secs_f64()));
            self.life.send_modify(|life| {
                life.deaths += 1;
                life.last_end = Some(end);
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.wish.wait_for(|wish| *wish != Wish::Run) => {}
            }
        }
    }

    /// Until the process ends, with how; `None` when it was asked to.
    async fn live(&mut self, mut guard: Guard) -> Option<String> {
        let stderr = guard.take_stderr().and_then(|stderr| ChildStderr::from_std(stderr).ok());
        let mut lines = stderr.map(Lines::of);
        // Meant for the life before.
        while self.signals.try_recv().is_ok() {}
        self.life.send_modify(|life| life.pid = Some(guard.pid()));
        let end = loop {
            tokio::select! {
                end = guard.wait() => break Some(end),
                () = copy(&mut lines, &mut self.log) => lines = None,
                Some(signal) = self.signals.recv() => pass_on(&guard, signal, &self.life),
                _ = self.wish.wait_for(|wish| *wish != Wish::Run) => break None,
            }
        };
        if end.is_none() {
            guard.ask_to_stop();
        }
        if let Some(lines) = &mut lines {
            // Its last words are worth keeping.
            let patience = Duration::from_secs(if end.is_none() { 15 } else { 1 });
            let _ = tokio::time::timeout(patience, lines.copy(&mut self.log)).await;
        }
        if end.is_none() {
            let _ = guard.stop().await;
        }
        self.life.send_modify(|life| (life.pid, life.paused) = (None, false));
        end.map(|end| self.told(end))
    }

    fn told(&self, end: io::Result<ExitStatus>) -> String {
        match end {
            Ok(status) => match status.code() {
                Some(137) => "was killed".to_owned(),
                Some(code) => format!("ended with code {code}: {}", self.log.last()),
                None => status.to_string(),
            },
            Err(error) => error.to_string(),
        }
    }
}

fn pass_on(guard: &Guard, signal: Signal, life: &watch::Sender<Life>) {
    // It fails only where the process has ended meanwhile, which shows by itself.
    if guard.signal(signal).is_ok() {
        life.send_modify(|life| match signal {
            Signal::Stop => life.paused = true,
            Signal::Continue => life.paused = false,
            _ => {}
        });
    }
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

/// Until the process closes its end; for ever where there is nothing to read.
async fn copy(lines: &mut Option<Lines<ChildStderr>>, log: &mut Log) {
    match lines {
        Some(lines) => lines.copy(log).await,
        None => std::future::pending().await,
    }
}
