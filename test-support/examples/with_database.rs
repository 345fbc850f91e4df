//! Runs a command with `DATABASE_URL` naming a fresh database that has every schema, as
//! `cargo sqlx prepare` needs it. Knows no service, so that it builds while their queries do
//! not: `cargo run -p test-support --example with_database -- cargo sqlx prepare --workspace`.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, ExitCode};

use private_postgres::TestServer;
use sqlx::PgPool;
use sqlx::migrate::Migrator;

#[tokio::main]
async fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let server = TestServer::start("with-database", |_| async { Ok(()) }).await.unwrap();
    let url = server.database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    broker::migrate(&pool).await.unwrap();
    chassis::create_topics(&pool).await.unwrap();
    for schema in std::fs::read_dir(root.join("migrations")).unwrap() {
        let folder = schema.unwrap().path();
        let schema = match folder.file_name().unwrap().to_str().unwrap() {
            "log" => continue,
            // A reserved word in SQL.
            "order" => "orders",
            schema => schema,
        };
        let migrations = Migrator::new(&*folder).await.unwrap();
        broker::migrate_schema(&pool, schema, migrations).await.unwrap();
    }
    pool.close().await;

    let mut words = std::env::args_os().skip(1);
    let program = words.next().expect("a command to run");
    let status = Command::new(program)
        .args(words)
        .current_dir(root)
        .env("DATABASE_URL", &url)
        .env("SQLX_OFFLINE", "false")
        .status()
        .unwrap();
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}
