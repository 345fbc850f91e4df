//! What the log takes when nothing is published.

use std::fs;
use std::time::{Duration, Instant};

use crate::consume::Count;
use crate::report::{Aim, Report};
use crate::world::World;

/// Postgres itself writes a note of what is open, 15 s after the last change or when its writer
/// next wakes up, which while idle is within 10 s more.
const SETTLE: Duration = Duration::from_secs(27);

pub async fn run(world: &World, report: &mut Report) {
    report.section("idle");
    let log = world.log().await;
    let broker = log.broker().await;
    let group = broker.consumer_group("idle").topic("t", Count::new(usize::MAX));
    let consumer = group.start().await.unwrap();
    broker.publish([world.record(0)]).await.unwrap();
    tokio::time::sleep(SETTLE).await;
    let fsyncs = "select wal_sync from pg_stat_wal";
    let before: i64 = sqlx::query_scalar(fsyncs).fetch_one(&log.pool).await.unwrap();
    let (begun, cpu) = (Instant::now(), [own_cpu(), postgres_cpu(world.server.pid())]);
    tokio::time::sleep(world.pick(Duration::from_secs(10), Duration::from_secs(60))).await;
    let percent = |now: f64, then: f64| (now - then) / begun.elapsed().as_secs_f64() * 100.0;
    let own = percent(own_cpu(), cpu[0]);
    let postgres = percent(postgres_cpu(world.server.pid()), cpu[1]);
    let after: i64 = sqlx::query_scalar(fsyncs).fetch_one(&log.pool).await.unwrap();
    report.row(
        "CPU when idle",
        format!("{own:.2}% the process, {postgres:.2}% Postgres"),
        own + postgres,
        "% of a core",
        Aim::AtMost(1.0),
    );
    report.row("fsyncs when idle", "", (after - before) as f64, "", Aim::AtMost(0.0));
    consumer.stop().await;
    broker.shutdown().await;
    log.close(world).await;
}

/// Seconds of CPU that a process's threads took.
fn cpu(pid: &str) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let nanos = tasks.flatten().filter_map(|task| {
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}

fn own_cpu() -> f64 {
    cpu("self")
}

/// The postmaster and its children.
fn postgres_cpu(postmaster: u32) -> f64 {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = entry.file_name().into_string().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // Behind the name: the state and the parent.
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok()?;
        (pid == postmaster.to_string() || parent == postmaster).then_some(pid)
    });
    pids.map(|pid| cpu(&pid)).sum()
}
