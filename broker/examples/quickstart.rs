//! A topic, a consumer group and three records.

use broker::{Broker, Handler, HandlerError, NewRecord, Record, Transaction};
use sqlx::PgPool;
use tokio::sync::mpsc;

/// Keeps every greeting in a table. The rows and the group's progress commit together, so each
/// greeting is there once, whatever crashes.
struct Greetings {
    handled: mpsc::UnboundedSender<String>,
}

impl Handler for Greetings {
    async fn handle(&self, tx: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        for record in records {
            let text = std::str::from_utf8(record.value())?;
            sqlx::query("insert into greeting (text) values ($1)")
                .bind(text)
                .execute(&mut **tx)
                .await?;
            let _ = self.handled.send(format!("offset {}: {text}", record.offset()));
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let pool = PgPool::connect(&url).await?;
    broker::migrate(&pool).await?;
    sqlx::query("create table greeting (text text not null)").execute(&pool).await?;

    let broker = Broker::connect(&url).await?;
    broker.create_topic("greeting", 3).await?;

    let (handled, mut seen) = mpsc::unbounded_channel();
    let group = broker.consumer_group("keeper");
    group.topic("greeting", Greetings { handled }).start().await?;

    // Durable when this returns. One key, so one partition, so one order.
    let words = ["hello", "how are you", "goodbye"];
    broker.publish(words.map(|word| NewRecord::new("greeting", word).key("ada"))).await?;

    for _ in words {
        println!("{}", seen.recv().await.ok_or("the consumer ended")?);
    }
    broker.shutdown().await;
    Ok(())
}
