//! How findings are told: the first of each kind, the rest counted.

use dashboard::control::{Finding, Report, Told};
use futures::{Stream, TryStreamExt};

/// What is told of one question; the rest is counted.
const TOLD_OF_EACH: usize = 20;
const MAX_CHARS: usize = 400;

/// Keeps the first of many sentences.
pub async fn told(sentences: impl Stream<Item = sqlx::Result<String>>) -> sqlx::Result<Told> {
    let told = async |mut told: Told, sentence: String| {
        if told.first.len() < TOLD_OF_EACH {
            told.first.push(sentence.chars().take(MAX_CHARS).collect());
        } else {
            told.more += 1;
        }
        Ok(told)
    };
    sentences.try_fold(Told::default(), told).await
}

/// What is not true, where anything speaks against it.
pub fn finding(promise: &str, wrong: Told) -> Option<Finding> {
    (!wrong.first.is_empty()).then(|| Finding { promise: promise.to_owned(), wrong })
}

pub fn print(report: &Report) {
    println!("{}", report.counts.join(", "));
    for letter in &report.dead_letters.first {
        println!("note: {letter}");
    }
    if report.dead_letters.more > 0 {
        println!("note: and {} dead letters more", report.dead_letters.more);
    }
    if report.findings.is_empty() {
        println!("verified: nothing is missing, nothing is double, nothing is left over");
    }
    for Finding { promise, wrong } in &report.findings {
        println!("NOT TRUE: {promise}");
        for sentence in &wrong.first {
            println!("  {sentence}");
        }
        if wrong.more > 0 {
            println!("  and {} more", wrong.more);
        }
    }
}
