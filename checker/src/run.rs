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
use crate::faults::{Fault, Stage, plan};
use crate::report::{Counts, Inflicted, Report};

/// How long the group may take for what is left when nobody sends any more.
const DRAIN: Duration = Duration::from_secs(180);

/// Within seconds, or something is wrong with the analysis.
const CANARY_PATIENCE: Duration = Duration::from_secs(15);

/// How long and how hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Two minutes: 40,000 acknowledged records and 24 faults, every kind at least twice.
    Short,
    /// 100,000 acknowledged records and 60 faults.
    Long,
}

/// What a run is to be.
#[derive(Debug, Clone, clap::Args)]
pub struct RunOptions {
    /// What the other settings are where they are not given.
    #[arg(value_enum, default_value = "short")]
    pub preset: Preset,
    /// Repeats the schedule of a run that printed this.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many records are to be acknowledged at least.
    #[arg(long)]
    pub records: Option<usize>,
    /// How many faults.
    #[arg(long)]
    pub faults: Option<usize>,
    /// Only these kinds, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub kinds: Vec<Fault>,
    /// Processes that send.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub producers: u32,
    /// Processes in the group: at least two, or nobody could take over.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=20))]
    pub members: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
    /// Records a second of all producers together, as long as nothing breaks.
    #[arg(long, default_value_t = 900.0)]
    pub rate: f64,
    /// Keeps the histories in this folder, which must not exist yet. Those of a run that found
    /// something are kept anyhow.
    #[arg(long)]
    pub keep: Option<PathBuf>,
    /// Says it as JSON, for machines; progress goes to standard error.
    #[arg(long)]
    pub json: bool,
}

impl RunOptions {
    fn records(&self) -> usize {
        self.records.unwrap_or(match self.preset {
            Preset::Short => 40_000,
            Preset::Long => 100_000,
        })
    }

    fn faults(&self) -> usize {
        self.faults.unwrap_or(match self.preset {
            Preset::Short => 24,
            Preset::Long => 60,
        })
    }

    fn kinds(&self) -> Vec<Fault> {
        match self.kinds.is_empty() {
            true => Fault::ALL.to_vec(),
            false => self.kinds.clone(),
        }
    }
}

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
    let inflicted = break_things(&mut stage, options, seed).await?;
    let trouble = quiet(&mut stage).await?;

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
        trouble: trouble.into_iter().chain(std::mem::take(&mut stage.cast.unexpected)).collect(),
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
) -> anyhow::Result<Vec<Inflicted>> {
    let schedule = plan(seed, options.faults(), &options.kinds());
    let mut inflicted = Vec::new();
    // Something to break.
    enough(stage, 100).await?;
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
        let seen = seen.map_err(|error| format!("{error:#}"));
        inflicted.push(Inflicted { fault: planned.fault, seen });
    }
    for held in std::mem::take(&mut stage.held) {
        say(&held.await??);
    }
    enough(stage, options.records()).await?;
    Ok(inflicted)
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
            anyhow::bail!("no record was acknowledged for a minute; there were {acknowledged}");
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

/// Of this process alone.
fn scratch(what: &str) -> PathBuf {
    std::env::temp_dir().join(format!("broker-checker-{}-{what}", std::process::id()))
}

fn say(line: &str) {
    eprintln!("{line}");
}
