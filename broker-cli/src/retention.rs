//! `broker retention`.

use std::time::Duration;

use broker::{Broker, Kept, Retention};
use clap::Subcommand;
use serde::Serialize;

use crate::failure::{Exit, Usage};
use crate::out::{Out, Row};
use crate::text::{Limit, bytes, duration, span};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Shows how long records are kept
    Show,
    /// Sets limits, for all topics together; what is not named stays, `none` lifts a limit
    Set(Set),
    /// Does what the limits ask for now instead of within ten seconds
    Apply,
}

#[derive(Debug, clap::Args)]
pub struct Set {
    /// Older records go once every group has read them: 7d, 12h, 30m, 10s or none
    #[arg(long, value_parser = duration, value_name = "TIME")]
    keep_for: Option<Limit<Duration>>,

    /// The oldest go while all take more, once every group has read them: 10GiB, 500MB or none
    #[arg(long, value_parser = bytes, value_name = "SIZE")]
    keep_bytes: Option<Limit<u64>>,

    /// Older records go even if a group has not read them; at least --keep-for
    #[arg(long, value_parser = duration, value_name = "TIME")]
    force_after: Option<Limit<Duration>>,

    /// The oldest go while all take more, even unread; at least --keep-bytes
    #[arg(long, value_parser = bytes, value_name = "SIZE")]
    force_bytes: Option<Limit<u64>>,
}

pub async fn run(broker: &Broker, command: Command, out: &mut Out) -> anyhow::Result<Exit> {
    match command {
        Command::Show => show(broker.retention().await?, out)?,
        Command::Set(set) => {
            let limits = set.onto(broker.retention().await?)?;
            broker.set_retention(limits).await?;
            show(limits, out)?;
        }
        Command::Apply => {
            let done = broker.apply_retention().await?;
            match done.is_empty() && !out.is_json() {
                true => out.line("nothing to do")?,
                false => out.rows(&done.into_iter().map(Done::from).collect::<Vec<_>>())?,
            }
        }
    }
    Ok(Exit::Done)
}

impl Set {
    fn onto(self, now: Retention) -> Result<Retention, Usage> {
        let Set { keep_for, keep_bytes, force_after, force_bytes } = self;
        if keep_for.is_none()
            && keep_bytes.is_none()
            && force_after.is_none()
            && force_bytes.is_none()
        {
            return Err(Usage("no limit is named: broker retention set --help".into()));
        }
        Ok(Retention {
            keep_for: keep_for.map_or(now.keep_for, |limit| limit.0),
            keep_bytes: keep_bytes.map_or(now.keep_bytes, |limit| limit.0),
            force_after: force_after.map_or(now.force_after, |limit| limit.0),
            force_bytes: force_bytes.map_or(now.force_bytes, |limit| limit.0),
        })
    }
}

fn show(limits: Retention, out: &mut Out) -> anyhow::Result<()> {
    out.rows(&[Limits {
        keep_for_seconds: limits.keep_for.map(|limit| limit.as_secs_f64()),
        keep_bytes: limits.keep_bytes,
        force_after_seconds: limits.force_after.map(|limit| limit.as_secs_f64()),
        force_bytes: limits.force_bytes,
    }])
}

#[derive(Serialize)]
struct Limits {
    keep_for_seconds: Option<f64>,
    keep_bytes: Option<u64>,
    force_after_seconds: Option<f64>,
    force_bytes: Option<u64>,
}

impl Row for Limits {
    const COLUMNS: &'static [&'static str] =
        &["KEEP FOR", "KEEP BYTES", "FORCE AFTER", "FORCE BYTES"];

    fn cells(&self) -> Vec<String> {
        let time = |limit: Option<f64>| limit.map_or("none".into(), span);
        let size = |limit: Option<u64>| limit.map_or("none".into(), |limit| limit.to_string());
        vec![
            time(self.keep_for_seconds),
            size(self.keep_bytes),
            time(self.force_after_seconds),
            size(self.force_bytes),
        ]
    }
}

#[derive(Serialize)]
struct Done {
    action: String,
    segment: i64,
    detail: Option<String>,
}

impl From<Kept> for Done {
    fn from(kept: Kept) -> Done {
        Done { action: kept.action, segment: kept.segment, detail: kept.detail }
    }
}

impl Row for Done {
    const COLUMNS: &'static [&'static str] = &["ACTION", ">SEGMENT", "DETAIL"];

    fn cells(&self) -> Vec<String> {
        let Done { action, segment, detail } = self;
        vec![action.clone(), segment.to_string(), detail.clone().unwrap_or_default()]
    }
}
