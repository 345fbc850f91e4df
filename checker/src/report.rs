//! What a run has shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::analysis::{Anomaly, Final, Kind};
use crate::canary::Flagged;
use crate::collect::History;
use crate::faults::Fault;
use crate::history::{How, Outcome};

/// So many of each kind of anomaly are shown.
const SHOWN: usize = 5;

/// The system did not go on when it should have: no fault that was not done, but one found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck(pub String);

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stuck: {}", self.0)
    }
}

impl std::error::Error for Stuck {}

/// A fault of the schedule and what became of it.
#[derive(Debug, Clone)]
pub struct Inflicted {
    /// Which.
    pub fault: Fault,
    /// What it was seen to do, or why it was not done.
    pub seen: Result<String, String>,
}

/// How much was done.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Records that were acknowledged.
    pub acknowledged: usize,
    /// Calls by how and outcome.
    pub calls: BTreeMap<(&'static str, &'static str), usize>,
    /// Records in the log.
    pub logged: usize,
    /// Effects.
    pub effects: usize,
    /// Calls of a handler, those included that came to nothing.
    pub handled: usize,
    /// Records that readers were given.
    pub read: usize,
}

impl Counts {
    /// Counts a history.
    pub fn new(history: &History, end: &Final, acknowledged: usize) -> Counts {
        let mut calls = BTreeMap::new();
        for call in &history.calls {
            let how = match call.how {
                How::Publish => "publish",
                How::Transaction => "transaction",
                How::Rollback => "rollback",
            };
            let outcome = match call.outcome {
                Outcome::Ok => "ok",
                Outcome::Failed => "failed",
                Outcome::Unknown => "unknown",
            };
            *calls.entry((how, outcome)).or_default() += 1;
        }
        Counts {
            acknowledged,
            calls,
            logged: end.log.len(),
            effects: end.effects.len(),
            handled: history.handled,
            read: history.polls.iter().map(|poll| poll.records.len()).sum(),
        }
    }
}

/// All of it.
#[derive(Debug)]
pub struct Report {
    /// Repeats the schedule.
    pub seed: u64,
    /// From the start of the server on.
    pub took: Duration,
    /// All flagged, or there is no report.
    pub canaries: Vec<Flagged>,
    /// The kinds of faults that the run was to see.
    pub planned: Vec<Fault>,
    /// The schedule as it went.
    pub inflicted: Vec<Inflicted>,
    /// How much was done.
    pub counts: Counts,
    /// What was not as it should be with processes, or never came to an end.
    pub trouble: Vec<String>,
    /// What is wrong with the log.
    pub anomalies: Vec<Anomaly>,
}

impl Report {
    /// The kinds of faults that never happened: then the run shows nothing about them.
    pub fn never_happened(&self) -> Vec<Fault> {
        let happened = |fault: &Fault| {
            self.inflicted.iter().any(|done| done.fault == *fault && done.seen.is_ok())
        };
        self.planned.iter().copied().filter(|fault| !happened(fault)).collect()
    }

    /// 0: nothing is wrong; 1: the log is; 2: this run proves nothing.
    pub fn exit_code(&self) -> u8 {
        if !self.anomalies.is_empty() || !self.trouble.is_empty() {
            1
        } else if !self.never_happened().is_empty() {
            2
        } else {
            0
        }
    }

