#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

// In the order to read it.
mod options;
mod run;

mod actors;
mod cast;
mod database;
mod faults;

mod collect;
mod history;

mod analysis;
mod canary;
mod report;

pub use options::{Preset, RunOptions};
pub use run::run;

pub use actors::{ActorOptions, Role, act};
pub use faults::{Fault, Planned, plan};

pub use collect::{Call, History, Poll};
pub use history::{How, Outcome};

pub use analysis::{Anomaly, Effect, Final, Kind, Logged, analyse};
pub use canary::{CANARIES, Canary, Flagged};
pub use report::{Counts, Inflicted, Report, Stuck};
