//! A record that cannot be handled costs nothing else, waits as a dead letter, and goes through
//! its group once more when the fault is mended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use broker::{Broker, Handler, HandlerError, NewRecord, Record, Redrive, Retry, Transaction};
use sqlx::PgPool;

/// Books payments, in the currencies that it knows.
struct Book {
    knows_yen: Arc<AtomicBool>,
}

impl Handler for Book {
    async fn handle(&self, tx: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        for record in records {
            let payment = std::str::from_utf8(record.value())?;
            if payment.ends_with("JPY") && !self.knows_yen.load(Ordering::Relaxed) {
                // No retry can help, and this record is the one to blame.
                return Err(HandlerError::reject("unknown currency JPY").at(record));
            }
            sqlx::query("insert into booked (payment) values ($1)")
                .bind(payment)
                .execute(&mut **tx)
                .await?;
        }
        Ok(())
    }
}

async fn booked(pool: &PgPool, count: usize) -> sqlx::Result<Vec<String>> {
    loop {
        let rows: Vec<String> =
            sqlx::query_scalar("select payment from booked order by 1").fetch_all(pool).await?;
        if rows.len() == count {
            return Ok(rows);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = PgPool::connect(&url).await?;
    broker::migrate(&pool).await?;
    sqlx::query("create table booked (payment text not null)").execute(&pool).await?;
    let broker = Broker::connect(&url).await?;
    broker.create_topic("payment", 1).await?;

    let knows_yen = Arc::new(AtomicBool::new(false));
    let book = Book { knows_yen: knows_yen.clone() };
    let group = broker.consumer_group("book").topic("payment", book);
    // `Retry` says how often a record is tried before it is diverted; a rejected one is not.
    group.retry(Retry::default()).start().await?;

    let payments = ["10 EUR", "900 JPY", "20 GBP"];
    broker.publish(payments.map(|payment| NewRecord::new("payment", payment))).await?;
    println!("booked: {:?}", booked(&pool, 2).await?);

    let which = Redrive::default();
    let mut dead_letters = Vec::new();
    while dead_letters.is_empty() {
        // It is an ordinary topic: what goes there has its offset a moment later.
        dead_letters = broker.dead_letters("book", "payment", &which).await?;
    }
    for dead in dead_letters {
        let record = &dead.record;
        println!(
            "dead letter {}: {} ({}), from offset {}",
            record.offset(),
            String::from_utf8_lossy(record.value()),
            record.header("dlq.error").unwrap_or("no reason"),
            record.header("dlq.offset").unwrap_or("unknown"),
        );
    }

    knows_yen.store(true, Ordering::Relaxed);
    let sent = broker.redrive("book", "payment", &which).await?;
    println!("redriven: {}", sent.len());
    println!("booked: {:?}", booked(&pool, 3).await?);
    broker.shutdown().await;
    Ok(())
}
