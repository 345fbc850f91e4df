//! What README.md shows is what is printed. `BLESS=1` writes it anew.

use std::path::Path;
use std::process::Command;

use crate::common::{Log, log};
use crate::operate::give_up;

#[tokio::test]
async fn the_readme_shows_what_is_printed() {
    let log = log().await;
    let mailer = log.filled("invoice", 1, 5).await;
    give_up(&log, &mailer, "mailer", "invoice", 5).await;
    mailer.shutdown().await;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (mut told, mut session) = (String::new(), false);
    for line in readme.lines() {
        session = session && line != "```" || line == "```console";
        match line.strip_prefix("$ ") {
            Some(command) if session => told += &format!("{line}\n{}", shell(&log, command)),
            // What was printed when it was written.
            _ if session && line != "```console" => {}
            _ => told += &format!("{line}\n"),
        }
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    assert_eq!(mask(&readme), mask(&told));
}

/// As a person has it before them: both outputs, and the exit code where it is not 0.
fn shell(log: &Log, command: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_broker")).parent().unwrap().to_owned();
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(folder).chain(std::env::split_paths(&paths));
    let output = Command::new("sh")
        .args(["-c", &format!("({command}) 2>&1; code=$?; [ $code = 0 ] || echo \"[$code]\"")])
        .env("PATH", std::env::join_paths(paths).unwrap())
        .env("BROKER_URL", &log.url)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Without times and spans, which differ from run to run, and the width that they take.
fn mask(text: &str) -> Vec<String> {
    let is_time =
        |word: &str| word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let word = |word: &str| match word {
        word if is_time(word) => "TIME".to_owned(),
        word if word.contains('.') && word.parse::<f64>().is_ok() => "SPAN".to_owned(),
        word => word.to_owned(),
    };
    let separators = |char: char| char.is_whitespace() || char == '"';
    text.lines()
        .map(|line| line.split(separators).filter(|part| !part.is_empty()).map(word))
        .map(|words| words.collect::<Vec<_>>().join(" "))
        .collect()
}
