//! How long records are kept.

use std::time::Duration;

use rand::Rng;
use sqlx::Row;
use sqlx::postgres::types::PgInterval;
use tracing::{info, warn};

use crate::connections::Connections;
use crate::error::statement;
use crate::{Broker, Error, Stop};

/// How often a process asks whether retention has something to do.
const EVERY: Duration = Duration::from_secs(10);

/// What of the log is kept, of all topics together. Records go by segments, of which there are
/// at most eight, so what is kept is up to a sixth more than what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Records that are older go, once every group has read them. `None`: no limit.
    pub keep_for: Option<Duration>,
    /// The oldest go while all take more bytes, once every group has read them.
    pub keep_bytes: Option<u64>,
    /// Records that are older go even if a group has not read them: a group that died must not
    /// fill the disk. At least `keep_for`.
    pub force_after: Option<Duration>,
    /// The oldest go while all take more bytes, even if a group has not read them. At least
    /// `keep_bytes`.
    pub force_bytes: Option<u64>,
}

/// What one turn of retention did, or could not do.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Kept {
    /// `opened` a segment, `emptied` one, `held` one back for a group, found one `busy`, or all
    /// `full`.
    pub action: String,
    /// Which segment, from 0 on.
    pub segment: i64,
    /// Why, where there is more to say.
    pub detail: Option<String>,
}

impl Broker {
    /// What is kept at present.
    ///
    /// # Errors
    /// What the database says.
    pub async fn retention(&self) -> Result<Retention, Error> {
        let row = sqlx::query(
                        "select (extract(epoch from keep_for) * 1000)::bigint, keep_bytes,
                                (extract(epoch from force_after) * 1000)::bigint, force_bytes from log.retention",
                    )
                    .fetch_one(&mut *self.conn().await?).await.map_err(statement("retention"))?;
        let number = |i: usize| -> Result<Option<u64>, sqlx::Error> {
            Ok(row.try_get::<Option<i64>, _>(i)?.map(|number| number.max(0) as u64))
        };
        Ok(Retention {
            keep_for: number(0)?.map(Duration::from_millis),
            keep_bytes: number(1)?,
            force_after: number(2)?.map(Duration::from_millis),
            force_bytes: number(3)?,
        })
    }

    /// Says what is to be kept from now on; all limits `None` keeps everything, as a new log
    /// does.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for another role than the log's owner, [`Error::Refused`] where the
    /// forced limits are below the others or under a second.
    pub async fn set_retention(&self, retention: Retention) -> Result<(), Error> {
        let interval = |limit: Option<Duration>| {
            limit.map(|limit| PgInterval {
                months: 0,
                days: 0,
                microseconds: i64::try_from(limit.as_micros()).unwrap_or(i64::MAX),
            })
        };
        let bytes =
            |limit: Option<u64>| limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
        sqlx::query("select log.set_retention($1, $2, $3, $4)")
            .bind(interval(retention.keep_for))
            .bind(bytes(retention.keep_bytes))
            .bind(interval(retention.force_after))
            .bind(bytes(retention.force_bytes))
            .execute(&mut *self.conn().await?)
            .await
            .map_err(statement("retention"))?;
        Ok(())
    }

    /// Does what retention asks for now, instead of within ten seconds.
    ///
    /// # Errors
    /// What the database says.
    pub async fn apply_retention(&self) -> Result<Vec<Kept>, Error> {
        sqlx::query_as("select * from log.keep()")
            .fetch_all(&mut *self.conn().await?)
            .await
            .map_err(statement("retention"))
    }

    /// What is wrong with the log itself, a line each: offsets that do not follow on each
    /// other, batches without an offset or with two, groups beyond the end. Reads all of it.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for another role than the log's owner.
    pub async fn findings(&self) -> Result<Vec<String>, Error> {
        sqlx::query_scalar("select * from log.findings()")
            .fetch_all(&mut *self.conn().await?)
            .await
            .map_err(statement("verification"))
    }
}

/// Applies retention again and again; every process does, and one at a time has an effect.
pub(crate) async fn keep(connections: Connections, mut stop: Stop) -> Result<(), Error> {
    loop {
        let pause = EVERY.mul_f64(rand::rng().random_range(0.8..1.2));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.requested() => return Ok(()),
        }
        let mut conn = connections.acquire().await?;
        let done: Vec<Kept> =
            sqlx::query_as("select * from log.keep()").fetch_all(&mut *conn).await?;
        conn.done();
        for Kept { action, segment, detail } in done {
            let detail = detail.unwrap_or_default();
            match action.as_str() {
                "opened" | "emptied" => info!(segment, "retention {action} a segment {detail}"),
                _ => warn!(segment, "retention: {action}: {detail}"),
            }
        }
    }
}
