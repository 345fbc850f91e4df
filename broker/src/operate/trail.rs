//! What became of single records.

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
}
