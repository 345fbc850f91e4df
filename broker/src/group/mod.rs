//! Consumer groups: who reads which partition, and how a record is handled exactly once.
//!
//! In reading order: [`assign`] is the rule by which members share partitions, [`session`]
//! a member's connection, [`consumer`] the loop that joins, claims, fetches and hands out,
//! [`partition`] the actor that keeps one partition in order, [`worker`] what happens to a
//! batch.

mod assign;
mod consumer;
mod handler;
mod partition;
pub(crate) mod session;
mod worker;

use std::sync::Arc;
use std::time::Duration;

pub use consumer::Consumer;
pub use handler::{Handler, HandlerError};

use crate::{Broker, Error};
use handler::DynHandler;

/// Where a group begins that is new to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that is kept.
    Earliest,
    /// At the records that are published from now on.
    Latest,
}

impl Start {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Start::Earliest => "earliest",
            Start::Latest => "latest",
        }
    }
}

/// What becomes of a record that its handler keeps failing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRetries {
    /// It goes to `<topic>.<group>.dlq` and the partition goes on: order is given up for its
    /// key. A record of a dead-letter topic blocks all the same.
    DeadLetter,
    /// It is retried for ever, and its partition waits.
    Block,
}

/// How often and how fast a failing record is retried.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// How often a record is handled by itself before it is given up. At least 1.
    pub attempts: u32,
    /// The pause after the first attempt; it doubles with each, with jitter.
    pub pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
    /// What then.
    pub then: AfterRetries,
}

impl Default for Retry {
    /// Five attempts, from 100 ms to 10 s apart, then the dead-letter topic.
    fn default() -> Self {
        Retry {
            attempts: 5,
            pause: Duration::from_millis(100),
            max_pause: Duration::from_secs(10),
            then: AfterRetries::DeadLetter,
        }
    }
}

/// A consumer group's member, being set up. See [`Broker::consumer_group`].
pub struct ConsumerGroup {
    pub(crate) broker: Broker,
    pub(crate) spec: Spec,
}

#[derive(Clone)]
pub(crate) struct Spec {
    pub group: Arc<str>,
    pub topics: Vec<Arc<str>>,
    pub handlers: Vec<Arc<dyn DynHandler>>,
    pub start: Start,
    pub retry: Retry,
    pub max_batch: u32,
    pub max_in_flight: usize,
    pub session_timeout: Duration,
}

impl Broker {
    /// Sets up a member of a consumer group: the group's members, in whatever process, share
    /// the partitions of its topics between them.
    pub fn consumer_group(&self, group: &str) -> ConsumerGroup {
        ConsumerGroup {
            broker: self.clone(),
            spec: Spec {
                group: group.into(),
                topics: Vec::new(),
                handlers: Vec::new(),
                start: Start::Earliest,
                retry: Retry::default(),
                max_batch: 500,
                max_in_flight: 4,
                session_timeout: Duration::from_secs(10),
            },
        }
    }
}

impl ConsumerGroup {
    /// Subscribes to a topic. All members of a group should subscribe to the same topics:
    /// one that a member lacks is shared among the others.
    pub fn topic(mut self, topic: &str, handler: impl Handler) -> Self {
        self.spec.topics.push(topic.into());
        self.spec.handlers.push(Arc::new(handler));
        self
    }

    /// Where the group begins in a topic that is new to it. Default: [`Start::Earliest`].
    pub fn start_at(mut self, start: Start) -> Self {
        self.spec.start = start;
        self
    }

    /// How failing records are retried.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.spec.retry = Retry { attempts: retry.attempts.max(1), ..retry };
        self
    }

    /// The most records that a handler gets at once, 1 to 10,000. Default: 500.
    pub fn max_batch(mut self, records: u32) -> Self {
        self.spec.max_batch = records.clamp(1, 10_000);
        self
    }

    /// The most transactions that this member has open at once, one a partition.
    /// Default: 4.
    pub fn max_in_flight(mut self, transactions: usize) -> Self {
        self.spec.max_in_flight = transactions.max(1);
        self
    }

    /// How long a member may be silent before its partitions are others' to take. A process
    /// that dies is noticed at once; this is for one that hangs. Default: 10 s.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.spec.session_timeout = timeout.max(Duration::from_secs(3));
        self
    }

    /// Joins the group and starts to consume.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] or [`Error::Forbidden`] where a subscription is not possible;
    /// what breaks later is retried and logged.
    pub async fn start(self) -> Result<Consumer, Error> {
        Consumer::start(self.broker, self.spec).await
    }
}
