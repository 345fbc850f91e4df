//! `broker verify`.

use broker::Broker;
use serde_json::json;

use crate::failure::Exit;
use crate::out::Out;
use crate::progress::Spinner;
use crate::text::plural;

pub async fn run(broker: &Broker, out: &mut Out) -> anyhow::Result<Exit> {
    let spinner = Spinner::start("reading the log");
    let findings = broker.findings().await;
    drop(spinner);
    let findings = findings?;
    for finding in &findings {
        out.say(finding, json!({"finding": finding}))?;
    }
    match findings.len() as u64 {
        0 if out.is_json() => Ok(Exit::Done),
        0 => out.line("no findings: every offset is there once").map(|()| Exit::Done),
        _ if out.is_json() => Ok(Exit::Failed),
        n => out.line(plural(n, "finding")).map(|()| Exit::Failed),
    }
}
