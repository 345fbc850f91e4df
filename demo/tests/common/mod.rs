//! Runs the real `waybill` and looks at its processes.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::PgPool;

/// Long enough for a busy machine: only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A data folder and ports of one's own.
pub struct Place {
    folder: tempfile::TempDir,
    pub port_base: u16,
}

impl Place {
    pub fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap(), port_base: free_ports() }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn waybill(&self, command: &str, args: &[&str]) -> Command {
        let mut waybill = Command::new(env!("CARGO_BIN_EXE_waybill"));
        waybill.arg(command).args(args).env("WAYBILL_DATA", self.data()).env_remove("DATABASE_URL");
        waybill
    }

    pub fn run(&self, command: &str, args: &[&str]) -> Output {
        self.waybill(command, args).output().unwrap()
    }

    /// Starts `up --json` and waits until the system is ready.
    pub fn up(&self, args: &[&str]) -> Up {
        self.up_with(args, &[])
    }

    pub fn up_with(&self, args: &[&str], env: &[(&str, &str)]) -> Up {
        let base = self.port_base.to_string();
        let mut up = self.waybill("up", &["--json", "--port-base", &base]);
        up.args(args).envs(env.iter().copied()).stdout(Stdio::piped());
        let mut child = up.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (line, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for text in stdout.lines().map_while(Result::ok) {
                let _ = line.send(serde_json::from_str(&text).unwrap());
            }
        });
        let mut up = Up { child, lines, ready: Value::Null };
        up.ready = up.wait_for("ready");
        up
    }

    pub fn database_url(&self) -> String {
        let run = fs::read(self.data().join("run.json")).unwrap();
        let run: Value = serde_json::from_slice(&run).unwrap();
        run["database_url"].as_str().unwrap().to_owned()
    }

    pub async fn database(&self) -> PgPool {
        PgPool::connect(&self.database_url()).await.unwrap()
    }

    pub fn order_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port_base + 1)
    }

    /// Every process of this place but `waybill up` itself: (pid, what it is).
    pub fn processes(&self) -> Vec<(u32, String)> {
        let data = self.data().canonicalize().unwrap_or(self.data());
        let port = format!("127.0.0.1:{}", self.port_base);
        // All ports of a place share all but their last digit.
        let ports = &port[..port.len() - 1];
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
            let words = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
            let command = words(read("cmdline"));
            if command.contains("postgres")
                && command.contains(&*data.to_string_lossy())
                && !command.contains("guard")
            {
                found.push((pid, "postgres".to_owned()));
            } else if let Some((_, service)) = command.split_once("waybill service ")
                && !command.contains("guard")
                && words(read("environ")).contains(&format!("PUBLIC_URL=http://{ports}"))
            {
                found.push((pid, service.trim().to_owned()));
            }
        }
        found
    }
}

/// Eight free ports in a row, of which the first ends in 0; below those that the system gives to
/// outgoing connections, which would take them meanwhile.
fn free_ports() -> u16 {
    loop {
        let base = rand::random_range(1100..3270u16) * 10;
        if (0..8).all(|n| TcpListener::bind(("127.0.0.1", base + n)).is_ok()) {
            return base;
        }
    }
}

/// A running `waybill up --json`.
pub struct Up {
    pub child: Child,
    lines: mpsc::Receiver<Value>,
    pub ready: Value,
}

impl Up {
    /// The next line of this event; panics when the story ends without it.
    pub fn wait_for(&mut self, event: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("the story ended without {event}"));
            if line["event"] == event {
                return line;
            }
        }
    }

    /// All lines up to the end.
    pub fn rest(&mut self) -> Vec<Value> {
        self.lines.iter().collect()
    }

    pub fn signal(&self, signal: &str) {
        kill(signal, self.child.id());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.signal("-INT");
        let _ = self.child.wait();
    }
}

pub fn kill(signal: &str, pid: u32) -> bool {
    Command::new("kill")
        .args([signal, &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
