//! Reads the histories of all processes into one, while they are still being written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::history::{How, Line, Outcome, Stamped};

/// All that was done to the log.
#[derive(Debug, Default)]
pub struct History {
    /// In the order in which each process began them.
    pub calls: Vec<Call>,
    /// In the order in which each reader got them.
    pub polls: Vec<Poll>,
    /// How often a handler was called.
    pub handled: usize,
}

/// Records that were sent together.
#[derive(Debug, Clone)]
pub struct Call {
    /// One life of one process, whose times can be compared.
    pub process: String,
    /// How.
    pub how: How,
    /// Key and value, in the order of sending. No value is ever sent twice.
    pub records: Vec<(String, String)>,
    /// When the call began.
    pub invoked: u64,
    /// When it returned; `None` where the process died first.
    pub completed: Option<u64>,
    /// What it returned.
    pub outcome: Outcome,
}

/// Records of one partition that a broadcast reader was given at once.
#[derive(Debug, Clone)]
pub struct Poll {
    /// One reader from its start at offset 0 on.
    pub session: String,
    /// The server's life; `None` where it may have crashed meanwhile.
    pub life: Option<i64>,
    /// The partition.
    pub partition: i32,
    /// Offset and value.
    pub records: Vec<(i64, String)>,
}

/// The files as far as they were read.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub history: History,
    pub acknowledged: usize,
    /// For the newest session of a reader: the next offset of each partition.
    pub read_to: BTreeMap<i32, i64>,
    /// Transactions that handlers chose to fail.
    pub failing: HashSet<String>,
    newest_session: String,
    files: HashMap<PathBuf, Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    read: u64,
    lines: usize,
    open: HashMap<u64, usize>,
}

impl Collector {
    /// Reads what was added to a process's file; `process` names this life of it. Returns how
    /// many lines it has by now.
    pub fn follow(&mut self, path: &Path, process: &str) -> anyhow::Result<usize> {
        let told = || format!("the history {} cannot be read", path.display());
        let mut file = match File::open(path) {
            Ok(file) => file,
            // It has only just been started.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error).with_context(told),
        };
        let mut tail = self.files.remove(path).unwrap_or_default();
        file.seek(SeekFrom::Start(tail.read)).with_context(told)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).with_context(told)?;
        // A line without its end is still being written, or its writer was killed: then what
        // it announces was not done.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Stamped = serde_json::from_slice(line).with_context(told)?;
            self.take(line, process, &mut tail);
            tail.lines += 1;
        }
        tail.read += whole as u64;
        let lines = tail.lines;
        self.files.insert(path.to_owned(), tail);
        Ok(lines)
    }

    fn take(&mut self, Stamped { at, line }: Stamped, process: &str, tail: &mut Tail) {
        match line {
            Line::Start { .. } => {}
            Line::Handle { xid, fails, .. } => {
                self.history.handled += 1;
                if fails {
                    self.failing.insert(xid);
                }
            }
            Line::Invoke { op, how, records } => {
                tail.open.insert(op, self.history.calls.len());
                self.history.calls.push(Call {
                    process: process.to_owned(),
                    how,
                    records,
                    invoked: at,
                    completed: None,
                    outcome: Outcome::Unknown,
                });
            }
            Line::Complete { op, outcome, .. } => {
                let Some(call) = tail.open.remove(&op).map(|at| &mut self.history.calls[at]) else {
                    return;
                };
                call.completed = Some(at);
                call.outcome = outcome;
                if outcome == Outcome::Ok && call.how != How::Rollback {
                    self.acknowledged += call.records.len();
                }
            }
            Line::Poll { session, life, partition, records } => {
                let session = format!("{process}/{session}");
                if session != self.newest_session {
                    self.newest_session.clone_from(&session);
                    self.read_to.clear();
                }
                if let Some((last, _)) = records.last() {
                    self.read_to.insert(partition, last + 1);
                }
                self.history.polls.push(Poll { session, life, partition, records });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Recorder;

    #[test]
    fn a_call_without_an_answer_is_unknown() {
        let path = std::env::temp_dir().join(format!("checker-collect-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let recorder = Recorder::create(&path).unwrap();
        let send =
            |op| Line::Invoke { op, how: How::Publish, records: vec![("k".into(), "v".into())] };
        recorder.write(send(0)).unwrap();
        recorder.write(send(1)).unwrap();
        let mut collector = Collector::default();
        assert_eq!(collector.follow(&path, "p1.1").unwrap(), 3);
        recorder.write(Line::Complete { op: 1, outcome: Outcome::Ok, why: None }).unwrap();
        assert_eq!(collector.follow(&path, "p1.1").unwrap(), 4);
        let outcomes: Vec<_> = collector.history.calls.iter().map(|call| call.outcome).collect();
        assert_eq!(outcomes, [Outcome::Unknown, Outcome::Ok]);
        assert_eq!(collector.acknowledged, 1);
        std::fs::remove_file(&path).unwrap();
    }
}
