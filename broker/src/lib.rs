//! Kafka's topics, partitions, keys, offsets, consumer groups, retries and dead letters, on
//! the Postgres that you have.
//!
//! In reading order:
//!
//! - [`Broker`] connects, makes topics and publishes;
//! - [`NewRecord`] is what goes in, [`Record`] what comes out;
//! - [`Transaction`] publishes with your own rows or not at all;
//! - [`Handler`] and [`ConsumerGroup`] consume: effects and progress commit together;
//! - [`Broadcast`] reads along without a group;
//! - [`migrate()`] makes the schema `log`; `migrations/` says how it works.
#![deny(missing_docs)]

mod broadcast;
mod broker;
mod error;
mod group;
mod migrate;
mod notices;
mod operate;
mod partitioner;
mod publish;
mod publisher;
mod record;
mod sequencer;
mod supervise;

pub use broadcast::Broadcast;
pub use broker::{Broker, Options};
pub use error::Error;
pub use group::{
    AfterRetries, BelowLogStart, Breaker, Consumer, ConsumerGroup, Handler, HandlerError, Retry,
    Start,
};
pub use migrate::{migrate, migrate_schema, migrations};
pub use operate::{
    DeadLetter, Kept, PartitionInfo, Place, Position, Privilege, Redrive, Retention, Seek,
    TopicInfo,
};
pub use publish::Transaction;
pub use record::{Headers, InvalidRecord, MAX_RECORD_BYTES, NewRecord, Record};

pub(crate) use broker::Stop;
