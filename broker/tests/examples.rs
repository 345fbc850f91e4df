//! Every example runs, and prints what lies beside it.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::log;

/// `cargo test` has built them, beside this test.
async fn prints(name: &str) {
    let exe = std::env::current_exe().unwrap();
    let example = exe.ancestors().nth(2).unwrap().join("examples").join(name);
    let log = log().await;
    let run = tokio::process::Command::new(example).env("DATABASE_URL", &log.url).output();
    let run = run.await.unwrap_or_else(|error| {
        panic!("{name}: {error}; `cargo test` without --test builds the examples too")
    });
    let (out, err) =
        (String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap());
    assert!(run.status.success(), "{name}: {err}\n{out}");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let expected = std::fs::read_to_string(examples.join(format!("{name}.out"))).unwrap();
    assert_eq!(out, expected, "{name}: {err}");
}

#[tokio::test]
async fn quickstart() {
    prints("quickstart").await;
}

#[tokio::test]
async fn outbox() {
    prints("outbox").await;
}

#[tokio::test]
async fn workers() {
    prints("workers").await;
}

#[tokio::test]
async fn projection() {
    prints("projection").await;
}

#[tokio::test]
async fn dead_letter() {
    prints("dead_letter").await;
}

/// The README shows the first of them whole, with what it prints.
#[test]
fn the_readme_has_the_quickstart() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (readme, code) = (read("README.md"), read("examples/quickstart.rs"));
    let (_, code) = code.split_once("\n\n").unwrap();
    assert!(readme.contains(code), "README.md does not show examples/quickstart.rs as it is");
    assert!(readme.contains(&read("examples/quickstart.out")), "README.md shows other output");
}
