//! Recounts everything: every accepted order has its events, one shipment, one invoice and
//! its mails, in order, and nothing is left over.
//!
//! [`checks`] are the questions, each a query whose rows are what is wrong; [`quiet`] says
//! what is still on its way; [`report`](mod@report) is how it is told.

mod checks;
pub mod quiet;
mod report;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use dashboard::control::{Report, Told};
use futures::TryStreamExt;
use mailbox::Mailbox;
use sqlx::{PgPool, Postgres, Transaction};

use crate::Folder;
use crate::database::{Database, DatabaseArgs};
use crate::up::mailbox_options;
use crate::world::{Elsewhere, World};

use report::{finding, told};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: Folder,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    elsewhere: Elsewhere,

    /// How many seconds to wait for what is still on its way
    #[arg(long, default_value_t = 60)]
    pub patience: u64,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let patience = Duration::from_secs(args.patience);
    if let Some(run) = args.elsewhere.or_on(&args.folder.data, &args.database)? {
        let pool =
            PgPool::connect(&run.database_url).await.context("the running system's database")?;
        return report(&pool, patience, &Mails::At(run.mailbox_url)).await;
    }
    // Nothing runs, so nothing is on its way: what is missing now stays missing.
    let world = World::take(&args.folder.data)?;
    let database = Database::open(&world, args.database.url()?).await?;
    // Processes say something while they stop: who stopped last gave it no offset.
    let broker = broker::Broker::connect(&database.url).await?;
    broker.sequenced().await?;
    broker.shutdown().await;
    let mails = Mails::In(Mailbox::start(mailbox_options(&world, None)).await?);
    let code = report(&database.pool, Duration::ZERO, &mails).await;
    database.close().await?;
    code
}

/// Where the mails of a run can be counted.
pub enum Mails {
    /// In a running mailbox, by its API.
    At(String),
    /// In the folder of one that ran.
    In(Mailbox),
}

impl Mails {
    async fn message_ids(&self) -> anyhow::Result<BTreeSet<String>> {
        let url = match self {
            Mails::At(url) => url,
            Mails::In(mailbox) => {
                return Ok(mailbox.messages().iter().map(|mail| mail.message_id.clone()).collect());
            }
        };
        let http = reqwest::Client::new();
        let mut ids = BTreeSet::new();
        let mut start = 0;
        loop {
            let page = format!("{url}/api/v1/messages?start={start}&limit=1000");
            let page: serde_json::Value = http.get(page).send().await?.json().await?;
            let messages = page["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
            if messages.is_empty() {
                return Ok(ids);
            }
            start += messages.len();
            ids.extend(
                messages.iter().filter_map(|mail| Some(mail["MessageID"].as_str()?.to_owned())),
            );
        }
    }
}

/// Counts, prints, and says by its code whether all is there.
pub async fn report(pool: &PgPool, patience: Duration, mails: &Mails) -> anyhow::Result<ExitCode> {
    let report = count(pool, patience, mails).await?;
    report::print(&report);
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Recounts everything.
pub async fn count(pool: &PgPool, patience: Duration, mails: &Mails) -> anyhow::Result<Report> {
    let mut findings = quiet::wait(pool, patience).await?;
    // One snapshot for all questions, and the log unpacked once.
    let mut tx = pool.begin().await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *tx).await?;
    checks::prepare(&mut tx).await?;
    for (promise, sql) in checks::QUESTIONS {
        let wrong = sqlx::query_scalar(sql).fetch(&mut *tx);
        findings.extend(finding(promise, told(wrong).await.context(promise)?));
    }
    let missing = missing_mails(&mut tx, &mails.message_ids().await?).await?;
    findings.extend(finding("a mail that was sent is in the mailbox", missing));
    let dead_letters = told(sqlx::query_scalar(checks::DEAD_LETTERS).fetch(&mut *tx)).await?;
    let counts = sqlx::query_scalar(checks::COUNTS).fetch_all(&mut *tx).await?;
    Ok(Report { counts, findings, dead_letters })
}

async fn missing_mails(
    tx: &mut Transaction<'_, Postgres>,
    mailbox: &BTreeSet<String>,
) -> sqlx::Result<Told> {
    let sent = sqlx::query_as(checks::SENT_MAILS).fetch(&mut **tx);
    let missing = sent.try_filter_map(async |(message_id, what): (String, String)| {
        let there = mailbox.contains(message_id.trim_matches(['<', '>']));
        Ok((!there).then(|| format!("{what}: {message_id} is not there")))
    });
    told(missing).await
}
