//! The processes under test: started, killed, started again.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use private_postgres::{Guard, GuardedCommand, Signal};

use crate::actors::Role;
use crate::collect::Collector;

/// A kill or a stop takes effect at once, but for a machine that has no time.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Cast {
    /// Where the histories and what the processes say go.
    pub folder: PathBuf,
    pub url: String,
    pub seed: u64,
    pub rate: f64,
    pub actors: Vec<Actor>,
    pub collector: Collector,
    /// Deaths that no fault caused.
    pub unexpected: Vec<String>,
}

pub(crate) struct Actor {
    pub role: Role,
    pub name: String,
    pub life: u32,
    /// `None` while it is dead.
    pub guard: Option<Guard>,
}

impl Actor {
    fn history(&self) -> String {
        format!("{}.{}.jsonl", self.name, self.life)
    }

    pub fn pid(&self) -> u32 {
        self.guard.as_ref().map_or(0, Guard::pid)
    }
}

impl Cast {
    pub fn add(&mut self, role: Role, name: String) -> anyhow::Result<()> {
        self.actors.push(Actor { role, name, life: 0, guard: None });
        self.start(self.actors.len() - 1)
    }

    pub fn index(&self, name: &str) -> Option<usize> {
        self.actors.iter().position(|actor| actor.name == name)
    }

    pub fn names(&self) -> Vec<String> {
        self.actors.iter().map(|actor| actor.name.clone()).collect()
    }

    /// The living of a role.
    pub fn living(&self, role: Role) -> Vec<usize> {
        let lives = |at: &usize| self.actors[*at].role == role && self.actors[*at].guard.is_some();
        (0..self.actors.len()).filter(lives).collect()
    }

    fn start(&mut self, at: usize) -> anyhow::Result<()> {
        let actor = &mut self.actors[at];
        actor.life += 1;
        let role = match actor.role {
            Role::Producer => "producer",
            Role::Member => "member",
            Role::Reader => "reader",
        };
        let log = self.folder.join(format!("{}.{}.log", actor.name, actor.life));
        let log =
            File::create(&log).with_context(|| format!("{} cannot be made", log.display()))?;
        // Each life draws its own numbers, the same in every run of this seed.
        let seed = self.seed ^ (((at as u64 + 1) << 32) + u64::from(actor.life));
        let guard = GuardedCommand::new(std::env::current_exe()?)
            .args(["actor", "--role", role, "--name", &actor.name])
            .args(["--life", &actor.life.to_string(), "--seed", &seed.to_string()])
            .args(["--rate", &self.rate.to_string()])
            .arg("--history")
            .arg(self.folder.join(actor.history()))
            // Not where every user of the machine can read the password.
            .env("CHECKER_URL", &self.url)
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", actor.name))?;
        actor.guard = Some(guard);
        Ok(())
    }

    /// Reads on in the histories; returns how many lines this one's has by now.
    pub fn collect(&mut self, at: usize) -> anyhow::Result<usize> {
        let actor = &self.actors[at];
        let process = format!("{}.{}", actor.name, actor.life);
        self.collector.follow(&self.folder.join(actor.history()), &process)
    }

    pub fn collect_all(&mut self) -> anyhow::Result<()> {
        (0..self.actors.len()).try_for_each(|at| self.collect(at).map(drop))
    }

    /// Starts the dead again, once all that they wrote is read.
    pub fn revive(&mut self) -> anyhow::Result<()> {
        for at in 0..self.actors.len() {
            let actor = &mut self.actors[at];
            if let Some(guard) = &mut actor.guard {
                let Some(status) = guard.try_wait()? else { continue };
                self.unexpected.push(format!(
                    "{} ended by itself: {status}; see {}.{}.log",
                    actor.name, actor.name, actor.life
                ));
                if self.unexpected.len() > 5 {
                    bail!("processes end by themselves: {}", self.unexpected.join("; "));
                }
                actor.guard = None;
            }
            self.collect(at)?;
            self.start(at)?;
        }
        Ok(())
    }

    /// kill -9, and the process is seen to be gone.
    pub async fn kill(&mut self, at: usize) -> anyhow::Result<()> {
        let actor = &mut self.actors[at];
        let Some(guard) = &mut actor.guard else { bail!("{} is dead already", actor.name) };
        guard.signal(Signal::Kill)?;
        let status = tokio::time::timeout(SIGNAL_PATIENCE, guard.wait())
            .await
            .with_context(|| format!("{} survived kill -9", actor.name))??;
        if status.code() != Some(137) {
            bail!("{} was not killed but ended: {status}", actor.name);
        }
        actor.guard = None;
        Ok(())
    }

    /// SIGSTOP or SIGCONT, and the process is seen to stand still or to go on.
    pub async fn signal(&self, at: usize, signal: Signal) -> anyhow::Result<()> {
        let actor = &self.actors[at];
        let guard = actor.guard.as_ref().with_context(|| format!("{} is dead", actor.name))?;
        guard.signal(signal)?;
        let until = Instant::now() + SIGNAL_PATIENCE;
        while is_stopped(guard.pid())? != (signal == Signal::Stop) {
            if Instant::now() > until {
                bail!("{} did not heed {signal:?}", actor.name);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Asks the processes of a role to end, and waits for it.
    pub async fn stop(&mut self, role: Role) -> anyhow::Result<()> {
        let living = self.living(role);
        for at in &living {
            self.actors[*at].guard.iter().for_each(Guard::ask_to_stop);
        }
        for at in living {
            let Some(mut guard) = self.actors[at].guard.take() else { continue };
            let status = guard.stop().await?;
            // 143: it had only just begun, and did not listen to SIGTERM yet.
            if !status.success() && status.code() != Some(143) {
                let name = &self.actors[at].name;
                self.unexpected.push(format!("{name} was asked to end and did not: {status}"));
            }
            self.collect(at)?;
        }
        Ok(())
    }
}

/// Whether the system says `T`. Without /proc, as on macOS, `ps` is asked.
fn is_stopped(pid: u32) -> anyhow::Result<bool> {
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // After the name, which is in brackets and may hold anything.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with(['T', 't']));
        return Ok(state.unwrap_or_default());
    }
    let ps = std::process::Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .context("whether a process is stopped is told by /proc or by ps, and there is neither")?;
    Ok(ps.stdout.starts_with(b"T"))
}
