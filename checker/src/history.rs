//! What a process did, line by line: written before a call and after it, so that a process
//! killed between the two leaves a call whose outcome is unknown.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How records were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// `Broker::publish`.
    Publish,
    /// A transaction with a row beside each record, committed.
    Transaction,
    /// The same, rolled back on purpose.
    Rollback,
}

/// What the sender was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is durable.
    Ok,
    /// Nothing of it was stored.
    Failed,
    /// Either; also where the process died before it was told.
    Unknown,
}

/// One line of a process's history.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
pub(crate) enum Line {
    Start {
        pid: u32,
        wall: DateTime<Utc>,
    },
    /// Records, key and value, are about to be sent.
    Invoke {
        op: u64,
        how: How,
        records: Vec<(String, String)>,
    },
    Complete {
        op: u64,
        outcome: Outcome,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// A handler was given records and has written their effects, uncommitted yet.
    Handle {
        xid: String,
        partition: i32,
        first: i64,
        count: usize,
        /// It will come to nothing, by the handler's own choice.
        fails: bool,
    },
    /// A reader was given records, offset and value, of one partition. `life` is the server's,
    /// where it was the same before the call and after it.
    Poll {
        session: u32,
        life: Option<i64>,
        partition: i32,
        records: Vec<(i64, String)>,
    },
}

/// A line and the microseconds since its process began, by a clock that is never set.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stamped {
    pub at: u64,
    #[serde(flatten)]
    pub line: Line,
}

/// Writes a process's history. A line is with the operating system when `write` returns: it
/// survives this process, whatever ends it.
pub(crate) struct Recorder {
    file: Mutex<File>,
    began: Instant,
}

impl Recorder {
    pub fn create(path: &Path) -> anyhow::Result<Recorder> {
        let file = File::options()
            .create_new(true)
            .append(true)
            .open(path)
            .with_context(|| format!("the history {} cannot be made", path.display()))?;
        let recorder = Recorder { file: Mutex::new(file), began: Instant::now() };
        recorder.write(Line::Start { pid: std::process::id(), wall: Utc::now() })?;
        Ok(recorder)
    }

    /// # Errors
    /// A history with a hole proves nothing, so whoever cannot write it has to end.
    pub fn write(&self, line: Line) -> anyhow::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: the order of the lines is the order of their times.
        let at = self.began.elapsed().as_micros() as u64;
        let mut text = serde_json::to_vec(&Stamped { at, line })?;
        text.push(b'\n');
        file.write_all(&text).context("the history cannot be written: is the disk full?")
    }
}
