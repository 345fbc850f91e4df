//! Reading along, without a group.

use std::collections::HashMap;
use std::time::Duration;

use broker::{Broadcast, Broker, Position, Record};

use crate::failure::{Exit, tell};
use crate::out;
use crate::signals::Signals;

use super::Args;
use super::show::Show;

pub async fn run(broker: &Broker, args: &Args, show: &Show) -> anyhow::Result<Exit> {
    let mut places = Vec::new();
    let mut goal = Goal { left: args.count, ends: args.exit.then(Ends::default) };
    for topic in &args.topics {
        let from = args.offset.find(broker, topic, args.partition).await?;
        let ends = match args.exit {
            true => broker.offsets(topic, args.partition, Position::Latest).await?,
            false => Vec::new(),
        };
        let ends: HashMap<i32, u64> = ends.into_iter().collect();
        for (partition, offset) in from {
            let end = ends.get(&partition).copied();
            // What has nothing before its end is not waited for.
            if end.is_none_or(|end| offset < end) {
                places.push((topic.as_str(), partition, offset));
                goal.add(topic, partition, end);
            }
        }
    }
    let mut reader = broker.broadcast_from(&places).await?;
    if args.partition.is_none() && !args.exit {
        reader = reader.with_added_partitions();
    }
    let mut signals = Signals::new()?;
    while !goal.is_reached() {
        let records = tokio::select! {
            records = next(&mut reader, args.exit) => records?,
            () = signals.asked() => break,
        };
        let mut bytes = Vec::new();
        for record in &records {
            if goal.takes(record) {
                show.write(record, &mut bytes)?;
            }
        }
        // Who reads the pipe may be in no hurry, and Ctrl-C is heard meanwhile.
        tokio::select! {
            written = tokio::task::spawn_blocking(move || out::write(&bytes)) => written??,
            () = signals.asked() => break,
        }
    }
    Ok(Exit::Done)
}

/// The next records. Who follows waits for a server that is away, and is told so once.
async fn next(reader: &mut Broadcast, exit: bool) -> Result<Vec<Record>, broker::Error> {
    let mut told = false;
    loop {
        match reader.next().await {
            Err(error) if error.is_transient() && !exit => {
                if !std::mem::replace(&mut told, true) {
                    tell(&anyhow::Error::new(error).context("trying again"));
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            records => return records,
        }
    }
}

/// Where a topic's partitions end, by name.
type Ends<'a> = HashMap<&'a str, HashMap<i32, u64>>;

/// What is still to come before it ends.
struct Goal<'a> {
    left: Option<u64>,
    /// Of partitions that have not got there.
    ends: Option<Ends<'a>>,
}

impl<'a> Goal<'a> {
    fn add(&mut self, topic: &'a str, partition: i32, end: Option<u64>) {
        if let (Some(ends), Some(end)) = (&mut self.ends, end) {
            ends.entry(topic).or_default().insert(partition, end);
        }
    }

    fn is_reached(&self) -> bool {
        self.left == Some(0)
            || self.ends.as_ref().is_some_and(|ends| ends.values().all(HashMap::is_empty))
    }

    /// Whether the record is still wanted.
    fn takes(&mut self, record: &Record) -> bool {
        if self.left == Some(0) {
            return false;
        }
        if let Some(ends) = &mut self.ends {
            let Some(ends) = ends.get_mut(record.topic()) else { return false };
            let Some(&end) = ends.get(&record.partition()) else { return false };
            if record.offset() + 1 >= end {
                ends.remove(&record.partition());
            }
            // It may have been deleted before it was read.
            if record.offset() >= end {
                return false;
            }
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        true
    }
}
