//! Events as records: CloudEvents 1.0 in binary mode, as its Kafka binding writes it.

use broker::{Broker, NewRecord, Transaction};
use chrono::{SecondsFormat, Utc};
use contracts::Event;
use uuid::Uuid;

use crate::{Step, Trace};

pub(crate) const ID: &str = "ce_id";
pub(crate) const TYPE: &str = "ce_type";
pub(crate) const TRACEPARENT: &str = "traceparent";

/// Publishing events with a transaction.
pub trait EventTransaction {
    /// Publishes an event if and when the transaction commits. Topic, key and headers follow
    /// from its type; `trace` is what caused it.
    ///
    /// # Errors
    /// Where the event is larger than a record may be.
    fn publish_event<E: Event>(&mut self, event: &E, trace: &Trace) -> Result<(), broker::Error>;
}

impl EventTransaction for Transaction {
    fn publish_event<E: Event>(&mut self, event: &E, trace: &Trace) -> Result<(), broker::Error> {
        let id = Uuid::now_v7().to_string();
        let created = Step::create::<E>(trace, &id, &event.key());
        self.publish(record(event, id, created.trace()))
    }
}

/// Publishes events that belong to no transaction and to no request's trace.
///
/// # Errors
/// Where the log cannot take them, or one is larger than a record may be.
pub async fn publish<E: Event>(
    broker: &Broker,
    events: impl IntoIterator<Item = E>,
) -> Result<(), broker::Error> {
    let trace = Trace::start();
    let record = |event| record(&event, Uuid::now_v7().to_string(), &trace);
    let records: Vec<_> = events.into_iter().map(record).collect();
    broker.publish(records).await?;
    Ok(())
}

fn record<E: Event>(event: &E, id: String, trace: &Trace) -> NewRecord {
    let key = event.key();
    // An event is made of strings, numbers and lists of them: nothing that JSON lacks.
    let value = serde_json::to_vec(event).unwrap_or_default();
    NewRecord::new(E::TOPIC, value)
        .key(key.clone())
        .header("ce_specversion", "1.0")
        .header(ID, id)
        .header(TYPE, E::TYPE)
        .header("ce_source", format!("/{}", E::TOPIC))
        .header("ce_subject", key)
        .header("ce_time", Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true))
        .header("content-type", "application/json")
        .header(TRACEPARENT, trace.as_str())
}
