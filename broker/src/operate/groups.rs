//! Consumer groups from outside: where they are, and moving them.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::error::statement;
use crate::{Broker, Error};

/// Where a group is in one partition.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct Place {
    /// The group.
    pub consumer_group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The member that owns it; none where it is free.
    pub member: Option<i32>,
    /// What that member's connection calls itself; none where it is not alive.
    pub process: Option<String>,
    /// How often the partition was claimed.
    pub generation: i32,
    /// The next offset that the group will read.
    pub committed: i64,
    /// The first offset that is kept.
    pub log_start: i64,
    /// The offset that the next record will get.
    pub end: i64,
    /// Records that the group has not handled.
    pub lag: i64,
    /// The age of the oldest of them.
    pub lag_seconds: Option<f64>,
    /// Whether the subscription is paused.
    pub paused: bool,
    /// Records a second that the group handled over the last minute.
    pub consumed_per_second: f64,
    /// Records a second that were published over the last minute.
    pub produced_per_second: f64,
}

impl Place {
    /// Seconds until the lag is gone, if both go on as in the last minute; `None` where it would
    /// never be.
    pub fn seconds_to_drain(&self) -> Option<f64> {
        let gain = self.consumed_per_second - self.produced_per_second;
        match self.lag {
            0 => Some(0.0),
            lag if gain > 0.0 => Some(lag as f64 / gain),
            _ => None,
        }
    }
}

/// Where to seek.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The first record that is kept.
    Earliest,
    /// Behind the last.
    Latest,
    /// This offset.
    Offset(u64),
    /// The first record that was published at this time or later.
    Time(DateTime<Utc>),
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Position::Earliest => write!(f, "earliest"),
            Position::Latest => write!(f, "latest"),
            Position::Offset(offset) => write!(f, "{offset}"),
            Position::Time(at) => write!(f, "@{}", at.to_rfc3339()),
        }
    }
}

impl FromStr for Position {
    type Err = String;

    /// `earliest` or `start`, `latest` or `end`, an offset, `@` and a time as RFC 3339 has it or
    /// in seconds or milliseconds since 1970.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no position: earliest, latest, an offset, or @ and a time (RFC 3339, or seconds since 1970)"
            )
        };
        match text {
            "earliest" | "start" | "beginning" => Ok(Position::Earliest),
            "latest" | "end" => Ok(Position::Latest),
            _ => match text.strip_prefix('@') {
                Some(time) => read_time(time).map(Position::Time).ok_or_else(wrong),
                None => text.parse().map(Position::Offset).map_err(|_| wrong()),
            },
        }
    }
}

fn read_time(text: &str) -> Option<DateTime<Utc>> {
    // More than 11 digits are milliseconds: as seconds they would lie beyond the year 5000.
    match text.parse::<i64>() {
        Ok(number) if text.len() > 11 => DateTime::from_timestamp_millis(number),
        Ok(number) => DateTime::from_timestamp(number, 0),
        Err(_) => DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
    }
}

/// What a seek does to one partition, or did.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Seek {
    /// The partition.
    pub partition: i32,
    /// The next offset that the group would have read.
    pub committed: i64,
    /// The next that it will read instead.
    pub target: i64,
}

impl Broker {
    /// The places of one group, or of all groups of this role: by group, topic, partition.
    ///
    /// # Errors
    /// [`Error::Refused`] for a group that does not exist, or what the database says.
    pub async fn places(&self, group: Option<&str>) -> Result<Vec<Place>, Error> {
        let places: Vec<Place> = sqlx::query_as(
            // Each of them once, however many partitions there are.
            "with l as materialized (select * from log.lag($1)),
                  p as materialized (
                    select g.consumer_group, p.* from (select distinct consumer_group from l) g
                     cross join lateral log.pace(g.consumer_group) p),
                  m as materialized (
                    select m.member, m.pid from log.members((
                        select array_agg(log.subscription_id(s.consumer_group, s.topic))
                          from (select distinct consumer_group, topic from l where member is not null) s)) m)
             select l.consumer_group, l.topic, l.partition, l.member, a.application_name as process,
                    l.generation, l.committed, l.log_start, l.end, l.lag, l.lag_seconds::float8 as lag_seconds,
                    l.paused, coalesce(p.consumed, 0) as consumed_per_second,
                    coalesce(p.produced, 0) as produced_per_second
               from l
               left join p using (consumer_group, topic, partition)
               left join (select distinct member, pid from m) m on m.member = l.member
               left join pg_stat_activity a on a.pid = m.pid
              order by 1, 2, 3",
        )
        .bind(group)
        .fetch_all(&mut *self.conn().await?)
        .await
        .map_err(statement("groups"))?;
        match (group, places.is_empty()) {
            (Some(group), true) => {
                Err(Error::Refused(format!("consumer group {group:?} does not exist")))
            }
            _ => Ok(places),
        }
    }

