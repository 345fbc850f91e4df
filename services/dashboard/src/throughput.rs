//! How far each group was in each minute, noted for the plots of its throughput.

use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::watch;
use tracing::warn;

use crate::places::Places;

/// A minute's end is met within so much.
const EVERY: Duration = Duration::from_secs(5);

/// Notes it until the service stops.
pub async fn run(places: Places, pool: PgPool, mut stopping: watch::Receiver<bool>) {
    loop {
        match places.now().await {
            Ok(places) => {
                let groups = places.chunk_by(|a, b| a.consumer_group == b.consumer_group);
                let (names, committed): (Vec<String>, Vec<i64>) = groups
                    .map(|of| {
                        (
                            of[0].consumer_group.clone(),
                            of.iter().map(|at| at.committed).sum::<i64>(),
                        )
                    })
                    .unzip();
                if let Err(error) = note(&pool, &names, &committed).await {
                    warn!("how far the groups are was not noted: {error}");
                }
            }
            Err(error) => warn!("how far the groups are was not noted: {error}"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// A group that stays where it is costs a row a minute and no more.
async fn note(pool: &PgPool, groups: &[String], committed: &[i64]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into dashboard.group_minute (minute, consumer_group, committed)
         select date_trunc('minute', now()), * from unnest($1::text[], $2::bigint[]) t(consumer_group, committed)
          order by consumer_group
         on conflict (minute, consumer_group) do update set committed = excluded.committed
          where group_minute.committed <> excluded.committed",
    )
    .bind(groups)
    .bind(committed)
    .execute(pool)
    .await?;
    Ok(())
}
