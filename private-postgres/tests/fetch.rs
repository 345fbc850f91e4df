//! The download, for real: `cargo test -p private-postgres --test fetch -- --ignored`.

#![allow(clippy::unwrap_used)]

mod common;

use private_postgres::{Binaries, FetchProgress, Server};
use std::sync::Mutex;

#[tokio::test]
#[ignore = "15 MB from the network"]
async fn what_is_fetched_runs_and_is_fetched_once() {
    let folder = common::folder();
    let seen = Mutex::new(Vec::new());
    let fetch =
        || Binaries::fetch_into(folder.path(), |progress| seen.lock().unwrap().push(progress));
    // Two at a time: one waits for the other.
    let (one, two) = tokio::join!(fetch(), fetch());
    let binaries = one.unwrap();
    assert_eq!(binaries, two.unwrap());
    assert_eq!(binaries.version, 18);
    let seen = seen.into_inner().unwrap();
    let count = |is: fn(&FetchProgress) -> bool| seen.iter().filter(|it| is(it)).count();
    assert_eq!(count(|it| matches!(it, FetchProgress::Downloading { .. })), 1, "{seen:?}");
    assert_eq!(count(|it| matches!(it, FetchProgress::Finished { .. })), 1, "{seen:?}");

    let data = common::folder();
    let server = Server::start(&binaries, common::options(data.path())).await.unwrap();
    common::execute(&server.url("postgres"), "create table t (a text)").await;
    assert_eq!(common::count(&server.url("postgres")).await, 0);
    server.stop().await.unwrap();
}
