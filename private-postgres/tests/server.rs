//! A server's life: it keeps what was committed, ends with its parent, and says what is wrong.

#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use common::{
    binaries, count, execute, folder, kill, options, parent, parent_folder, say_and_wait, wait_gone,
};
use private_postgres::{Error, Options, Server, Signal};
use rustix::process::Signal as Raw;

#[tokio::test]
async fn a_row_outlives_a_stop() {
    let (binaries, folder) = (binaries().await, folder());
    let server = Server::start(&binaries, options(folder.path())).await.unwrap();
    execute(&server.url("postgres"), "create table t (a text); insert into t values ('x')").await;
    let pid = server.pid();
    server.stop().await.unwrap();
    assert!(wait_gone(pid, Duration::from_millis(100)));

    let server = Server::start(&binaries, options(folder.path())).await.unwrap();
    assert_eq!(count(&server.url("postgres")).await, 1);
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    assert!(log.contains("database system is ready"), "{log}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_committed_row_outlives_a_crash() {
    let (binaries, folder) = (binaries().await, folder());
    let durable = Options::new(folder.path().join("data"));
    let mut server = Server::start(&binaries, durable).await.unwrap();
    let url = server.url("postgres");
    execute(&url, "create table t (a text)").await;
    let (port, mut pid) = (server.port(), server.pid());
    for (rows, signal) in [(1, Signal::Kill), (2, Signal::Quit)] {
        execute(&url, "insert into t values ('x')").await;
        server.signal(signal).unwrap();
        server.wait().await.unwrap();
        assert!(!server.is_running());
        server.restart().await.unwrap();
        assert_eq!(count(&url).await, rows);
        assert_eq!(server.port(), port);
        assert_ne!(server.pid(), pid);
        pid = server.pid();
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_crash_with_busy_sessions_is_recovered_from() {
    let (binaries, folder) = (binaries().await, folder());
    let mut server =
        Server::start(&binaries, Options::new(folder.path().join("data"))).await.unwrap();
    let url = server.url("postgres");
    execute(&url, "create table t (a text); insert into t values ('x')").await;
    let busy = "select sum(a) from generate_series(1, 3000000) a";
    let session = tokio::spawn({
        let url = url.clone();
        async move {
            use sqlx::Connection;
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            let _ = sqlx::raw_sql(busy).execute(&mut connection).await;
        }
    });
    // The session is in its query, whose end does not depend on ours.
    tokio::time::sleep(Duration::from_millis(200)).await;
    kill(server.pid(), Raw::KILL);
    server.restart().await.unwrap();
    assert_eq!(count(&url).await, 1);
    session.await.unwrap();
    server.stop().await.unwrap();
}

#[test]
fn a_killed_parent_leaves_no_server() {
    let folder = folder();
    let (mut it, postmaster) = parent("parent_of_a_server", folder.path());
    it.kill().unwrap();
    it.wait().unwrap();
    assert!(wait_gone(postmaster, Duration::from_secs(10)));
    assert!(!folder.path().join("data/postmaster.pid").exists(), "it stopped cleanly");
}

#[tokio::test]
async fn a_server_whose_guard_died_too_is_ended_at_the_next_start() {
    let folder = folder();
    let (mut it, postmaster) = parent("parent_of_a_server", folder.path());
    // The guard and its watch are the rest of the postmaster's process group.
    let group = group_of(postmaster);
    assert!(group.len() >= 2, "{group:?}");
    group.iter().for_each(|pid| kill(*pid, Raw::KILL));
    it.kill().unwrap();
    it.wait().unwrap();
    assert!(!wait_gone(postmaster, Duration::from_millis(300)), "nobody stops it");
    let server = Server::start(&binaries().await, options(folder.path())).await.unwrap();
    assert!(wait_gone(postmaster, Duration::from_millis(100)));
    server.stop().await.unwrap();
}

/// The other processes of a process's group.
fn group_of(pid: u32) -> Vec<u32> {
    let list = std::process::Command::new("ps").args(["-eo", "pgid=,pid="]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let all: Vec<(u32, u32)> = list
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(|word| word.parse());
            Some((words.next()?.ok()?, words.next()?.ok()?))
        })
        .collect();
    let (group, _) = *all.iter().find(|(_, of)| *of == pid).unwrap();
    all.iter().filter(|(of, it)| *of == group && *it != pid).map(|(_, it)| *it).collect()
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn parent_of_a_server() {
    if let Some(folder) = parent_folder() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let server = runtime
            .block_on(async { Server::start(&binaries().await, options(&folder)).await.unwrap() });
        say_and_wait(server.pid());
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let (binaries, folder) = (binaries().await, folder());
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let wanted = Options { port: Some(port), ..options(folder.path()) };
    let error = Server::start(&binaries, wanted).await.unwrap_err();
    assert!(matches!(error, Error::PortTaken { port: named } if named == port), "{error}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let (binaries, folder) = (binaries().await, folder());
    let server = Server::start(&binaries, options(folder.path())).await.unwrap();
    let error = Server::start(&binaries, options(folder.path())).await.unwrap_err();
    assert!(matches!(error, Error::InUse(_)), "{error}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let (binaries, folder) = (binaries().await, folder());
    let start = async |data: &std::path::Path| {
        let error = Server::start(&binaries, Options::new(data)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&folder.path().display().to_string()), "{text}");
        error
    };
    // Below a file: not to be made, even by root.
    std::fs::write(folder.path().join("file"), "").unwrap();
    let error = start(&folder.path().join("file/data")).await;
    assert!(matches!(error, Error::Path { .. }), "{error}");
    // Something else's.
    std::fs::create_dir_all(folder.path().join("other/data/things")).unwrap();
    let error = start(&folder.path().join("other/data")).await;
    assert!(matches!(error, Error::NotADataFolder(_)), "{error}");
    // Of another version.
    std::fs::create_dir(folder.path().join("old")).unwrap();
    std::fs::write(folder.path().join("old/PG_VERSION"), "9\n").unwrap();
    let error = start(&folder.path().join("old")).await;
    assert!(matches!(error, Error::OtherVersion { .. }), "{error}");
    // Closed: to us, or, as root, to the server's user.
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    let root = rustix::process::geteuid().is_root();
    let mode = if root { 0o700 } else { 0o500 };
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
    let error = start(&closed.join("data")).await;
    match error {
        Error::Unreachable { .. } if root => {}
        Error::Path { .. } if !root => {}
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_wrong_setting_shows_in_the_error() {
    let (binaries, folder) = (binaries().await, folder());
    let mut wrong = options(folder.path());
    wrong.settings.push(("no_such_setting".into(), "1".into()));
    let error = Server::start(&binaries, wrong).await.unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn the_password_is_needed_and_kept_to_ourselves() {
    let (binaries, folder) = (binaries().await, folder());
    let server = Server::start(&binaries, options(folder.path())).await.unwrap();
    let file = folder.path().join("data.password");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let password = std::fs::read_to_string(&file).unwrap();
    let without = server.url("postgres").replace(&password, "guess");
    use sqlx::Connection;
    assert!(sqlx::PgConnection::connect(&without).await.is_err());
    server.stop().await.unwrap();
}
