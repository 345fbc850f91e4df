//! The database of a run: the one that `DATABASE_URL` names, or a private server.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use private_postgres::{Binaries, FetchProgress, Options, Server, reachable_data_dir};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::processes::asked;
use crate::services;
use crate::world::World;

const DATABASE: &str = "waybill";

/// A database that is there already.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseArgs {
    /// A Postgres that runs already, as a role that may create schemas and roles
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,

    /// A file with the password of that role, which then stands in no URL
    #[arg(long, env = "DATABASE_PASSWORD_FILE")]
    database_password_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// The URL, password included.
    pub fn url(&self) -> anyhow::Result<Option<String>> {
        let file = self.database_password_file.as_deref();
        self.database_url.as_deref().map(|url| chassis::with_password_of(url, file)).transpose()
    }
}

/// The database, migrated, with a login for each service.
pub struct Database {
    /// As its owner.
    pub url: String,
    pub pool: PgPool,
    password: String,
    keeper: Option<Keeper>,
}

/// Keeps a private server running.
struct Keeper {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), private_postgres::Error>>,
}

impl Database {
    pub async fn open(world: &World, url: Option<String>) -> anyhow::Result<Database> {
        let (url, server) = match url {
            Some(url) => (url, None),
            None => {
                let server = start(world).await?;
                (server.url(DATABASE), Some(server))
            }
        };
        let pool = connect(&url).await?;
        migrate(&pool).await?;
        let password = secret(world, "password")?;
        for service in services::descriptors() {
            set_password(&pool, service.role, &password).await?;
        }
        let keeper = server.map(|server| {
            let (stop, stopped) = watch::channel(false);
            Keeper { stop, task: tokio::spawn(keep_running(server, stopped)) }
        });
        Ok(Database { url, pool, password, keeper })
    }

    /// The URL by which a service's role logs in.
    pub fn url_of(&self, role: &str) -> anyhow::Result<String> {
        let (scheme, rest) = self.url.split_once("://").context("DATABASE_URL has no scheme")?;
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        Ok(format!("{scheme}://{role}:{}@{place}", self.password))
    }

    pub async fn close(self) -> anyhow::Result<()> {
        self.pool.close().await;
        if let Some(keeper) = self.keeper {
            keeper.stop.send_replace(true);
            keeper.task.await??;
        }
        Ok(())
    }
}

/// Brings the log and every service's schema up to date.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    for service in services::descriptors() {
        chassis::migrate(pool, &service).await.with_context(|| {
            "the database cannot be migrated: DATABASE_URL must name a role that may create \
             schemas and roles, on Postgres 15 or newer"
        })?;
    }
    Ok(())
}

pub async fn set_password(pool: &PgPool, role: &str, password: &str) -> anyhow::Result<()> {
    // `alter role` takes no parameters, so the server does the quoting.
    let login: String = sqlx::query_scalar("select format('alter role %I password %L', $1, $2)")
        .bind(role)
        .bind(password)
        .fetch_one(pool)
        .await?;
    sqlx::query(AssertSqlSafe(login))
        .execute(pool)
        .await
        .with_context(|| format!("the password of role {role} cannot be set"))?;
    Ok(())
}

/// Starts the server again whenever it dies: it recovers what was committed.
async fn keep_running(
    mut server: Server,
    mut stop: watch::Receiver<bool>,
) -> Result<(), private_postgres::Error> {
    loop {
        tokio::select! {
            end = server.wait() => match end {
                Ok(status) => eprintln!("postgres died ({status}); it is started again"),
                Err(error) => eprintln!("postgres died ({error}); it is started again"),
            },
            () = asked(&mut stop) => return server.stop().await,
        }
        while let Err(error) = server.restart().await {
            eprintln!("postgres does not start: {error}");
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = asked(&mut stop) => return Ok(()),
            }
        }
    }
}

pub async fn connect(url: &str) -> anyhow::Result<PgPool> {
    let options: PgConnectOptions = url
        .parse()
        .context("DATABASE_URL is no URL like postgres://user:password@host:5432/database")?;
    let place = format!("{}:{}", options.get_host(), options.get_port());
    PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await
        .with_context(|| {
            format!("the database at {place} cannot be used: is it up, and is DATABASE_URL right?")
        })
}

async fn start(world: &World) -> anyhow::Result<Server> {
    let bar = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {msg}").unwrap_or(ProgressStyle::default_spinner()),
    );
    let binaries = Binaries::find_or_fetch(|progress| match progress {
        FetchProgress::Downloading { release } => {
            bar.enable_steady_tick(Duration::from_millis(100));
            bar.set_message(format!("fetching Postgres {release}, once"));
        }
        FetchProgress::Unpacking { bytes } => {
            bar.set_message(format!("unpacking Postgres ({} MB)", bytes / 1_000_000));
        }
        FetchProgress::Waiting => bar.set_message("waiting for another waybill to fetch Postgres"),
        _ => bar.finish_and_clear(),
    })
    .await?;
    bar.finish_and_clear();
    let mut options = Options::new(reachable_data_dir(&world.postgres())?);
    // When a transaction was committed, for measuring; it costs nothing that shows.
    options.settings.push(("track_commit_timestamp".to_owned(), "on".to_owned()));
    let server = Server::start(&binaries, options).await?;
    let pool = connect(&server.url("postgres")).await?;
    let exists: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
            .bind(DATABASE)
            .fetch_one(&pool)
            .await?;
    if !exists {
        sqlx::query(AssertSqlSafe(format!("create database {DATABASE}"))).execute(&pool).await?;
    }
    pool.close().await;
    Ok(server)
}

/// A secret of a run, as the services' password: made once a data folder.
pub fn secret(world: &World, name: &str) -> anyhow::Result<String> {
    let path = world.folder.join(name);
    if let Ok(secret) = fs::read_to_string(&path)
        && secret.len() == 32
    {
        return Ok(secret);
    }
    let secret = random_secret();
    let mut file =
        fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
    file.write_all(secret.as_bytes())?;
    Ok(secret)
}

pub fn random_secret() -> String {
    let one = |_| char::from(rand::Rng::sample(&mut rand::rng(), rand::distr::Alphanumeric));
    (0..32).map(one).collect()
}
