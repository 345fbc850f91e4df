//! One run: canaries, processes, faults, quiet, verdict.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use private_postgres::reachable_data_dir;

use crate::actors::Role;
use crate::analysis::analyse;
use crate::canary::CANARIES;
use crate::cast::Cast;
use crate::collect::Collector;
use crate::database;
use crate::faults::{Stage, plan};
use crate::options::RunOptions;
use crate::report::{Counts, Inflicted, Report, Stuck};

/// How long the group may take for what is left when nobody sends any more.
const DRAIN: Duration = Duration::from_secs(180);

/// Within seconds, or something is wrong with the analysis.
const CANARY_PATIENCE: Duration = Duration::from_secs(15);

/// Runs it. Whether the log is right and whether the checker can be trusted is in the report.
///
/// # Errors
/// Where the run itself could not be made: no Postgres, a canary that was not flagged, a server
/// that does not come back.
pub async fn run(options: &RunOptions) -> anyhow::Result<Report> {
    let seed = options.seed.unwrap_or_else(rand::random);
    say(&format!("seed {seed}: repeat this schedule with --seed {seed}"));
    let folder = options.keep.clone().unwrap_or_else(|| scratch("history"));
    std::fs::create_dir(&folder).with_context(|| {
        format!("the folder {} cannot be made: name one that does not exist", folder.display())
    })?;
    let data = reachable_data_dir(&scratch("data").join("data"))?;
    let report = tokio::select! {
        report = within(options, seed, &folder, &data) => report,
        interrupt = tokio::signal::ctrl_c() => Err(match interrupt {
            Ok(()) => anyhow::anyhow!("interrupted"),
            Err(error) => error.into(),
        }),
    };
    // Beside the data lie the server's password and its log.
    remove(data.parent().unwrap_or(&data)).await;
    match report.as_ref().is_ok_and(|report| report.exit_code() == 0) && options.keep.is_none() {
        true => remove(&folder).await,
        false => say(&format!("the histories are in {}", folder.display())),
    }
    report
}