    /// Faults by kind: done, and not done.
    fn faults(&self) -> BTreeMap<Fault, (usize, usize)> {
        let mut faults: BTreeMap<Fault, (usize, usize)> = BTreeMap::new();
        for Inflicted { fault, seen } in &self.inflicted {
            let count = faults.entry(*fault).or_default();
            match seen {
                Ok(_) => count.0 += 1,
                Err(_) => count.1 += 1,
            }
        }
        faults
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Anomaly> {
        self.anomalies.iter().filter(move |anomaly| anomaly.kind == kind)
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let calls: Vec<Value> = (self.counts.calls.iter())
            .map(|((how, outcome), count)| json!({"how": how, "outcome": outcome, "calls": count}))
            .collect();
        let faults: Vec<Value> = (self.inflicted.iter())
            .map(|Inflicted { fault, seen }| match seen {
                Ok(seen) => json!({"fault": fault.name(), "seen": seen}),
                Err(why) => json!({"fault": fault.name(), "not_done": why}),
            })
            .collect();
        let canaries: Vec<Value> = (self.canaries.iter())
            .map(|flagged| {
                let milliseconds = flagged.after.as_millis() as u64;
                json!({"canary": flagged.name, "flagged_after_ms": milliseconds, "lost": flagged.lost, "of": flagged.of})
            })
            .collect();
        let anomalies: Vec<Value> = (self.anomalies.iter())
            .map(|anomaly| json!({"kind": anomaly.kind.name(), "what": anomaly.what}))
            .collect();
        json!({
            "seed": self.seed,
            "seconds": self.took.as_secs_f64(),
            "acknowledged": self.counts.acknowledged,
            "logged": self.counts.logged,
            "effects": self.counts.effects,
            "calls": calls,
            "canaries": canaries,
            "faults": faults,
            "trouble": self.trouble,
            "anomalies": anomalies,
            "exit_code": self.exit_code(),
        })
    }
}

impl fmt::Display for Flagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flagged { name, after, lost, of } = self;
        write!(
            f,
            "canary {name:?}: flagged after {:.1} s, {lost} of {of} lost",
            after.as_secs_f64()
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { acknowledged, logged, effects, handled, read, .. } = self.counts;
        writeln!(f, "\nseed {}, {} s", self.seed, self.took.as_secs())?;
        for flagged in &self.canaries {
            writeln!(f, "{flagged}")?;
        }
        writeln!(f, "{acknowledged} records acknowledged, {logged} in the log, {effects} effects")?;
        writeln!(f, "{handled} calls of handlers, {read} records to readers")?;
        let count = |how, outcome| self.counts.calls.get(&(how, outcome)).copied().unwrap_or(0);
        writeln!(f, "\n{:<20}{:>9}{:>9}{:>9}", "calls", "ok", "failed", "unknown")?;
        for how in ["publish", "transaction", "rollback"] {
            let [ok, failed, unknown] = ["ok", "failed", "unknown"].map(|of| count(how, of));
            writeln!(f, "{how:<20}{ok:>9}{failed:>9}{unknown:>9}")?;
        }
        writeln!(f, "\n{:<20}{:>9}{:>9}", "faults", "done", "not done")?;
        for (fault, (done, not)) in self.faults() {
            writeln!(f, "{:<20}{done:>9}{not:>9}", fault.name())?;
        }
        writeln!(f, "\nanomalies")?;
        for kind in Kind::ALL {
            writeln!(f, "{:<20}{:>9}", kind.name(), self.of_kind(kind).count())?;
            for anomaly in self.of_kind(kind).take(SHOWN) {
                writeln!(f, "    {}", anomaly.what)?;
            }
        }
        for trouble in &self.trouble {
            writeln!(f, "trouble: {trouble}")?;
        }
        for fault in self.never_happened() {
            writeln!(f, "{} never happened: this run shows nothing about it", fault.name())?;
        }
        match self.exit_code() {
            0 => writeln!(f, "\nnothing is wrong"),
            1 => writeln!(f, "\nSOMETHING IS WRONG; --seed {} repeats the schedule", self.seed),
            _ => writeln!(f, "\nTHIS RUN PROVES NOTHING"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let done = Inflicted { fault: Fault::CrashPostgres, seen: Ok("seen".into()) };
        Report {
            seed: 1,
            took: Duration::from_secs(1),
            canaries: Vec::new(),
            planned: vec![Fault::CrashPostgres],
            inflicted: vec![done],
            counts: Counts::default(),
            trouble: Vec::new(),
            anomalies: Vec::new(),
        }
    }

    #[test]
    fn the_exit_code_says_what_a_run_is_worth() {
        assert_eq!(report().exit_code(), 0);
        let planned = vec![Fault::CrashPostgres, Fault::KillMember];
        let blind = Report { planned, ..report() };
        assert_eq!((blind.exit_code(), blind.never_happened()), (2, vec![Fault::KillMember]));
        let not_done = Inflicted { fault: Fault::CrashPostgres, seen: Err("not done".into()) };
        assert_eq!(Report { inflicted: vec![not_done], ..report() }.exit_code(), 2);
        assert_eq!(Report { trouble: vec!["m1 hangs".into()], ..report() }.exit_code(), 1);
    }

    #[test]
    fn an_anomaly_is_told_with_its_records() {
        let anomaly = Anomaly { kind: Kind::LostWrite, what: "p1.1.0.7 was acknowledged".into() };
        let wrong = Report { anomalies: vec![anomaly], ..report() };
        assert_eq!((wrong.exit_code(), &wrong.json()["exit_code"]), (1, &json!(1)));
        assert!(wrong.to_string().contains("lost write                  1\n    p1.1.0.7 was"));
    }
}
