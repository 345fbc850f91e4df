//! The transactional outbox: an event is published if and only if the change it tells of was
//! committed.

use broker::{Broker, NewRecord, Start};
use sqlx::PgPool;

/// Moves money and says so, or does neither.
async fn transfer(broker: &Broker, from: &str, to: &str, amount: i64) -> Result<(), Error> {
    let mut tx = broker.begin().await?;
    // Rows first: their locks put the events in the order of the changes.
    for (account, change) in [(from, -amount), (to, amount)] {
        sqlx::query("update account set balance = balance + $2 where name = $1")
            .bind(account)
            .bind(change)
            .execute(&mut *tx)
            .await?;
    }
    tx.publish(
        NewRecord::new("transfer", format!("{from} gave {to} {amount}")).key(from.to_owned()),
    )?;
    // A transaction that is dropped instead publishes nothing.
    Ok(tx.commit().await?)
}

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = PgPool::connect(&url).await?;
    broker::migrate(&pool).await?;
    sqlx::raw_sql(
        "create table account (name text primary key, balance bigint constraint no_overdraft check (balance >= 0));
         insert into account values ('ada', 100), ('bob', 0)",
    )
    .execute(&pool)
    .await?;

    let broker = Broker::connect(&url).await?;
    broker.create_topic("transfer", 1).await?;
    let mut events = broker.broadcast(&["transfer"], Start::Earliest).await?;

    for amount in [70, 50, 30] {
        match transfer(&broker, "ada", "bob", amount).await {
            Ok(()) => println!("{amount}: done"),
            Err(error) if error.to_string().contains("no_overdraft") => {
                println!("{amount}: refused, so nothing is published");
            }
            Err(error) => return Err(error),
        }
    }

    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(events.next().await?);
    }
    for record in told {
        println!("event {}: {}", record.offset(), String::from_utf8_lossy(record.value()));
    }
    broker.shutdown().await;
    Ok(())
}