/// The server may still be writing its last words.
async fn remove(folder: &Path) {
    for _ in 0..50 {
        match std::fs::remove_dir_all(folder) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    say(&format!("{} could not be removed", folder.display()));
}

async fn within(
    options: &RunOptions,
    seed: u64,
    folder: &Path,
    data: &Path,
) -> anyhow::Result<Report> {
    let began = Instant::now();
    let server = database::start(data).await?;
    let pool = database::create(&server, options.partitions).await?;
    let url = database::url(&server);
    let mut canaries = Vec::new();
    for canary in CANARIES {
        let flagged = canary.fly(&pool, &url, seed, CANARY_PATIENCE).await?;
        say(&format!("{flagged}"));
        canaries.push(flagged);
    }

    let cast = Cast {
        folder: folder.to_owned(),
        url: url.clone(),
        seed,
        rate: options.rate / f64::from(options.producers),
        actors: Vec::new(),
        collector: Collector::default(),
        unexpected: Vec::new(),
    };
    let mut stage = Stage { server, url, pool, cast, held: Vec::new() };
    let roles = [
        (Role::Reader, "r", 1),
        (Role::Member, "m", options.members),
        (Role::Producer, "p", options.producers),
    ];
    for (role, letter, count) in roles {
        for n in 1..=count {
            stage.cast.add(role, format!("{letter}{n}"))?;
        }
    }
    let (inflicted, mut trouble) = break_things(&mut stage, options, seed).await?;
    trouble.extend(quiet(&mut stage).await?);
    trouble.append(&mut stage.cast.unexpected);

    say("reading the log and the effects");
    let end = database::read_final(&stage.pool).await?;
    std::fs::write(folder.join("final.json"), serde_json::to_vec(&end)?)?;
    let history = std::mem::take(&mut stage.cast.collector.history);
    let anomalies = analyse(&history, &end);
    let report = Report {
        seed,
        took: began.elapsed(),
        canaries,
        planned: options.kinds(),
        inflicted,
        counts: Counts::new(&history, &end, stage.cast.collector.acknowledged),
        trouble,
        anomalies,
    };
    stage.pool.close().await;
    stage.server.stop().await?;
    Ok(report)
}

/// All faults of the schedule, and records until there are enough.
async fn break_things(
    stage: &mut Stage,
    options: &RunOptions,
    seed: u64,
) -> anyhow::Result<(Vec<Inflicted>, Vec<String>)> {
    let schedule = plan(seed, options.faults(), &options.kinds());
    let (mut inflicted, mut trouble) = (Vec::new(), Vec::new());
    // Something to break.
    enough(stage, 100).await?;
    let stuck = |error: &anyhow::Error| error.downcast_ref::<Stuck>().map(Stuck::to_string);
    for (n, planned) in schedule.iter().enumerate() {
        stage.rest(planned.after).await?;
        let seen = stage.inflict(planned).await;
        let name = planned.fault.name();
        let acknowledged = stage.cast.collector.acknowledged;
        let head = format!("{:>3}/{} {name:<18}", n + 1, schedule.len());
        match &seen {
            Ok(seen) => say(&format!("{head} {seen} ({acknowledged} records)")),
            Err(error) => say(&format!("{head} NOT DONE: {error:#}")),
        }
        trouble.extend(seen.as_ref().err().and_then(stuck));
        let seen = seen.map_err(|error| format!("{error:#}"));
        inflicted.push(Inflicted { fault: planned.fault, seen });
    }
    for held in std::mem::take(&mut stage.held) {
        say(&held.await??);
    }
    enough(stage, options.records()).await?;
    Ok((inflicted, trouble))
}

/// Waits until so many records are acknowledged.
async fn enough(stage: &mut Stage, records: usize) -> anyhow::Result<()> {
    let mut last = (0, Instant::now());
    while stage.cast.collector.acknowledged < records {
        stage.rest(Duration::from_millis(200)).await?;
        let acknowledged = stage.cast.collector.acknowledged;
        if acknowledged > last.0 {
            last = (acknowledged, Instant::now());
        }
        if last.1.elapsed() > Duration::from_secs(60) {
            anyhow::bail!(Stuck(format!(
                "no record was acknowledged for a minute, {acknowledged} before"
            )));
        }
    }
    Ok(())
}

/// Nobody sends any more; the group and the reader get to the end. Returns what did not.
async fn quiet(stage: &mut Stage) -> anyhow::Result<Vec<String>> {
    stage.rest(Duration::ZERO).await?;
    stage.cast.stop(Role::Producer).await?;
    say(&format!(
        "{} records acknowledged; waiting for the group",
        stage.cast.collector.acknowledged
    ));
    let mut trouble = Vec::new();
    let until = Instant::now() + DRAIN;
    let mut drained = false;
    let mut read = false;
    while Instant::now() < until && !(drained && read) {
        stage.cast.collect_all()?;
        drained = database::is_drained(&stage.pool).await?;
        let ends = database::ends(&stage.pool).await?;
        read = ends.iter().all(|(partition, end)| {
            stage.cast.collector.read_to.get(partition).copied().unwrap_or(0) >= *end
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if !drained {
        trouble.push(format!("the group was not through after {} s", DRAIN.as_secs()));
    }
    if !read {
        trouble.push(format!("the reader was not through after {} s", DRAIN.as_secs()));
    }
    stage.cast.stop(Role::Member).await?;
    stage.cast.stop(Role::Reader).await?;
    Ok(trouble)
}

/// A name that no run before has left behind.
fn scratch(what: &str) -> PathBuf {
    let number: u32 = rand::random();
    std::env::temp_dir().join(format!("broker-checker-{what}-{number:08x}"))
}

fn say(line: &str) {
    eprintln!("{line}");
}
