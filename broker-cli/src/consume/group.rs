//! Consuming as a member of a group.

use std::sync::Arc;
use std::time::Duration;

use broker::{AfterRetries, Broker, Handler, HandlerError, Record, Retry, Transaction};
use tokio::sync::{Mutex, mpsc};

use crate::connect;
use crate::failure::Exit;
use crate::out;
use crate::signals::Signals;

use super::Args;
use super::show::Show;

/// How often it is asked whether the group is at the end.
const LOOK: Duration = Duration::from_millis(200);

pub async fn run(broker: &Broker, name: &str, args: &Args, show: Show) -> anyhow::Result<Exit> {
    let start = args.offset.of_group()?;
    let (ended, mut end) = mpsc::unbounded_channel();
    let printer = Arc::new(Printer { show, left: Mutex::new(args.count), ended });
    let mut group = broker
        .consumer_group(name)
        .start_at(start)
        // Whatever fails here is the output's fault, never a record's.
        .retry(Retry { then: AfterRetries::Block, ..Retry::default() });
    for topic in &args.topics {
        group = group.topic(topic, Member(printer.clone()));
    }
    let mut signals = Signals::new()?;
    let consumer = group.start().await?;
    let result = tokio::select! {
        result = end.recv() => result.unwrap_or(Ok(())),
        result = at_end(broker, name, args), if args.exit => result,
        () = signals.asked() => Ok(()),
    };
    // The handler has no more to say from here on, and the records in its hands stay the
    // group's to handle.
    connect::ending();
    tokio::select! {
        () = broker.shutdown() => {}
        // The batch in hand may be stuck in a pipe that nobody reads.
        () = signals.asked() => {}
    }
    drop(consumer);
    result.map(|()| Exit::Done)
}

/// Completes when the group has committed all that there is now, by whichever member.
async fn at_end(broker: &Broker, group: &str, args: &Args) -> anyhow::Result<()> {
    let mut ends = Vec::new();
    for topic in &args.topics {
        for partition in broker.partitions(topic).await? {
            ends.push((topic.as_str(), partition.partition, partition.end));
        }
    }
    loop {
        for place in broker.places(Some(group)).await? {
            ends.retain(|(topic, partition, end)| {
                (*topic, *partition) != (place.topic.as_str(), place.partition)
                    || place.committed < *end
            });
        }
        if ends.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Printer {
    show: Show,
    /// How many are still to be printed; also keeps batches of several partitions apart.
    left: Mutex<Option<u64>>,
    /// Why it is over.
    ended: mpsc::UnboundedSender<anyhow::Result<()>>,
}

/// A topic's handler; all share one printer.
struct Member(Arc<Printer>);

impl Handler for Member {
    async fn handle(&self, _: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        self.0.print(records).await
    }
}

impl Printer {
    async fn print(&self, records: &[Record]) -> Result<(), HandlerError> {
        let mut left = self.left.lock().await;
        match *left {
            Some(0) => return Err(not_now()),
            // The batch comes again in parts, the first of which is as long as it should be.
            Some(n) if n < records.len() as u64 => {
                let cut = std::io::Error::other("more than is wanted");
                return Err(HandlerError::from(cut).at(&records[n as usize]));
            }
            _ => {}
        }
        let mut bytes = Vec::new();
        for record in records {
            if let Err(error) = self.show.write(record, &mut bytes) {
                return Err(self.over(&mut left, Err(error)));
            }
        }
        // A slow reader must not hold up the threads that keep this member alive.
        let written = tokio::task::spawn_blocking(move || out::write(&bytes)).await;
        if let Err(error) = written.unwrap_or_else(|panic| Err(panic.into())) {
            return Err(self.over(&mut left, Err(error)));
        }
        if let Some(n) = &mut *left {
            *n -= records.len() as u64;
            if *n == 0 {
                // Heard after this batch: a shutdown waits for its commit.
                let _ = self.ended.send(Ok(()));
            }
        }
        Ok(())
    }

    fn over(&self, left: &mut Option<u64>, why: anyhow::Result<()>) -> HandlerError {
        connect::ending();
        *left = Some(0);
        let _ = self.ended.send(why);
        not_now()
    }
}

/// What the group takes for a moment's trouble, so that the record is neither diverted nor
/// committed; the shutdown that follows ends the wait.
fn not_now() -> HandlerError {
    HandlerError::from(sqlx::Error::Io(std::io::Error::other("the output has ended")))
}
