//! What several test files need.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use private_postgres::{Binaries, Options};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

pub async fn binaries() -> Binaries {
    Binaries::find_or_fetch(|_| ()).await.expect("Postgres")
}

/// A folder that the server's user can reach, also if we are root.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path());
    folder
}

pub fn open(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub fn options(folder: &Path) -> Options {
    Options { fsync: false, ..Options::new(folder.join("data")) }
}

pub async fn execute(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

pub async fn count(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let count = sqlx::query_scalar("select count(*) from t").fetch_one(&mut connection).await;
    connection.close().await.unwrap();
    count.unwrap()
}

pub fn kill(pid: u32, signal: Signal) {
    kill_process(raw(pid), signal).unwrap();
}

/// Waits until a process is gone; one that nobody collects is gone also.
pub fn wait_gone(pid: u32, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        let zombie = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.contains(") Z "));
        if zombie || test_kill_process(raw(pid)).is_err() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

pub fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

/// Runs one (ignored) test of this very binary in a process of its own, which says the pid of
/// what it started and then waits to be killed.
pub fn parent(test: &str, folder: &Path) -> (Child, u32) {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("PARENT_FOLDER", folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(parent.stdout.take().unwrap());
    for line in output.lines() {
        if let Some((_, pid)) = line.unwrap().split_once("STARTED ") {
            return (parent, pid.trim().parse().unwrap());
        }
    }
    panic!("the parent ended early: {:?}", parent.wait());
}

/// In the parent: the folder that it was given. `None` if it runs by mistake (`--ignored`).
pub fn parent_folder() -> Option<PathBuf> {
    std::env::var_os("PARENT_FOLDER").map(PathBuf::from)
}

pub fn say_and_wait(pid: u32) {
    println!("STARTED {pid}");
    std::thread::sleep(Duration::from_secs(60));
}
