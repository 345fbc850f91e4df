//! What the tests of services share: a database of one's own on a real server, with the
//! services' real roles, and waiting for events instead of durations.
#![deny(missing_docs)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use chassis::Descriptor;
use private_postgres::TestServer;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};

/// Every service role's password in tests.
const PASSWORD: &str = "test";
/// How long a test waits for what has to happen: long enough for a busy machine, since only
/// a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database that belongs to one test.
pub struct Database {
    /// As the owner of everything, for looking and for meddling.
    pub pool: PgPool,
    /// The owner's URL.
    pub url: String,
}

/// Makes a database with the log and these services' schemas.
///
/// What the code logs is shown where `RUST_LOG` asks for it.
pub async fn database(services: &[Descriptor]) -> Database {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env() {
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer();
        let _ = lines.try_init();
    }
    let mut key = DefaultHasher::new();
    for migration in broker::migrations().iter() {
        (migration.version, &migration.checksum).hash(&mut key);
    }
    for service in services {
        for migration in (service.migrations)().iter() {
            (migration.version, &migration.checksum).hash(&mut key);
        }
    }
    let services_to_migrate = services.to_vec();
    let server = TestServer::shared(&format!("{:016x}", key.finish()), |url| async move {
        let pool = PgPoolOptions::new().max_connections(1).connect(&url).await?;
        for service in services_to_migrate {
            chassis::migrate(&pool, &service).await?;
            let login = format!("alter role {} password '{PASSWORD}'", service.role);
            sqlx::query(AssertSqlSafe(login)).execute(&pool).await?;
        }
        pool.close().await;
        Ok(())
    })
    .await;
    let url = server.database().await;
    let pool = PgPoolOptions::new().max_connections(4).connect_lazy(&url);
    Database { pool: pool.unwrap_or_else(|error| panic!("{url}: {error}")), url }
}

impl Database {
    /// The URL by which a service reaches it, as its own role.
    pub fn url_of(&self, service: &Descriptor) -> String {
        let (_, place) = self.url.split_once('@').unwrap_or_default();
        format!("postgres://{}:{PASSWORD}@{place}", service.role)
    }
}

/// Asks until there is an answer; panics with `what` when there is none within a minute.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
