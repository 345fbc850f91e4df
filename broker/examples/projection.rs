//! Replay: a table that is made from a topic can be made anew, beside the old one, from the
//! records that are kept.

use std::time::Duration;

use broker::{Broker, Handler, HandlerError, NewRecord, Position, Record, Transaction};
use sqlx::PgPool;

/// Adds sales up by a part of their key, `country/city`.
struct Totals {
    table: &'static str,
    part: usize,
}

impl Handler for Totals {
    async fn handle(&self, tx: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        let statement = match self.table {
            "by_country" => {
                "insert into by_country as t values ($1, $2)
                 on conflict (place) do update set total = t.total + excluded.total"
            }
            _ => {
                "insert into by_city as t values ($1, $2)
                 on conflict (place) do update set total = t.total + excluded.total"
            }
        };
        for record in records {
            let key = std::str::from_utf8(record.key().unwrap_or_default())?;
            let amount: i64 = std::str::from_utf8(record.value())?.parse()?;
            sqlx::query(statement)
                .bind(key.split('/').nth(self.part))
                .bind(amount)
                .execute(&mut **tx)
                .await?;
        }
        Ok(())
    }
}

/// Waits until a group has handled everything.
async fn caught_up(broker: &Broker, group: &str) -> Result<(), broker::Error> {
    loop {
        let places = broker.places(Some(group)).await?;
        if places.iter().all(|place| place.lag == 0) && places.iter().any(|place| place.end > 0) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn show(pool: &PgPool, what: &str, query: &'static str) -> sqlx::Result<()> {
    let totals: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(pool).await?;
    println!("{what}: {totals:?}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = PgPool::connect(&url).await?;
    broker::migrate(&pool).await?;
    sqlx::raw_sql(
        "create table by_country (place text primary key, total bigint not null);
         create table by_city (place text primary key, total bigint not null)",
    )
    .execute(&pool)
    .await?;
    let broker = Broker::connect(&url).await?;
    broker.create_topic("sale", 2).await?;
    let by_country = || {
        let totals = Totals { table: "by_country", part: 0 };
        broker.consumer_group("by-country").topic("sale", totals)
    };
    let consumer = by_country().start().await?;
    let sales = [("gb/london", 3), ("gb/york", 4), ("at/vienna", 5)];
    broker
        .publish(sales.map(|(key, amount)| NewRecord::new("sale", amount.to_string()).key(key)))
        .await?;
    caught_up(&broker, "by-country").await?;
    show(&pool, "by country", "select * from by_country order by 1").await?;

    // A question that nobody thought of when the records were published: a new group, which
    // begins at the oldest record. The old group is not touched.
    let by_city = broker.consumer_group("by-city");
    by_city.topic("sale", Totals { table: "by_city", part: 1 }).start().await?;
    caught_up(&broker, "by-city").await?;
    show(&pool, "by city", "select * from by_city order by 1").await?;

    // The same projection again, after a mistake in it was mended: empty the table and send the
    // group back.
    consumer.stop().await;
    sqlx::query("truncate by_country").execute(&pool).await?;
    for seek in broker.seek("by-country", "sale", None, Position::Earliest).await? {
        println!("partition {}: back from {} to {}", seek.partition, seek.committed, seek.target);
    }
    by_country().start().await?;
    caught_up(&broker, "by-country").await?;
    show(&pool, "by country, made anew", "select * from by_country order by 1").await?;
    broker.shutdown().await;
    Ok(())
}
