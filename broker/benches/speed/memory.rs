//! The memory of a process that has much to catch up with.

use std::process::{Command, Stdio};

use broker::Broker;

use crate::consume::Count;
use crate::report::{Aim, Report, thousands};
use crate::world::World;

/// An hour at 100 and at 1,000 records a second.
const QUICK: usize = 360_000;
const FULL: usize = 3_600_000;

pub async fn run(world: &World, report: &mut Report) {
    report.section("memory");
    let log = world.log().await;
    let broker = log.broker().await;
    let records = world.pick(QUICK, FULL);
    log.backlog(world, &broker, records).await;
    broker.shutdown().await;
    let (url, count) = (log.url.clone(), records.to_string());
    let consumer = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--consumer", &url, &count])
            .stderr(Stdio::inherit())
            .output()
            .unwrap()
    });
    let output = consumer.await.unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let mut kib = said.split_whitespace().map(|number| number.parse::<f64>().unwrap());
    let (before, peak) = (kib.next().unwrap(), kib.next().unwrap());
    report.row(
        &format!("peak memory of a consumer {} records behind", thousands(records as f64)),
        format!("{:.0} MiB in all, {:.0} before it began", peak / 1024.0, before / 1024.0),
        (peak - before) / 1024.0,
        " MiB",
        Aim::AtMost(128.0),
    );
    log.close(world).await;
}

/// The process that is measured: consumes all, and prints its peak before and after in KiB.
pub async fn consumer(url: &str, records: usize) {
    let broker = Broker::connect(url).await.unwrap();
    let before = peak();
    let count = Count::new(records);
    let consumer = broker.consumer_group("behind").topic("t", count.clone()).start().await.unwrap();
    count.all().await;
    consumer.stop().await;
    broker.shutdown().await;
    println!("{before} {}", peak());
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
