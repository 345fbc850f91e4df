//! What became of single records, and the commits by which it did.

use chrono::{DateTime, Utc};

use crate::error::statement;
use crate::{Broker, Error};

/// What became of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    /// The transaction that it was published with, as `pg_current_xact_id` says it; none where
    /// the record is not kept, or the log was moved to another cluster since.
    pub published_in: Option<i64>,
    /// The groups that are past it.
    pub passed: Vec<Passed>,
}

/// How a group got past a record. What is not known any more was trimmed: progress is kept for
/// ten minutes or a hundred commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The group.
    pub consumer_group: String,
    /// When the transaction began that handled it.
    pub at: Option<DateTime<Utc>>,
    /// Which that was: whatever the handler published has the same.
    pub transaction: Option<i64>,
    /// The generation of the member that did it.
    pub generation: Option<i32>,
    /// How many records it handled together.
    pub records: Option<i64>,
}

/// A commit of a group in one partition.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Commit {
    /// The group's subscription to the topic; never another's, not even under the same names.
    pub subscription: i32,
    /// The partition.
    pub partition: i32,
    /// Its row of progress, to go on from.
    pub seq: i64,
    /// The group.
    pub consumer_group: String,
    /// The topic.
    pub topic: String,
    /// The first offset that it handled.
    pub start: i64,
    /// The offset behind the last.
    pub upto: i64,
    /// When its transaction began.
    pub at: DateTime<Utc>,
    /// The generation of the member that did it.
    pub generation: i32,
    /// Which transaction that was.
    pub transaction: i64,
}

type Row = (
    i32,
    Option<i64>,
    Option<String>,
    Option<DateTime<Utc>>,
    Option<i64>,
    Option<i32>,
    Option<i64>,
);

impl Broker {
    /// What became of records, given by topic, partition and offset, in that order. Of topics
    /// and groups that are not this role's to see nothing is said.
    ///
    /// # Errors
    /// What the database says.
    pub async fn trails(&self, records: &[(&str, i32, i64)]) -> Result<Vec<Trail>, Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "select nth, published_in, consumer_group, committed_at, committed_in, generation, records
               from log.trail($1, $2, $3)",
        )
        .bind(records.iter().map(|(topic, ..)| (*topic).to_owned()).collect::<Vec<_>>())
        .bind(records.iter().map(|(_, partition, _)| *partition).collect::<Vec<_>>())
        .bind(records.iter().map(|(.., offset)| *offset).collect::<Vec<_>>())
        .fetch_all(&mut *self.conn().await?)
        .await
        .map_err(statement("records"))?;
        let mut trails = vec![Trail::default(); records.len()];
        for (nth, published_in, group, at, transaction, generation, records) in rows {
            let Some(trail) = trails.get_mut(nth as usize - 1) else { continue };
            match group {
                None => trail.published_in = published_in,
                Some(consumer_group) => {
                    trail.passed.push(Passed {
                        consumer_group,
                        at,
                        transaction,
                        generation,
                        records,
                    });
                }
            }
        }
        Ok(trails)
    }

    /// What groups committed in these topics after the given rows of progress, each by subscription,
    /// partition and seq; of other partitions all that is kept. Of each partition in order, and of
    /// very many commits the first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn commits(
        &self,
        topics: &[&str],
        after: &[(i32, i32, i64)],
    ) -> Result<Vec<Commit>, Error> {
        sqlx::query_as("select * from log.commits($1, $2, $3, $4)")
            .bind(topics.iter().map(|topic| (*topic).to_owned()).collect::<Vec<_>>())
            .bind(after.iter().map(|(subscription, ..)| *subscription).collect::<Vec<_>>())
            .bind(after.iter().map(|(_, partition, _)| *partition).collect::<Vec<_>>())
            .bind(after.iter().map(|(.., seq)| *seq).collect::<Vec<_>>())
            .fetch_all(&mut *self.conn().await?)
            .await
            .map_err(statement("progress"))
    }
}
