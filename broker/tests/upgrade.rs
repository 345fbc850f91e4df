//! A log that holds records is brought up to date.
#![allow(clippy::unwrap_used)]

mod common;

use broker::NewRecord;
use private_postgres::TestServer;
use sqlx::PgPool;

use common::Log;

/// The last version in which a batch had columns for its count and size.
const BEFORE: i64 = 13;

#[tokio::test]
async fn what_an_older_log_holds_stays_where_it_is() {
    let server = TestServer::shared("empty", async |_| Ok(())).await;
    let url = server.database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    let mut older = broker::migrations();
    older.migrations =
        older.iter().filter(|migration| migration.version <= BEFORE).cloned().collect();
    broker::migrate_schema(&pool, "log", older).await.unwrap();
    sqlx::raw_sql("select log.create_topic('t', 2)").execute(&pool).await.unwrap();
    for value in ["a", "b", "c"] {
        let publish = sqlx::query("select log.publish('t', $1, 'key')").bind(value);
        publish.execute(&pool).await.unwrap();
    }
    sqlx::raw_sql("select log.tick(false)").execute(&pool).await.unwrap();
    // Without an offset yet.
    sqlx::raw_sql("select log.publish('t', 'd', 'key')").execute(&pool).await.unwrap();
    let files = "select array_agg(pg_relation_filenode(inhrelid) order by inhrelid)::bigint[]
                   from pg_inherits where inhparent = 'log.record_batch'::regclass";
    let before: Vec<i64> = sqlx::query_scalar(files).fetch_one(&pool).await.unwrap();

    broker::migrate(&pool).await.unwrap();

    let after: Vec<i64> = sqlx::query_scalar(files).fetch_one(&pool).await.unwrap();
    assert_eq!(after, before, "a table was rewritten");
    let log = Log::at(url).await;
    let broker = log.broker().await;
    broker.publish([NewRecord::new("t", "e").key("key")]).await.unwrap();
    broker.sequenced().await.unwrap();
    let values: Vec<String> = sqlx::query_scalar(
        r#"select convert_from(value, 'UTF8') from log.record where topic = 't' order by "offset""#,
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(values, ["a", "b", "c", "d", "e"]);
    let findings: Vec<String> =
        sqlx::query_scalar("select log.findings()").fetch_all(&pool).await.unwrap();
    assert!(findings.is_empty() && log.dense().await, "{findings:?}");
    broker.shutdown().await;
}
