//! Consumer groups: who reads which partition, and how a record is handled exactly once.
//!
//! In reading order: [`assign`] is the rule by which members share partitions, [`session`]
//! a member's connection, [`member`] the loop that joins, claims, fetches and hands out,
//! [`partition`] the actor that keeps one partition in order, [`worker`] what happens to a
//! batch, [`limits`] what slows it down, [`consumer`] the handle of it all.

mod assign;
mod consumer;
pub(crate) mod dead_letter;
mod handler;
mod limits;
mod member;
mod partition;
pub(crate) mod session;
mod worker;

use std::num::NonZeroU32;
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

/// What a group does that finds its next record deleted by retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BelowLogStart {
    /// [`ConsumerGroup::start`] fails with [`Error::BelowLogStart`]; where it happens to a running
    /// member the partition stops and the error is logged. Seek the group to go on.
    Fail,
    /// It goes on at the log start.
    Earliest,
    /// It goes on at the end.
    Latest,
}

/// When so many records in a row were given up that the records are hardly to blame, but
/// something that their handler needs: no more are diverted, and the subscription tries again
/// less and less often until one succeeds. Counted in each member; a record that its handler
/// [rejects](HandlerError::reject) does not count.
#[derive(Debug, Clone, Copy)]
pub struct Breaker {
    /// How many in a row are diverted before it opens.
    pub failures: u32,
    /// The first pause; it doubles with each failure more, with jitter.
    pub pause: Duration,
    /// The longest pause.
    pub max_pause: Duration,
}

impl Default for Breaker {
    /// After 20 records, from 1 s to 60 s.
    fn default() -> Self {
        Breaker { failures: 20, pause: Duration::from_secs(1), max_pause: Duration::from_secs(60) }
    }
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
    pub below_log_start: BelowLogStart,
    pub retry: Retry,
    pub breaker: Breaker,
    max_batch: u32,
    pub max_rate: Option<NonZeroU32>,
    pub max_in_flight: usize,
    pub session_timeout: Duration,
}

impl Spec {
    /// No more at once than a second's worth.
    pub fn max_batch(&self) -> u32 {
        self.max_rate.map_or(self.max_batch, |rate| self.max_batch.min(rate.get()))
    }
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
                below_log_start: BelowLogStart::Fail,
                retry: Retry::default(),
                breaker: Breaker::default(),
                max_batch: 500,
                max_rate: None,
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

    /// What to do when retention was faster than this group. Default: [`BelowLogStart::Fail`].
    pub fn below_log_start(mut self, then: BelowLogStart) -> Self {
        self.spec.below_log_start = then;
        self
    }

    /// When to stop diverting and wait instead.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.spec.breaker = breaker;
        self
    }

    /// The most records a second that this member handles of each topic. A handler then gets at
    /// most a second's worth at once. Default: no limit.
    pub fn max_rate(mut self, records_per_second: u32) -> Self {
        self.spec.max_rate = NonZeroU32::new(records_per_second.max(1));
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
