//! A guarded child: its end is seen, its signals arrive, and it never outlives its parent.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{kill, parent, parent_folder, say_and_wait, wait_gone};
use private_postgres::{GuardedCommand, Signal};
use rustix::process::Signal as Raw;

const SOON: Duration = Duration::from_secs(5);
/// Polite words do not help here. It says when it is deaf.
const DEAF: &str = "trap '' TERM INT; echo deaf; while :; do sleep 0.1; done";

#[tokio::test]
async fn the_childs_exit_status_is_the_guards() {
    let mut guard = GuardedCommand::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    assert_eq!(guard.wait().await.unwrap().code(), Some(7));
    assert!(guard.signal(Signal::Terminate).is_err(), "there is no one to signal");
    let mut guard = GuardedCommand::new("/no/such/program").stderr(Stdio::null()).spawn().unwrap();
    assert_eq!(guard.wait().await.unwrap().code(), Some(127));
}

#[tokio::test]
async fn output_is_piped_and_words_arrive_whole() {
    let mut guard = GuardedCommand::new("printf")
        .args(["[%s]", "two words", "", "$HOME;'\"", "*"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    guard.take_stdout().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "[two words][][$HOME;'\"][*]");
    assert!(guard.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_killed_child_ends_the_guard_at_once() {
    let mut guard = GuardedCommand::new("sleep").arg("60").spawn().unwrap();
    let started = Instant::now();
    kill(guard.pid(), Raw::KILL);
    assert_eq!(guard.wait().await.unwrap().code(), Some(137));
    assert!(started.elapsed() < SOON);
}

#[tokio::test]
async fn nothing_is_added_to_the_childs_errors() {
    let mut guard = GuardedCommand::new("sleep").arg("60").stderr(Stdio::piped()).spawn().unwrap();
    guard.signal(Signal::Kill).unwrap();
    let mut said = String::new();
    guard.take_stderr().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

#[tokio::test]
async fn signals_are_passed_on() {
    let mut guard = GuardedCommand::new("sleep").arg("60").spawn().unwrap();
    guard.signal(Signal::Stop).unwrap();
    guard.signal(Signal::Continue).unwrap();
    guard.signal(Signal::Kill).unwrap();
    assert_eq!(guard.wait().await.unwrap().code(), Some(137));
}

#[tokio::test]
async fn stop_asks_with_the_chosen_signal() {
    let mut guard = GuardedCommand::new("sh")
        .args(["-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_words(&mut guard);
    assert_eq!(guard.stop().await.unwrap().code(), Some(3));
}

#[tokio::test]
async fn a_child_that_stands_still_is_asked_too() {
    let mut guard = GuardedCommand::new("sh")
        .args(["-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_words(&mut guard);
    guard.signal(Signal::Stop).unwrap();
    assert_eq!(guard.stop().await.unwrap().code(), Some(3));
}

#[tokio::test]
async fn a_deaf_child_is_killed_after_its_grace() {
    let mut guard = GuardedCommand::new("sh")
        .args(["-c", DEAF])
        .stdout(Stdio::piped())
        .grace(Duration::from_millis(500))
        .spawn()
        .unwrap();
    wait_for_words(&mut guard);
    let (pid, started) = (guard.pid(), Instant::now());
    assert!(!guard.stop().await.unwrap().success());
    assert!(started.elapsed() >= Duration::from_millis(500));
    assert!(wait_gone(pid, SOON));
}

#[tokio::test]
async fn a_dropped_guard_stops_its_child() {
    let guard = GuardedCommand::new("sleep").arg("60").spawn().unwrap();
    let pid = guard.pid();
    drop(guard);
    assert!(wait_gone(pid, SOON));
}

#[test]
fn a_killed_parent_leaves_no_child() {
    let folder = common::folder();
    let (mut it, child) = parent("parent_of_a_deaf_child", folder.path());
    assert!(!wait_gone(child, Duration::from_millis(50)), "it runs");
    it.kill().unwrap();
    it.wait().unwrap();
    assert!(wait_gone(child, SOON));
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn parent_of_a_deaf_child() {
    if parent_folder().is_some() {
        let mut guard = GuardedCommand::new("sh")
            .args(["-c", DEAF])
            .stdout(Stdio::piped())
            .grace(Duration::from_millis(500))
            .spawn()
            .unwrap();
        wait_for_words(&mut guard);
        say_and_wait(guard.pid());
    }
}

fn wait_for_words(guard: &mut private_postgres::Guard) {
    let mut byte = [0];
    // Kept open: whoever writes to a closed pipe is ended by that.
    let mut output = guard.take_stdout().unwrap();
    output.read_exact(&mut byte).unwrap();
    std::mem::forget(output);
}
