//! The server's machine is lost, and its synchronous standby takes over at the same address.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use broker::NewRecord;
use common::{Keep, Log, effects, eventually};
use private_postgres::{Binaries, Options, Server, Signal};
use sqlx::PgPool;

fn run(program: &str, args: &[&Path]) {
    assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
}

/// A copy of a stopped server's folder, that follows the server at `port`.
fn standby_of(primary: &Path, copy: &Path) -> Options {
    run("cp", &[Path::new("-a"), primary, copy]);
    let beside = |folder: &Path| folder.with_extension("password");
    run("cp", &[Path::new("-a"), &beside(primary), &beside(copy)]);
    // A file of the right owner.
    run("cp", &[Path::new("-a"), &copy.join("PG_VERSION"), &copy.join("standby.signal")]);
    Options::new(copy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_the_loss_of_the_primary() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = Binaries::find_or_fetch(|_| {}).await.unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let primary = Server::start(&binaries, Options::new(&first)).await.unwrap();
    let pool = PgPool::connect(&primary.url("postgres")).await.unwrap();
    broker::migrate(&pool).await.unwrap();
    effects(&pool).await;
    pool.close().await;
    let (port, url) = (primary.port(), primary.url("postgres"));
    primary.stop().await.unwrap();

    let mut standby = standby_of(&first, &second);
    let login = url.strip_prefix("postgres://").unwrap().split_once('@').unwrap().0;
    let password = login.split_once(':').unwrap().1;
    let follow = format!(
        "host=127.0.0.1 port={port} user=postgres password={password} application_name=standby"
    );
    standby.settings = vec![("primary_conninfo".into(), follow)];
    let mut options = Options::new(&first);
    options.port = Some(port);
    options.settings = vec![("synchronous_standby_names".into(), "standby".into())];
    // The standby first: the primary's every commit waits for it.
    let standby = Server::start(&binaries, standby).await.unwrap();
    let mut primary = Server::start(&binaries, options).await.unwrap();

    let log = Log { pool: PgPool::connect(&url).await.unwrap(), url: url.clone() };
    let broker = log.broker().await;
    broker.create_topic("t", 3).await.unwrap();
    let group = broker.consumer_group("g").topic("t", Keep::default()).start().await.unwrap();

    let (asked, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let publish = || async {
        let mut acknowledged = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let n = asked.fetch_add(1, Ordering::Relaxed).to_string();
            // What fails may be in the log or not; it is not asked for again.
            match broker.publish([NewRecord::new("t", n.clone()).key(n.clone())]).await {
                Ok(()) => acknowledged.push(n),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
        acknowledged
    };
    let fail_over = async {
        eventually("some records to be handled", || async {
            (log.handled().await.0 > 200).then_some(())
        })
        .await;
        primary.signal(Signal::Kill).unwrap();
        primary.wait().await.unwrap();
        let admin = PgPool::connect(&standby.url("postgres")).await.unwrap();
        let promoted: bool =
            sqlx::query_scalar("select pg_promote()").fetch_one(&admin).await.unwrap();
        assert!(promoted);
        admin.close().await;
        standby.stop().await.unwrap();
        // At the address of the one that is gone.
        let mut options = Options::new(&second);
        options.port = Some(port);
        let promoted = Server::start(&binaries, options).await.unwrap();
        let before = asked.load(Ordering::Relaxed);
        eventually("publishing to go on", || async {
            (asked.load(Ordering::Relaxed) > before + 200).then_some(())
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        promoted
    };
    let (one, two, three, promoted) = futures::join!(publish(), publish(), publish(), fail_over);
    let acknowledged = [one, two, three].concat();

    let log = Log { pool: PgPool::connect(&url).await.unwrap(), url };
    log.caught_up("g").await;
    let values: Vec<String> =
        sqlx::query_scalar("select value from effect").fetch_all(&log.pool).await.unwrap();
    let handled: std::collections::HashSet<&String> = values.iter().collect();
    assert_eq!(values.len(), handled.len(), "some were handled twice");
    let lost: Vec<_> = acknowledged.iter().filter(|n| !handled.contains(n)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    assert!(log.dense().await);
    group.stop().await;
    broker.shutdown().await;
    promoted.stop().await.unwrap();
}
