//! Dead letters: what they are, and sending them through their group again.

use chrono::{DateTime, Utc};

use crate::error::statement;
use crate::group::dead_letter::{redriven, redrives};
use crate::group::session::dead_letter_topic;
use crate::{Broker, Error, Record};

/// What one read of dead letters asks for.
const PAGE: u32 = 500;

/// A record that its group gave up.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The record in the dead-letter topic: the value, key and headers of the original, and the
    /// headers `dlq.topic`, `dlq.partition`, `dlq.offset`, `dlq.group`, `dlq.error`,
    /// `dlq.attempts`, `dlq.at` and `dlq.redrives`.
    pub record: Record,
    /// When it was last sent through its group again.
    pub redriven_at: Option<DateTime<Utc>>,
    /// How often it had been redriven when it became this dead letter.
    pub redrives: u32,
}

/// Which dead letters to redrive. By default all that were not redriven yet.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// Only these offsets of the dead-letter topic.
    pub offsets: Option<Vec<u64>>,
    /// Only records of this key.
    pub key: Option<Vec<u8>>,
    /// Only those whose error contains this.
    pub error: Option<String>,
    /// Those too that were redriven before.
    pub again: bool,
    /// The loop guard: one that came back so often stays.
    pub max_redrives: u32,
    /// Only from this offset of the dead-letter topic on.
    pub from: u64,
    /// At most so many, the oldest: they are all held in memory.
    pub limit: usize,
}

impl Default for Redrive {
    fn default() -> Self {
        Redrive {
            offsets: None,
            key: None,
            error: None,
            again: false,
            max_redrives: 3,
            from: 0,
            limit: usize::MAX,
        }
    }
}

impl Redrive {
    fn takes(&self, dead: &DeadLetter) -> bool {
        let DeadLetter { record, redriven_at, redrives } = dead;
        self.offsets.as_ref().is_none_or(|offsets| offsets.contains(&record.offset()))
            && self.key.as_ref().is_none_or(|key| record.key() == Some(key))
            && self.error.as_ref().is_none_or(|error| {
                record.header("dlq.error").is_some_and(|told| told.contains(error.as_str()))
            })
            && (self.again || redriven_at.is_none())
            && *redrives < self.max_redrives
    }
}

impl Broker {
    /// A group's dead letters of a topic that `which` takes, oldest first.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] where the group never read the topic, [`Error::Forbidden`].
    pub async fn dead_letters(
        &self,
        group: &str,
        topic: &str,
        which: &Redrive,
    ) -> Result<Vec<DeadLetter>, Error> {
        let from = dead_letter_topic(topic, group);
        let marks: Vec<(i32, i64, DateTime<Utc>)> =
            sqlx::query_as("select partition, \"offset\", at from log.redriven_of($1)")
                .bind(&from)
                .fetch_all(&mut *self.conn().await?)
                .await
                .map_err(statement(&from))?;
        let marks: std::collections::HashMap<(i32, i64), DateTime<Utc>> =
            marks.into_iter().map(|(partition, offset, at)| ((partition, offset), at)).collect();
        let mut taken = Vec::new();
        for partition in self.partitions(&from).await? {
            let mut next = which.from.max(partition.log_start as u64);
            while next < partition.end as u64 && taken.len() < which.limit {
                let page = self.read(&from, partition.partition, next, PAGE).await?;
                let Some(last) = page.last() else { break };
                next = last.offset() + 1;
                taken.extend(page.into_iter().filter_map(|record| {
                    let place = (record.partition(), record.offset() as i64);
                    let dead = DeadLetter {
                        redriven_at: marks.get(&place).copied(),
                        redrives: redrives(&record),
                        record,
                    };
                    which.takes(&dead).then_some(dead)
                }));
            }
        }
        taken.truncate(which.limit);
        Ok(taken)
    }

    /// Sends dead letters through the handler of their group, and of no other, once more;
    /// returns those that were. Each is marked and published in one transaction, so that of two
    /// redrives at once each dead letter goes with one. A record that fails again is a dead
    /// letter again.
    ///
    /// # Errors
    /// As [`dead_letters`](Broker::dead_letters); what went before the error stays.
    pub async fn redrive(
        &self,
        group: &str,
        topic: &str,
        which: &Redrive,
    ) -> Result<Vec<DeadLetter>, Error> {
        let from = dead_letter_topic(topic, group);
        let mut sent = Vec::new();
        for dead in self.dead_letters(group, topic, which).await? {
            let mut tx = self.begin().await?;
            let first: bool = sqlx::query_scalar("select log.mark_redriven($1, $2, $3)")
                .bind(&from)
                .bind(dead.record.partition())
                .bind(dead.record.offset() as i64)
                .fetch_one(&mut *tx)
                .await
                .map_err(|error| Error::from_statement(&from, error))?;
            if first || which.again {
                tx.publish_unchecked(redriven(&dead.record, topic, group));
                tx.commit().await?;
                sent.push(dead);
            }
        }
        Ok(sent)
    }
}
