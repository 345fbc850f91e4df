//! From records to events: a service's list of subscribers.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::ops::Deref;
use std::sync::Arc;

use broker::{Broker, Consumer, Handler, HandlerError, Record, Transaction};
use chrono::Utc;
use contracts::{Event, LogLine};
use futures::future::BoxFuture;
use tracing::debug;

use crate::events::TYPE;
use crate::{Step, Trace};

/// Of a large batch the first: a line's text has its bound.
const KEYS_IN_LINE: usize = 100;

/// Takes one type of event. One file, one struct with what it needs, one function.
pub trait Subscriber: Send + Sync + 'static {
    /// What it takes.
    type Event: Event;

    /// Acts on events of one partition, in order. What it writes and publishes through `tx`
    /// commits together with the fact that they were handled; see [`broker::Handler`].
    fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<Self::Event>],
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// An event with what its record says around it. Derefs to the event.
#[derive(Debug, Clone)]
pub struct Received<E> {
    /// The event.
    pub event: E,
    /// The record that it came in.
    pub record: Record,
    /// What caused it, for what is published in turn.
    pub trace: Trace,
}

impl<E> Deref for Received<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.event
    }
}

impl<E: Event> Received<E> {
    fn decode(record: &Record, trace: &Trace) -> Result<Self, HandlerError> {
        let event = serde_json::from_slice(record.value()).map_err(|error| {
            HandlerError::reject(format!("value is no {}: {error}", E::TYPE)).at(record)
        })?;
        Ok(Received { event, record: record.clone(), trace: trace.clone() })
    }
}

/// A service's subscribers: what it reacts to, a line each.
#[derive(Default)]
pub struct Subscriptions {
    topics: BTreeMap<&'static str, Router>,
}

impl Subscriptions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subscriber. A type has one in a service; of two, the later stays.
    pub fn on<S: Subscriber>(mut self, subscriber: S) -> Self {
        let router = self.topics.entry(S::Event::TOPIC).or_default();
        router.by_type.insert(S::Event::TYPE, Arc::new(subscriber));
        self
    }

    /// Joins the consumer group and begins to handle.
    ///
    /// # Errors
    /// Where a topic is missing or not this role's to consume.
    pub async fn start(self, broker: &Broker, group: &str) -> Result<Consumer, broker::Error> {
        let mut consumers = broker.consumer_group(group);
        for (topic, mut router) in self.topics {
            router.group = group.into();
            consumers = consumers.topic(topic, router);
        }
        consumers.start().await
    }
}

/// Hands each record of a topic to the subscriber of its type, in partition order;
/// neighbours of one type go together. A type that nobody takes is skipped and counted.
#[derive(Default)]
struct Router {
    group: Arc<str>,
    by_type: BTreeMap<&'static str, Arc<dyn DynSubscriber>>,
}

impl Handler for Router {
    async fn handle(&self, tx: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        let typed = records
            .iter()
            .map(|record| match record.header(TYPE) {
                Some(name) => Ok((name, record)),
                None => {
                    Err(HandlerError::reject("no CloudEvent: it has no header ce_type").at(record))
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        for run in typed.chunk_by(|(one, _), (next, _)| one == next) {
            let (name, first) = run[0];
            let records: Vec<&Record> = run.iter().map(|(_, record)| *record).collect();
            let handled = match self.by_type.get(name) {
                Some(subscriber) => {
                    subscriber.handle(tx, &records, &self.group).await?;
                    true
                }
                None => false,
            };
            let outcome = if handled { "handled" } else { "skipped" };
            // A line about lines would come back as one, for ever.
            if first.topic() != LogLine::TOPIC {
                debug!(
                    topic = first.topic(),
                    partition = first.partition(),
                    offset = first.offset(),
                    records = records.len(),
                    keys = %Keys(&records),
                    "{outcome} {name}"
                );
            }
            metrics::counter!(
                "waybill_records_total",
                "group" => self.group.to_string(),
                "topic" => first.topic().to_owned(),
                "outcome" => outcome
            )
            .increment(records.len() as u64);
            if handled {
                // The run's first has waited the longest.
                let waited = Utc::now() - first.published_at();
                metrics::histogram!(
                    "waybill_time_to_effect_seconds",
                    "group" => self.group.to_string(),
                    "topic" => first.topic().to_owned()
                )
                .record(waited.to_std().unwrap_or_default().as_secs_f64());
            }
        }
        Ok(())
    }
}

/// Records' keys, for a log line: who looks for an order finds what handled it.
struct Keys<'a>(&'a [&'a Record]);

impl Display for Keys<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for (i, record) in self.0.iter().take(KEYS_IN_LINE).enumerate() {
            let space = if i > 0 { " " } else { "" };
            write!(f, "{space}{}", record.key().unwrap_or_default().escape_ascii())?;
        }
        if self.0.len() > KEYS_IN_LINE {
            write!(f, " …")?;
        }
        Ok(())
    }
}

/// [`Subscriber`] as an object that decodes for itself.
trait DynSubscriber: Send + Sync {
    fn handle<'a>(
        &'a self,
        tx: &'a mut Transaction,
        records: &'a [&'a Record],
        group: &'a str,
    ) -> BoxFuture<'a, Result<(), HandlerError>>;
}

impl<S: Subscriber> DynSubscriber for S {
    fn handle<'a>(
        &'a self,
        tx: &'a mut Transaction,
        records: &'a [&'a Record],
        group: &'a str,
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            let steps: Vec<_> = records.iter().map(|record| Step::process(record, group)).collect();
            let events = records.iter().zip(&steps);
            let events = events.map(|(record, step)| Received::decode(record, step.trace()));
            let handled = match events.collect::<Result<Vec<_>, _>>() {
                Ok(events) => Subscriber::handle(self, tx, &events).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &handled {
                steps.iter().for_each(|step| step.fail(error));
            }
            handled
        })
    }
}
