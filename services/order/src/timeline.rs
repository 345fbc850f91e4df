//! What the order service does with nearly every event: add it to its order's story, and
//! change the order's row where the event says so. [`Told`] says how, event by event.

use std::marker::PhantomData;

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use chrono::{DateTime, Utc};
use contracts::{
    CancellationRequested, CreditNoteIssued, Event, InvoiceIssued, MailBounced, MailSent,
    OrderCancelled, OrderPlaced, ShipmentCancelled, ShipmentDelivered, ShipmentDispatched,
    ShipmentScheduled,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::store::{self, Change, Entry};

/// An event that is part of an order's story.
pub trait Told: Event {
    fn order_id(&self) -> Uuid;
    fn at(&self) -> DateTime<Utc>;
    /// What clients are told beside type and time.
    fn data(&self) -> Value {
        json!({})
    }
    fn change(&self) -> Change {
        Change::default()
    }
}

/// Takes an event that has no other effect here than its [`Told`].
pub struct Timeline<E>(PhantomData<fn(E)>);

impl<E> Timeline<E> {
    pub fn new() -> Self {
        Timeline(PhantomData)
    }
}

impl<E: Told> Subscriber for Timeline<E> {
    type Event = E;

    async fn handle(
        &self,
        tx: &mut Transaction,
        events: &[Received<E>],
    ) -> Result<(), HandlerError> {
        Ok(tell(tx, events).await?)
    }
}

/// Adds events to their orders' stories and applies their changes.
pub async fn tell<E: Told>(tx: &mut Transaction, events: &[Received<E>]) -> sqlx::Result<()> {
    let entries: Vec<Entry> = events
        .iter()
        .map(|event| Entry {
            order_id: event.order_id(),
            at: event.at(),
            data: event.data(),
            topic: event.record.topic().to_owned(),
            partition: event.record.partition(),
            offset: event.record.offset() as i64,
        })
        .collect();
    // The type's bare name, without system and version.
    let kind = E::TYPE.split('.').nth(1).unwrap_or(E::TYPE);
    store::append(tx, kind, &entries).await?;
    let changes: Vec<(Uuid, Change)> =
        events.iter().map(|event| (event.order_id(), event.change())).collect();
    store::change(tx, &changes).await
}

impl Told for OrderPlaced {
    fn order_id(&self) -> Uuid {
        self.order_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.placed_at
    }
    fn data(&self) -> Value {
        json!({"total": self.total, "currency": self.currency})
    }
}

impl Told for CancellationRequested {
    fn order_id(&self) -> Uuid {
        self.order_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.requested_at
    }
}

impl Told for OrderCancelled {
    fn order_id(&self) -> Uuid {
        self.order_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.cancelled_at
    }
}

impl Told for ShipmentScheduled {
    fn order_id(&self) -> Uuid {
        self.order_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.scheduled_at
    }
    fn data(&self) -> Value {
        json!({"dispatch_at": self.dispatch_at, "deliver_at": self.deliver_at})
    }
    fn change(&self) -> Change {
        Change { status: Some("scheduled"), ..Change::default() }
    }
}

impl Told for ShipmentDispatched {
    fn order_id(&self) -> Uuid {
        self.order_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.dispatched_at
    }
    fn data(&self) -> Value {
        json!({"tracking_code": self.tracking_code, "deliver_at": self.deliver_at})
    }
    fn change(&self) -> Change {
        Change {
            status: Some("dispatched"),
            cancellation: Some("refused"),
            tracking_code: Some(self.tracking_code.clone()),
            ..Change::default()
        }
    }
}

impl Told for ShipmentDelivered {
    fn order_id(&self) -> Uuid {
        self.order_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.delivered_at
    }
    fn change(&self) -> Change {
        Change { status: Some("delivered"), ..Change::default() }
    }
}

impl Told for ShipmentCancelled {
    fn order_id(&self) -> Uuid {
        self.order_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.cancelled_at
    }
    fn change(&self) -> Change {
        Change { status: Some("cancelled"), cancellation: Some("accepted"), ..Change::default() }
    }
}

impl Told for InvoiceIssued {
    fn order_id(&self) -> Uuid {
        self.order_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.issued_at
    }
    fn data(&self) -> Value {
        json!({"number": self.number, "total": self.total, "currency": self.currency})
    }
    fn change(&self) -> Change {
        Change { invoice_number: Some(self.number.clone()), ..Change::default() }
    }
}

impl Told for CreditNoteIssued {
    fn order_id(&self) -> Uuid {
        self.order_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.issued_at
    }
    fn data(&self) -> Value {
        json!({"number": self.number, "corrects": self.corrects})
    }
    fn change(&self) -> Change {
        Change { credit_note_number: Some(self.number.clone()), ..Change::default() }
    }
}

impl Told for MailSent {
    fn order_id(&self) -> Uuid {
        self.subject_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.sent_at
    }
    fn data(&self) -> Value {
        json!({"kind": self.kind, "message_id": self.message_id})
    }
}

impl Told for MailBounced {
    fn order_id(&self) -> Uuid {
        self.subject_id
    }
    fn at(&self) -> DateTime<Utc> {
        self.bounced_at
    }
    fn data(&self) -> Value {
        json!({"kind": self.kind, "message_id": self.message_id, "reason": self.reason})
    }
}
