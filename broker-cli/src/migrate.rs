//! `broker migrate`.

use anyhow::Context;
use broker::Error;
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};

use crate::cli::Global;
use crate::connect;
use crate::failure::{Exit, NoAnswer, Usage};
use crate::out::Out;
use crate::progress::Spinner;

pub async fn run(global: &Global, out: &mut Out) -> anyhow::Result<Exit> {
    let url = connect::url(global)?;
    let spinner = Spinner::start("migrating the log");
    // The pool would try again and again, and then say only how long it tried.
    let options = options(&url)?;
    let connected = tokio::time::timeout(connect::PATIENCE, options.connect()).await;
    connected.map_err(|_| NoAnswer)?.map_err(Error::from)?.close().await.map_err(Error::from)?;

    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    let migrated = broker::migrate(&pool).await;
    pool.close().await;
    drop(spinner);
    migrated.context("the role must be one that may create schemas, on Postgres 15 or newer")?;
    let version = broker::migrations().iter().map(|migration| migration.version).max();
    let version = version.unwrap_or_default();
    out.say(format!("the log is at version {version}"), json!({"version": version}))?;
    out.flush()?;
    Ok(Exit::Done)
}

/// Says what is wrong with the URL without the URL: it may hold a password.
fn options(url: &str) -> Result<PgConnectOptions, Usage> {
    let wrong = |reason: String| {
        let form = "it looks like postgres://user:password@host:5432/database";
        Usage(format!("the log's URL: {reason}; {form}"))
    };
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => {
            url.parse().map_err(|error: sqlx::Error| wrong(error.to_string()))
        }
        _ => Err(wrong("it does not begin with postgres://".into())),
    }
}
