//! Several workers of one group share the partitions of a topic; when one leaves, the others
//! take over what it had.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::{Broker, Consumer, Handler, HandlerError, NewRecord, Options, Record, Transaction};
use sqlx::PgPool;

/// Does a job, and notes in the same transaction who did it.
struct Work(String);

impl Handler for Work {
    async fn handle(&self, tx: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        let jobs: Vec<String> =
            records.iter().map(|record| String::from_utf8_lossy(record.value()).into()).collect();
        // A batch at once: hundreds of records are one statement and one commit.
        sqlx::query("insert into job (name, worker) select name, $2 from unnest($1::text[]) name")
            .bind(jobs)
            .bind(&self.0)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

/// One worker: here all are in one process, else each has its own.
async fn worker(url: &str, name: &str) -> Result<(Broker, Consumer), broker::Error> {
    let broker = Options::new(url).application_name(name).connect().await?;
    let group = broker.consumer_group("workers").topic("job", Work(name.into())).start().await?;
    Ok((broker, group))
}

/// How many partitions each worker owns, once that is as it should be.
async fn shared(broker: &Broker, shares: &[usize]) -> Result<BTreeMap<String, usize>, Error> {
    loop {
        let mut owned = BTreeMap::<String, usize>::new();
        for place in broker.places(Some("workers")).await? {
            // A free partition has no process.
            if let Some(process) = place.process {
                *owned.entry(process).or_default() += 1;
            }
        }
        if owned.values().copied().eq(shares.iter().copied()) {
            return Ok(owned);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = PgPool::connect(&url).await?;
    broker::migrate(&pool).await?;
    sqlx::query("create table job (name text not null, worker text not null)")
        .execute(&pool)
        .await?;
    let boss = Broker::connect(&url).await?;
    boss.create_topic("job", 6).await?;

    let one = worker(&url, "worker-1").await?;
    let two = worker(&url, "worker-2").await?;
    let three = worker(&url, "worker-3").await?;
    println!("partitions: {:?}", shared(&boss, &[2, 2, 2]).await?);

    let jobs = |from: u32| {
        (from..from + 300).map(|n| NewRecord::new("job", format!("job {n}")).key(n.to_string()))
    };
    boss.publish(jobs(0)).await?;
    two.1.stop().await;
    two.0.shutdown().await;
    println!("partitions: {:?}", shared(&boss, &[3, 3]).await?);
    boss.publish(jobs(300)).await?;

    while boss.places(Some("workers")).await?.iter().map(|place| place.committed).sum::<i64>() < 600
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (done, different): (i64, i64) =
        sqlx::query_as("select count(*), count(distinct name) from job").fetch_one(&pool).await?;
    println!("{done} jobs done, {different} of them different");
    for (broker, _) in [one, three] {
        broker.shutdown().await;
    }
    boss.shutdown().await;
    Ok(())
}
