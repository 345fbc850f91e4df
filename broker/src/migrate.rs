//! Makes and updates the schema `log`.

use sqlx::PgPool;
use sqlx::migrate::Migrator;

use crate::Error;

/// Makes the log in this database, or brings it up to date. Needs a role that may create
/// schemas; that role owns the log from then on. Safe to run from several processes at once.
///
/// After a dump was restored into another cluster it also adopts the log: what had no offset
/// yet gets one, and the log a new id.
///
/// # Errors
/// [`Error::Migrate`] with what the server says.
pub async fn migrate(pool: &PgPool) -> Result<(), Error> {
    migrate_schema(pool, "log", migrations()).await?;
    let adopted: Option<i64> = sqlx::query_scalar("select log.adopt()").fetch_one(pool).await?;
    if let Some(batches) = adopted {
        tracing::info!(batches, "adopted a log that was restored from another cluster's dump");
    }
    Ok(())
}

/// The log's migrations, for a tool of your own that runs or compares them.
pub fn migrations() -> Migrator {
    sqlx::migrate!("./migrations")
}

/// Runs migrations that live in a schema of their own, with their own table of what was run.
///
/// # Errors
/// [`Error::Migrate`] with what the server says.
pub async fn migrate_schema(
    pool: &PgPool,
    schema: &str,
    mut migrations: Migrator,
) -> Result<(), Error> {
    migrations.create_schema(schema.to_owned());
    migrations.dangerous_set_table_name(format!("{schema}._sqlx_migrations"));
    Ok(migrations.run(pool).await?)
}
