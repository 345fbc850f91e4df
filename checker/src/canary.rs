//! Two cursors that are known to lose records. If the analysis does not flag them, it would not
//! flag a broker that does the same, and its word is worth nothing.

use std::time::{Duration, Instant};

use anyhow::bail;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::analysis::{Effect, Final, Kind, Logged, analyse};
use crate::collect::{Call, History};
use crate::history::{How, Outcome};

/// Transactions of a writer in a round.
const TRANSACTIONS: u64 = 50;

/// A consumer's own cursor over an outbox.
#[derive(Debug, Clone, Copy)]
pub struct Canary {
    /// Its name in reports.
    pub name: &'static str,
    condition: &'static str,
    /// As in every outbox: the xid comes with the order's row, the id with the record.
    xid_first: bool,
    writers: u64,
}

/// Both of them.
pub const CANARIES: [Canary; 2] = [
    Canary { name: "id > last", condition: "", xid_first: false, writers: 8 },
    Canary {
        name: "id > last and xid < pg_snapshot_xmin(…)",
        condition: "and xid < pg_snapshot_xmin(pg_current_snapshot())",
        xid_first: true,
        writers: 8,
    },
];

/// How a canary was flagged.
#[derive(Debug, Clone)]
pub struct Flagged {
    /// Which.
    pub name: &'static str,
    /// How long it took.
    pub after: Duration,
    /// How many records it lost by then.
    pub lost: usize,
    /// Out of how many.
    pub of: usize,
}

impl Canary {
    /// Runs it until the analysis flags it.
    ///
    /// # Errors
    /// Where the analysis does not within `patience`.
    pub async fn fly(
        self,
        pool: &PgPool,
        url: &str,
        seed: u64,
        patience: Duration,
    ) -> anyhow::Result<Flagged> {
        let began = Instant::now();
        sqlx::raw_sql(
            "drop table if exists outbox;
             create table outbox (id bigint generated always as identity primary key,
                xid xid8 not null default pg_current_xact_id(), value text not null)",
        )
        .execute(pool)
        .await?;
        let (mut history, mut end, mut last) = (History::default(), Final::default(), 0);
        for round in 0.. {
            self.round(url, seed.wrapping_add(round), round, &mut history, &mut end, &mut last)
                .await?;
            let log: Vec<(i64, String)> =
                sqlx::query_as("select row_number() over (order by id) - 1, value from outbox")
                    .fetch_all(pool)
                    .await?;
            end.log = log
                .into_iter()
                .map(|(offset, value)| Logged { partition: 0, offset, value })
                .collect();
            let found = analyse(&history, &end);
            let lost = found.iter().filter(|anomaly| anomaly.kind == Kind::Unseen).count();
            if lost > 0 {
                let (after, of) = (began.elapsed(), end.log.len());
                return Ok(Flagged { name: self.name, after, lost, of });
            }
            if began.elapsed() > patience {
                break;
            }
        }
        bail!(
            "the canary {:?} was not flagged within {} s: this checker finds nothing",
            self.name,
            patience.as_secs()
        )
    }

    /// Writers at the same time, the cursor beside them, and then the rest of what it shows.
    async fn round(
        self,
        url: &str,
        seed: u64,
        round: u64,
        history: &mut History,
        end: &mut Final,
        last: &mut i64,
    ) -> anyhow::Result<()> {
        let mut writers = JoinSet::new();
        for writer in 0..self.writers {
            let session = PgConnection::connect(url).await?;
            let rng = StdRng::seed_from_u64(seed ^ (writer << 32));
            writers.spawn(write(session, rng, self.xid_first, format!("{round}.{writer}")));
        }
        let mut session = PgConnection::connect(url).await?;
        let read =
            format!("select id, value from outbox where id > $1 {} order by id", self.condition);
        loop {
            let done = writers.is_empty();
            let rows: Vec<(i64, String)> = sqlx::query_as(AssertSqlSafe(read.clone()))
                .bind(*last)
                .fetch_all(&mut session)
                .await?;
            *last = rows.last().map_or(*last, |(id, _)| *id);
            let none = rows.is_empty();
            end.effects.extend(rows.into_iter().map(|(id, value)| Effect {
                process: "canary".into(),
                partition: 0,
                offset: id - 1,
                value,
                echo: false,
            }));
            if done && none {
                break;
            }
            while let Some(calls) = writers.try_join_next() {
                history.calls.extend(calls??);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(session.close().await?)
    }
}

async fn write(
    mut session: PgConnection,
    mut rng: StdRng,
    xid_first: bool,
    name: String,
) -> anyhow::Result<Vec<Call>> {
    let mut calls = Vec::new();
    for n in 0..TRANSACTIONS {
        let value = format!("{name}.{n}");
        let mut tx = session.begin().await?;
        if xid_first {
            sqlx::query("select pg_current_xact_id()").execute(&mut *tx).await?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..4))).await;
        }
        sqlx::query("insert into outbox (value) values ($1)")
            .bind(&value)
            .execute(&mut *tx)
            .await?;
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..8))).await;
        tx.commit().await?;
        calls.push(Call {
            process: name.clone(),
            how: How::Publish,
            records: vec![(name.clone(), value)],
            invoked: n,
            completed: Some(n),
            outcome: Outcome::Ok,
        });
    }
    session.close().await?;
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use private_postgres::TestServer;

    /// With one writer ids are committed in their order: nothing to flag.
    #[tokio::test]
    async fn a_canary_that_loses_nothing_fails_the_run() {
        let server = TestServer::shared("empty", async |_| Ok(())).await;
        let url = server.database().await;
        let pool = PgPool::connect(&url).await.unwrap();
        let sound = Canary { writers: 1, ..CANARIES[0] };
        let error = sound.fly(&pool, &url, 1, Duration::from_secs(1)).await.unwrap_err();
        assert!(error.to_string().contains("this checker finds nothing"), "{error}");
        let flagged = CANARIES[0].fly(&pool, &url, 1, Duration::from_secs(30)).await.unwrap();
        assert!(flagged.lost > 0 && flagged.lost < flagged.of, "{flagged}");
    }
}
