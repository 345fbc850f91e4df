//! Prepares a database for services that run elsewhere: the log, every schema, and a password
//! for every role.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use chassis::read_password;

use crate::database::{self, DatabaseArgs};
use crate::services;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,

    /// The folder of the roles' passwords, each in a file such as waybill_order/password
    #[arg(long, env = "ROLE_PASSWORDS", default_value = "/run/secrets")]
    passwords: PathBuf,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let url = args.database.url()?;
    let url =
        url.context("migrate needs DATABASE_URL: a role that may create schemas and roles")?;
    // All of them, before anything is changed.
    let passwords = passwords(&args.passwords)?;
    let pool = database::connect(&url).await?;
    database::migrate(&pool).await?;
    for (role, password) in &passwords {
        database::set_password(&pool, role, password).await?;
    }
    pool.close().await;
    println!("the log and {} schemas are up to date", passwords.len());
    Ok(ExitCode::SUCCESS)
}

fn passwords(folder: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    services::descriptors()
        .map(|service| {
            Ok((service.role, read_password(&folder.join(service.role).join("password"))?))
        })
        .collect()
}
