//! A small run, with real processes and a real server.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn a_small_run_sees_its_faults_and_nothing_wrong() {
    let run = Command::new(env!("CARGO_BIN_EXE_broker-checker"))
        .args(["run", "short", "--json", "--records", "3000", "--faults", "5"])
        .args(["--members", "2", "--producers", "2", "--partitions", "4"])
        .args([
            "--kinds",
            "kill-producer,kill-sequencer,stop-member,crash-postgres,terminate-commit",
        ])
        .output()
        .unwrap();
    let (said, progress) =
        (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert_eq!(run.status.code(), Some(0), "{progress}\n{said}");
    for part in ["\"anomalies\": []", "\"exit_code\": 0", "batches fenced: "] {
        assert!(said.contains(part), "no {part:?} in\n{progress}\n{said}");
    }
}

#[test]
fn an_impossible_run_is_told() {
    let run = Command::new(env!("CARGO_BIN_EXE_broker-checker"))
        .args(["run", "--keep", env!("CARGO_MANIFEST_DIR")])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("name one that does not exist"));
}

/// The page names all that there is.
#[test]
fn the_readme_knows_every_anomaly_and_fault() {
    let page = include_str!("../README.md");
    for kind in broker_checker::Kind::ALL {
        assert!(page.contains(&format!("\n| {} |", kind.name())), "{}", kind.name());
    }
    for fault in broker_checker::Fault::ALL {
        assert!(page.contains(&format!("`{}`", fault.name())), "{}", fault.name());
    }
    for canary in broker_checker::CANARIES {
        assert!(page.contains(&format!("`{}`", canary.name)), "{}", canary.name);
    }
}
