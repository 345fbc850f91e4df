//! The binary, and a log of one's own for each test.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use broker::{Broker, NewRecord};
use private_postgres::TestServer;
use sqlx::{AssertSqlSafe, PgPool};

/// Long enough for a busy machine: only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Log {
    pub url: String,
    pub pool: PgPool,
}

/// A fresh database with the log in it.
pub async fn log() -> Log {
    // Of the same name as the crate's own tests use: it is the same thing.
    let server = TestServer::shared(&template_key(), make_log).await;
    let url = server.database().await;
    Log { pool: PgPool::connect(&url).await.unwrap(), url }
}

fn template_key() -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut key = DefaultHasher::new();
    broker::migrations()
        .iter()
        .for_each(|migration| (migration.version, &migration.checksum).hash(&mut key));
    format!("log-{:016x}", key.finish())
}

async fn make_log(url: String) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let pool = PgPool::connect(&url).await?;
    broker::migrate(&pool).await?;
    pool.close().await;
    Ok(())
}

/// The binary with nothing of the environment that would change what it does.
pub fn binary(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_broker"));
    for name in ["BROKER_URL", "DATABASE_URL", "RUST_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"]
    {
        command.env_remove(name);
    }
    command.env("BROKER_URL", url);
    command
}

impl Log {
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = binary(&self.url);
        command.args(args);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.feed(args, b"")
    }

    /// Runs it with this on standard input.
    pub fn feed(&self, args: &[&str], input: &[u8]) -> Ended {
        run(self.command(args), input)
    }

    /// What it prints; it must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        self.run(args).done()
    }

    pub async fn broker(&self) -> Broker {
        Broker::connect(&self.url).await.unwrap()
    }

    /// A topic with records `0..n`, keyed `k0`, `k1` and so on, with their offsets.
    pub async fn filled(&self, topic: &str, partitions: u32, n: u32) -> Broker {
        let broker = self.broker().await;
        broker.create_topic(topic, partitions).await.unwrap();
        let records = (0..n).map(|n| NewRecord::new(topic, n.to_string()).key(format!("k{n}")));
        broker.publish(records.collect::<Vec<_>>()).await.unwrap();
        broker.sequenced().await.unwrap();
        broker
    }

    /// What the group has committed, in all partitions of a topic together.
    pub async fn committed(&self, group: &str, topic: &str) -> i64 {
        sqlx::query_scalar(
            "select coalesce(sum(committed), 0)::bigint from log.group_lag
              where consumer_group = $1 and topic = $2",
        )
        .bind(group)
        .bind(topic)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// A role that may log in and nothing else, and its URL.
    pub async fn role(&self, name: &str) -> (String, String) {
        // Roles are the whole server's, and so every test's.
        let name = format!("{name}_{}", self.url.rsplit('/').next().unwrap());
        let create = format!("create role \"{name}\" login password 'tell-nobody'");
        sqlx::query(AssertSqlSafe(create)).execute(&self.pool).await.unwrap();
        let host = self.url.split_once('@').unwrap().1;
        let url = format!("postgres://{name}:tell-nobody@{host}");
        (name, url)
    }
}

/// How a run ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Ended so, and said so on standard error.
    #[track_caller]
    pub fn told(&self, code: i32, told: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(told), "{told:?} is not in {self:?}");
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn run(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _watch = Watch::start(&child);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.into()
}

/// JSON, an object a line.
pub fn objects(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Kills what goes on for too long: its test fails instead of waiting for ever.
struct Watch {
    _over: mpsc::Sender<()>,
}

impl Watch {
    fn start(child: &Child) -> Watch {
        let (over, ended) = mpsc::channel();
        let pid = child.id().to_string();
        std::thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        });
        Watch { _over: over }
    }
}

/// A run that goes on: its lines can be waited for.
pub struct Running {
    child: Child,
    _watch: Watch,
    lines: Option<std::io::Lines<BufReader<std::process::ChildStdout>>>,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { _watch: Watch::start(&child), child, lines: Some(lines) }
    }

    /// The next line. Waits for it.
    pub fn line(&mut self) -> String {
        self.lines.as_mut().unwrap().next().expect("it has ended").unwrap()
    }

    /// Reads nothing of it any more, as `head` does at its end.
    pub fn hang_up(&mut self) {
        self.lines = None;
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-INT", &pid]).status().unwrap();
        assert!(status.success());
    }

    pub fn end(mut self) -> Ended {
        let rest = self.lines.take().map(|lines| lines.map(Result::unwrap).collect::<Vec<_>>());
        let mut ended = Ended::from(self.child.wait_with_output().unwrap());
        ended.out = rest.unwrap_or_default().join("\n");
        ended
    }
}

pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
