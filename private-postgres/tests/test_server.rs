//! The server that a test binary shares.

#![allow(clippy::unwrap_used)]

mod common;

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{count, execute};
use private_postgres::TestServer;

const KEY: &str = "private-postgres/tests/test_server.rs 1";

async fn migrate(url: String) -> Result<(), Box<dyn Error + Send + Sync>> {
    execute(&url, "create table t (a text); insert into t values ('of the template')").await;
    execute(&url, "create role service login password 'service'; grant select on t to service")
        .await;
    Ok(())
}

#[tokio::test]
async fn databases_are_separate() {
    let server = TestServer::shared(KEY, migrate).await;
    let (one, two) = tokio::join!(server.database(), server.database());
    assert_ne!(one, two);
    execute(&one, "insert into t values ('of one')").await;
    assert_eq!(count(&one).await, 2);
    assert_eq!(count(&two).await, 1);
}

// Another runtime than the other test's.
#[tokio::test]
async fn roles_are_there_too() {
    let server = TestServer::shared(KEY, migrate).await;
    let url = server.database().await;
    let (_, place) = url.split_once('@').unwrap();
    assert_eq!(count(&format!("postgres://service:service@{place}")).await, 1);
}

#[tokio::test]
async fn the_next_run_removes_the_folder_of_a_dead_one() {
    let server = TestServer::shared(KEY, migrate).await;
    let runs = server.server().log_file();
    let runs = runs.parent().and_then(|run| run.parent()).unwrap();
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let left = runs.join(format!("{}-0", dead.id()));
    std::fs::create_dir_all(left.join("data")).unwrap();
    let own = TestServer::start(KEY, migrate).await.unwrap();
    assert!(!left.exists());
    assert!(server.server().log_file().exists(), "ours is left alone");
    assert_eq!(count(&own.database().await).await, 1);
}

#[tokio::test]
async fn a_failing_migration_says_so_and_leaves_no_template() {
    let key = "private-postgres/tests/test_server.rs, failing";
    for _ in 0..2 {
        let error = TestServer::start(key, async |_| Err("this migration fails".into())).await;
        // Tried again the second time, so nothing of it was kept.
        assert_eq!(error.unwrap_err().to_string(), "this migration fails");
    }
}

#[test]
fn a_killed_run_leaves_neither_server_nor_folder() {
    let folder = common::folder();
    let (mut it, postmaster) = common::parent("parent_of_a_test_server", folder.path());
    let run = std::fs::read_to_string(folder.path().join("run")).unwrap();
    assert!(std::path::Path::new(&run).exists());
    it.kill().unwrap();
    it.wait().unwrap();
    assert!(common::wait_gone(postmaster, Duration::from_secs(10)));
    let until = Instant::now() + Duration::from_secs(10);
    while std::path::Path::new(&run).exists() {
        assert!(Instant::now() < until, "{run} is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn parent_of_a_test_server() {
    if let Some(folder) = common::parent_folder() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = runtime.block_on(TestServer::shared(KEY, migrate)).server();
        let run = server.log_file().parent().unwrap().display().to_string();
        std::fs::write(folder.join("run"), run).unwrap();
        common::say_and_wait(server.pid());
    }
}
