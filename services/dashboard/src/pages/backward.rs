//! Reads a topic from its end back: the newest record first, whichever partition it is in, a
//! piece at a time. Where it stopped can be said, and gone on from.

use broker::{Broker, PartitionInfo, Record};
use chassis::Problem;

use crate::view::{self, refused};

/// What the first read of a partition asks for: often enough, and never much.
const FIRST_READ: u64 = 10;
/// Later ones aim at so many bytes.
const READ_BYTES: usize = 512 * 1024;
const MAX_READ: u64 = 500;

/// The way back through some partitions of a topic.
pub struct Backward<'a> {
    broker: &'a Broker,
    topic: &'a str,
    ways: Vec<Way>,
}

/// The way back through one of them.
struct Way {
    partition: i32,
    log_start: u64,
    /// What lies below was not read yet.
    next: u64,
    /// Read and not handed out, the newest last.
    waiting: Vec<Record>,
    read: u64,
}

impl<'a> Backward<'a> {
    /// From the end of these partitions back, or from where an earlier reading
    /// [stopped](Backward::stopped).
    ///
    /// # Errors
    /// 400 where `before` is no such place.
    pub fn new(
        broker: &'a Broker,
        topic: &'a str,
        partitions: impl Iterator<Item = &'a PartitionInfo>,
        before: &str,
    ) -> Result<Backward<'a>, Problem> {
        let before = parse(before)?;
        let way = |of: &PartitionInfo| {
            let known = before.iter().find(|(partition, _)| *partition == of.partition);
            let log_start = of.log_start.max(0) as u64;
            let end = of.end.max(0) as u64;
            let next = known.map_or(end, |(_, offset)| (*offset).clamp(log_start, end));
            Way { partition: of.partition, log_start, next, waiting: Vec::new(), read: FIRST_READ }
        };
        Ok(Backward { broker, topic, ways: partitions.map(way).collect() })
    }

    /// The newest record that was not handed out yet; `None` at the log starts.
    ///
    /// # Errors
    /// What the log says.
    pub async fn next(&mut self) -> Result<Option<Record>, Problem> {
        for way in &mut self.ways {
            if way.waiting.is_empty() && way.next > way.log_start {
                way.go_back(self.broker, self.topic).await?;
            }
        }
        let newest = self.ways.iter_mut().max_by_key(|way| {
            let record = way.waiting.last();
            record.map(|record| (record.published_at(), record.partition()))
        });
        Ok(newest.and_then(|way| way.waiting.pop()))
    }

    /// Where it stopped, for an address: each partition and the offset below which nothing was
    /// handed out.
    pub fn stopped(&self) -> String {
        let place = |way: &Way| {
            let next = way.waiting.last().map_or(way.next, |record| record.offset() + 1);
            format!("{}:{next}", way.partition)
        };
        self.ways.iter().map(place).collect::<Vec<_>>().join(",")
    }
}

impl Way {
    async fn go_back(&mut self, broker: &Broker, topic: &str) -> Result<(), Problem> {
        let from = self.next.saturating_sub(self.read).max(self.log_start);
        let mut at = from;
        // A read ends early where records are large.
        while at < self.next {
            let max = (self.next - at) as u32;
            let records = broker.read(topic, self.partition, at, max).await.map_err(refused)?;
            let Some(last) = records.last() else { break };
            at = last.offset() + 1;
            self.waiting.extend(records);
        }
        self.next = from;
        let bytes: usize = self.waiting.iter().map(|record| record.value().len()).sum();
        let each = bytes / self.waiting.len().max(1) + 1;
        self.read = ((READ_BYTES / each) as u64).clamp(1, MAX_READ);
        Ok(())
    }
}

fn parse(before: &str) -> Result<Vec<(i32, u64)>, Problem> {
    let wrong = || {
        Problem::bad_request(format!(
            "{:?} is no place to go on from: partitions and offsets, as 0:17,1:4",
            view::cut(before, 60)
        ))
    };
    let place = |text: &str| {
        let (partition, offset) = text.split_once(':')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    let places = before.split(',').filter(|text| !text.is_empty());
    places.map(|text| place(text).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        assert_eq!(parse("0:17,3:4").unwrap(), [(0, 17), (3, 4)]);
        assert!(parse("").unwrap().is_empty());
        for text in ["7", "0:", "0:-1", "a:1", "0:1;1:2"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
