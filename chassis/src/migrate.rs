//! Makes the log, its topics and a service's schema. Run with a role that may create roles
//! and schemas; the services themselves may do neither.

use anyhow::Context;
use contracts::{Event, LogLine};
use sqlx::PgPool;
use sqlx::migrate::Migrator;

/// What a service is called, and what its schema is made of.
#[derive(Clone, Copy)]
pub struct Descriptor {
    /// Its name, and its consumer group's.
    pub name: &'static str,
    /// Its schema, which only its role reaches.
    pub schema: &'static str,
    /// Its login role. Made without a password: set one, or let the server trust it.
    pub role: &'static str,
    /// Where it listens unless told otherwise, on loopback.
    pub port: u16,
    /// Its migrations, role and grants included.
    pub migrations: fn() -> Migrator,
}

/// Brings the log and one service's schema up to date. Safe to run at any time, from several
/// processes at once.
///
/// # Errors
/// With what the server says.
pub async fn migrate(pool: &PgPool, service: &Descriptor) -> anyhow::Result<()> {
    broker::migrate(pool).await.context("the log")?;
    create_topics(pool).await?;
    broker::migrate_schema(pool, service.schema, (service.migrations)())
        .await
        .with_context(|| format!("schema {}", service.schema))?;
    // Its own log lines.
    sqlx::query("select log.grant_topic($1, 'publish', $2::text::name)")
        .bind(LogLine::TOPIC)
        .bind(service.role)
        .execute(pool)
        .await
        .with_context(|| format!("rights of {}", service.role))?;
    Ok(())
}

/// Makes the topics of [`contracts::TOPICS`] that there are not yet.
///
/// # Errors
/// With what the server says.
pub async fn create_topics(pool: &PgPool) -> anyhow::Result<()> {
    for topic in contracts::TOPICS {
        sqlx::query("select log.create_topic($1, $2)")
            .bind(topic.name)
            .bind(topic.partitions as i32)
            .execute(pool)
            .await
            .with_context(|| format!("topic {}", topic.name))?;
    }
    Ok(())
}
