//! Recounts everything: every accepted order has its events, one shipment, one invoice and
//! its mails, in order, and nothing is left over.
//!
//! [`checks`] are the questions, each a query whose rows are what is wrong; [`quiet`] says
//! what is still on its way.

mod checks;
mod quiet;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use mailbox::Mailbox;
use sqlx::{PgPool, Postgres, Transaction};

use crate::Folder;
use crate::database::{Database, DatabaseArgs};
use crate::up::mailbox_options;
use crate::world::{Elsewhere, World};

/// What is told of one question; the rest is counted.
const TOLD_OF_EACH: usize = 20;

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
    quiet::offsets_are_given(&database.pool).await?;
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
    let mut findings = quiet::wait(pool, patience).await?;
    // One snapshot for all questions, and the log unpacked once.
    let mut tx = pool.begin().await?;
    sqlx::query("set transaction isolation level repeatable read").execute(&mut *tx).await?;
    checks::prepare(&mut tx).await?;
    for (question, sql) in checks::QUESTIONS {
        let wrong: Vec<String> =
            sqlx::query_scalar(sql).fetch_all(&mut *tx).await.context(question)?;
        if !wrong.is_empty() {
            findings.push((question, wrong));
        }
    }
    let missing = missing_mails(&mut tx, &mails.message_ids().await?).await?;
    if !missing.is_empty() {
        findings.push(("a mail that was sent is in the mailbox", missing));
    }
    let letters: Vec<String> = sqlx::query_scalar(checks::DEAD_LETTERS).fetch_all(&mut *tx).await?;
    let counts: Vec<String> = sqlx::query_scalar(checks::COUNTS).fetch_all(&mut *tx).await?;
    drop(tx);

    println!("{}", counts.join(", "));
    for letter in letters.iter().take(TOLD_OF_EACH) {
        println!("note: {letter}");
    }
    if letters.len() > TOLD_OF_EACH {
        println!("note: and {} dead letters more", letters.len() - TOLD_OF_EACH);
    }
    if findings.is_empty() {
        println!("verified: nothing is missing, nothing is double, nothing is left over");
        return Ok(ExitCode::SUCCESS);
    }
    for (question, wrong) in &findings {
        println!("NOT TRUE: {question}");
        for finding in wrong.iter().take(TOLD_OF_EACH) {
            println!("  {finding}");
        }
        if wrong.len() > TOLD_OF_EACH {
            println!("  and {} more", wrong.len() - TOLD_OF_EACH);
        }
    }
    Ok(ExitCode::FAILURE)
}

async fn missing_mails(
    tx: &mut Transaction<'_, Postgres>,
    mailbox: &BTreeSet<String>,
) -> anyhow::Result<Vec<String>> {
    let sent: Vec<(String, String)> =
        sqlx::query_as(checks::SENT_MAILS).fetch_all(&mut **tx).await?;
    let missing = sent
        .into_iter()
        .filter(|(message_id, _)| !mailbox.contains(message_id.trim_matches(['<', '>'])))
        .map(|(message_id, what)| format!("{what}: {message_id} is not there"));
    Ok(missing.collect())
}
