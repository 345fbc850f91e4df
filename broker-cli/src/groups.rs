//! `broker groups`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::{Broker, Place};
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::failure::Exit;
use crate::out::{ALARM, BOLD, Out, Row};
use crate::signals::Signals;
use crate::text::{plural, span};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists groups: topics, members, lag
    List,
    /// Shows where a group is in each partition, its lag and how long that takes to drain
    Describe {
        group: String,

        /// Again every so many seconds, until Ctrl-C
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
              value_parser = clap::value_parser!(u64).range(1..))]
        watch: Option<u64>,
    },
    /// Hands out nothing of a topic to a group until it is resumed, also across restarts
    Pause { group: String, topic: String },
    /// Ends a pause
    Resume { group: String, topic: String },
    /// Forgets groups and their places; a group must have no member left
    Delete {
        #[arg(required = true)]
        groups: Vec<String>,
    },
}

pub async fn run(broker: &Broker, command: Command, out: &mut Out) -> anyhow::Result<Exit> {
    match command {
        Command::List => out.rows(&groups(&broker.places(None).await?))?,
        Command::Describe { group, watch: None } => describe(broker, &group, out).await?,
        Command::Describe { group, watch: Some(seconds) } => {
            let mut signals = Signals::new()?;
            loop {
                if out.has_colours() {
                    // A terminal: from its top left, and nothing left over below.
                    out.raw(b"\x1b[H\x1b[2J")?;
                }
                describe(broker, &group, out).await?;
                out.flush()?;
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
                    () = signals.asked() => break,
                }
            }
        }
        Command::Pause { group, topic } => {
            broker.pause(&group, &topic).await?;
            let told = json!({"group": group, "topic": topic, "paused": true});
            out.say(format!("{group} is paused on {topic}"), told)?;
        }
        Command::Resume { group, topic } => {
            broker.resume(&group, &topic).await?;
            let told = json!({"group": group, "topic": topic, "paused": false});
            out.say(format!("{group} goes on with {topic}"), told)?;
        }
        Command::Delete { groups } => {
            for group in groups {
                broker.delete_group(&group).await?;
                out.say(format!("deleted {group}"), json!({"group": group, "deleted": true}))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn describe(broker: &Broker, group: &str, out: &mut Out) -> anyhow::Result<()> {
    let places = broker.places(Some(group)).await?;
    if let (false, [of]) = (out.is_json(), &groups(&places)[..]) {
        let name = out.paint(BOLD, group);
        let members = plural(of.members as u64, "member");
        let lag = plural(of.lag.max(0) as u64, "record");
        out.line(format!("{name}: {members}, {lag} behind"))?;
        let paused: BTreeSet<&str> =
            places.iter().filter(|place| place.paused).map(|place| &*place.topic).collect();
        for topic in paused {
            out.line(out.paint(ALARM, format!("paused on {topic}")))?;
        }
    }
    out.rows(&places.into_iter().map(Partition::from).collect::<Vec<_>>())
}

#[derive(Serialize)]
struct Group {
    group: String,
    topics: Vec<String>,
    /// Those that are alive and own a partition.
    members: usize,
    lag: i64,
}

fn groups(places: &[Place]) -> Vec<Group> {
    let mut by_name: BTreeMap<&str, Vec<&Place>> = BTreeMap::new();
    for place in places {
        by_name.entry(&place.consumer_group).or_default().push(place);
    }
    let group = |(name, places): (&str, Vec<&Place>)| {
        let topics: BTreeSet<_> = places.iter().map(|place| place.topic.clone()).collect();
        let alive = places.iter().filter(|place| place.process.is_some());
        let members: BTreeSet<_> = alive.filter_map(|place| place.member).collect();
        Group {
            group: name.to_owned(),
            topics: topics.into_iter().collect(),
            members: members.len(),
            lag: places.iter().map(|place| place.lag).sum(),
        }
    };
    by_name.into_iter().map(group).collect()
}

impl Row for Group {
    const COLUMNS: &'static [&'static str] = &["GROUP", ">MEMBERS", ">LAG", "TOPICS"];

    fn cells(&self) -> Vec<String> {
        let Group { group, topics, members, lag } = self;
        vec![group.clone(), members.to_string(), lag.to_string(), topics.join(", ")]
    }
}

#[derive(Serialize)]
struct Partition {
    group: String,
    topic: String,
    partition: i32,
    member: Option<i32>,
    process: Option<String>,
    generation: i32,
    log_start: i64,
    committed: i64,
    end: i64,
    lag: i64,
    lag_seconds: Option<f64>,
    /// None where at this pace it would never be.
    seconds_to_drain: Option<f64>,
    paused: bool,
}

impl From<Place> for Partition {
    fn from(place: Place) -> Partition {
        Partition {
            seconds_to_drain: place.seconds_to_drain(),
            group: place.consumer_group,
            topic: place.topic,
            partition: place.partition,
            member: place.member,
            process: place.process,
            generation: place.generation,
            log_start: place.log_start,
            committed: place.committed,
            end: place.end,
            lag: place.lag,
            lag_seconds: place.lag_seconds,
            paused: place.paused,
        }
    }
}

impl Row for Partition {
    const COLUMNS: &'static [&'static str] = &[
        "TOPIC",
        ">PARTITION",
        ">MEMBER",
        "PROCESS",
        ">GENERATION",
        ">COMMITTED",
        ">END",
        ">LAG",
        ">LAG TIME",
        ">DRAINS IN",
    ];

    fn cells(&self) -> Vec<String> {
        let none = || "-".to_owned();
        // An owner that is not alive has lost the partition; nobody took it yet.
        let process = match (&self.process, self.member) {
            (Some(process), _) => process.clone(),
            (None, Some(_)) => "(gone)".into(),
            (None, None) => none(),
        };
        let drains = match self.seconds_to_drain {
            Some(_) if self.lag == 0 => none(),
            Some(seconds) => span(seconds),
            None => "never".into(),
        };
        vec![
            self.topic.clone(),
            self.partition.to_string(),
            self.member.map_or_else(none, |member| member.to_string()),
            process,
            self.generation.to_string(),
            self.committed.to_string(),
            self.end.to_string(),
            self.lag.to_string(),
            self.lag_seconds.map_or_else(none, span),
            drains,
        ]
    }
}