    /// Where [`seek`](Broker::seek) would take a group; changes nothing.
    ///
    /// # Errors
    /// As [`seek`](Broker::seek).
    pub async fn seek_plan(
        &self,
        group: &str,
        topic: &str,
        partition: Option<i32>,
        to: Position,
    ) -> Result<Vec<Seek>, Error> {
        self.seek_by("select * from log.seek_plan($1, $2, $3, $4)", group, topic, partition, to)
            .await
    }

    /// Moves a group in one partition of a topic, or in all. Its members may be running: what
    /// they have in hand of that partition is not committed any more, and they go on at the
    /// target. Going back means that the group handles records again, with all their effects.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`]; [`Error::Refused`] for a group that never read the topic, or a
    /// partition or offset that does not exist; [`Error::Forbidden`] for another role's group.
    pub async fn seek(
        &self,
        group: &str,
        topic: &str,
        partition: Option<i32>,
        to: Position,
    ) -> Result<Vec<Seek>, Error> {
        self.seek_by("select * from log.seek($1, $2, $3, $4)", group, topic, partition, to).await
    }

    async fn seek_by(
        &self,
        query: &'static str,
        group: &str,
        topic: &str,
        partition: Option<i32>,
        to: Position,
    ) -> Result<Vec<Seek>, Error> {
        sqlx::query_as(query)
            .bind(group)
            .bind(topic)
            .bind(partition)
            .bind(to.to_string())
            .fetch_all(&mut *self.conn().await?)
            .await
            .map_err(statement(topic))
    }

    /// Hands out nothing of this topic to the group until [`resume`](Broker::resume); what its
    /// members have in hand is finished. It holds across restarts.
    ///
    /// # Errors
    /// As [`seek`](Broker::seek).
    pub async fn pause(&self, group: &str, topic: &str) -> Result<(), Error> {
        self.tell("select log.pause($1, $2)", group, topic).await
    }

    /// Ends a [`pause`](Broker::pause).
    ///
    /// # Errors
    /// As [`seek`](Broker::seek).
    pub async fn resume(&self, group: &str, topic: &str) -> Result<(), Error> {
        self.tell("select log.resume($1, $2)", group, topic).await
    }

    async fn tell(&self, query: &'static str, group: &str, topic: &str) -> Result<(), Error> {
        sqlx::query(query)
            .bind(group)
            .bind(topic)
            .execute(&mut *self.conn().await?)
            .await
            .map_err(statement(topic))?;
        Ok(())
    }

    /// Forgets a group and its places.
    ///
    /// # Errors
    /// [`Error::Refused`] where it does not exist or has members alive.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        sqlx::query("select log.delete_group($1)")
            .bind(group)
            .execute(&mut *self.conn().await?)
            .await
            .map_err(statement(group))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for text in ["earliest", "latest", "17", "@2026-01-02T03:04:05+00:00"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        let at = |text: &str| text.parse::<Position>().unwrap();
        assert_eq!(at("@1700000000"), at("@1700000000000"));
        for text in ["", "-1", "@", "@yesterday", "1.5", "99999999999999999999"] {
            assert!(text.parse::<Position>().unwrap_err().contains("is no position"), "{text}");
        }
    }
}
