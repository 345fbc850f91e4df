//! Topics and what is in them.

use chrono::{DateTime, Utc};

use crate::error::statement;
use crate::group::session::fetch;
use crate::operate::Position;
use crate::{Broker, Error, Record};

/// What a plain read asks for at most, in bytes.
const READ_BYTES: i64 = 4 * 1024 * 1024;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// How many records it keeps, in all partitions.
    pub records: i64,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct PartitionInfo {
    /// Which, from 0.
    pub partition: i32,
    /// The first offset that is kept.
    pub log_start: i64,
    /// The offset that the next record will get.
    pub end: i64,
    /// When the newest record was published.
    pub newest_at: Option<DateTime<Utc>>,
}

/// What a role may do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// Put records in.
    Publish,
    /// Take records out, with a group of its own or without one.
    Consume,
}

impl Privilege {
    fn as_str(self) -> &'static str {
        match self {
            Privilege::Publish => "publish",
            Privilege::Consume => "consume",
        }
    }
}

impl Broker {
    /// All topics by name.
    ///
    /// # Errors
    /// What the database says.
    pub async fn topics_info(&self) -> Result<Vec<TopicInfo>, Error> {
        sqlx::query_as(
                    "select t.name, t.partitions, t.created_at,
                            coalesce(sum(log.partition_end(t.id, p) - log.partition_start(t.id, p)), 0)::bigint as records
                       from log.topic t cross join generate_series(0, t.partitions - 1) p
                      group by t.id order by t.name",
                )
                .fetch_all(&mut *self.conn().await?).await.map_err(statement("topics"))
    }

    /// Where each partition of a topic starts and ends.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or what the database says.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<PartitionInfo>, Error> {
        sqlx::query_as(
                    "select p as partition, log.partition_start(t.id, p) as log_start, log.partition_end(t.id, p) as end,
                            log.published_at(t.id, p, log.partition_end(t.id, p) - 1) as newest_at
                       from log.topic t cross join generate_series(0, t.partitions - 1) p
                      where t.id = log.topic_id($1) order by p",
                )
                .bind(topic)
                .fetch_all(&mut *self.conn().await?).await.map_err(statement(topic))
    }

    /// Gives a topic more partitions, `partitions` in all, while it is in use. A key's new
    /// records may go to another partition than its old ones did: its order holds within each.
    ///
    /// # Errors
    /// [`Error::Refused`] for fewer than it has, [`Error::Forbidden`] for another role than the
    /// log's owner.
    pub async fn add_partitions(&self, topic: &str, partitions: u32) -> Result<(), Error> {
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        sqlx::query("select log.add_partitions($1, $2)")
            .bind(topic)
            .bind(partitions)
            .execute(&mut *self.conn().await?)
            .await
            .map_err(statement(topic))?;
        Ok(())
    }

    /// Deletes a topic with its records, rights and groups' places.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::Forbidden`] for another role than the log's owner.
    pub async fn delete_topic(&self, topic: &str) -> Result<(), Error> {
        sqlx::query("select log.delete_topic($1)")
            .bind(topic)
            .execute(&mut *self.conn().await?)
            .await
            .map_err(statement(topic))?;
        Ok(())
    }

    /// Where a position is in one partition of a topic, or in each: partition and offset.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`]; [`Error::Refused`] for a partition that does not exist, or an
    /// offset that one of them does not have.
    pub async fn offsets(
        &self,
        topic: &str,
        partition: Option<i32>,
        at: Position,
    ) -> Result<Vec<(i32, u64)>, Error> {
        let offsets: Vec<(i32, i64)> = sqlx::query_as(
            "select p, log.position(t.id, p, $3)
               from log.topic t cross join generate_series(0, t.partitions - 1) p
              where t.id = log.topic_id($1) and p = coalesce($2, p) order by p",
        )
        .bind(topic)
        .bind(partition)
        .bind(at.to_string())
        .fetch_all(&mut *self.conn().await?)
        .await
        .map_err(statement(topic))?;
        match (partition, offsets.is_empty()) {
            (Some(partition), true) => {
                Err(Error::Refused(format!("topic {topic:?} has no partition {partition}")))
            }
            _ => Ok(offsets.into_iter().map(|(p, offset)| (p, offset.max(0) as u64)).collect()),
        }
    }

    /// Lets a role publish to a topic, or consume it.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`]; [`Error::Refused`] for a role that does not exist;
    /// [`Error::Forbidden`] for another role than the log's owner.
    pub async fn grant_topic(
        &self,
        topic: &str,
        privilege: Privilege,
        role: &str,
    ) -> Result<(), Error> {
        // The server looks the role up at each use: one that does not exist would be an error
        // to whoever uses the topic.
        let granted = sqlx::query(
            "select log.grant_topic($1, $2, r.rolname) from pg_roles r where r.rolname = $3",
        )
        .bind(topic)
        .bind(privilege.as_str())
        .bind(role)
        .fetch_optional(&mut *self.conn().await?)
        .await
        .map_err(statement(topic))?;
        match granted {
            Some(_) => Ok(()),
            None => Err(Error::Refused(format!("role {role:?} does not exist"))),
        }
    }

    /// Records of one partition from an offset on, at most `max`; fewer at the end or where
    /// they are large. For looking at: it belongs to no group.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::Forbidden`]; [`Error::Refused`] below the log start.
    pub async fn read(
        &self,
        topic: &str,
        partition: i32,
        from: u64,
        max: u32,
    ) -> Result<Vec<Record>, Error> {
        let mut conn = self.conn().await?;
        let (topic_id, log_start): (i32, i64) =
            sqlx::query_as("select log.topic_id($1), log.partition_start(log.topic_id($1), $2)")
                .bind(topic)
                .bind(partition)
                .fetch_one(&mut *conn)
                .await
                .map_err(|error| Error::from_statement(topic, error))?;
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        if from < log_start {
            return Err(Error::Refused(format!(
                "{topic}/{partition} starts at offset {log_start}, so {from} is not kept any more"
            )));
        }
        let max = i32::try_from(max).unwrap_or(i32::MAX);
        let batches = fetch(&mut conn, &[(topic_id, partition, from)], max, READ_BYTES).await?;
        let name = topic.into();
        let mut records = Vec::new();
        for batch in batches.into_values().flatten() {
            records.extend(batch.records(&name, partition, from));
        }
        records.truncate(max as usize);
        Ok(records)
    }
}
