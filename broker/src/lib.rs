#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod broadcast;
mod broker;
mod connections;
mod error;
mod group;
mod migrate;
mod notices;
mod operate;
mod options;
mod partitioner;
pub mod promises;
mod publish;
mod publisher;
mod record;
mod sequencer;
mod supervise;
mod telemetry;
mod ticks;

pub use broadcast::Broadcast;
pub use broker::Broker;
pub use error::Error;
pub use group::{
    AfterRetries, BelowLogStart, Breaker, Consumer, ConsumerGroup, Handler, HandlerError, Retry,
    Start,
};
pub use migrate::{migrate, migrate_schema, migrations};
pub use operate::{
    Commit, DeadLetter, Kept, PartitionInfo, Passed, Place, Position, Privilege, Redrive,
    Retention, Seek, TopicInfo, Trail,
};
pub use options::Options;
pub use publish::Transaction;
pub use record::{Headers, InvalidRecord, MAX_RECORD_BYTES, NewRecord, Record};

pub(crate) use broker::Stop;
