//! What the services say to each other: the events, their topics and their keys. No logic,
//! and nothing of any service.
//!
//! An event is a fact in the past tense, with all that its consumers need to act on it, so
//! that nobody has to ask anybody. A field may be added to a type; a change that old readers
//! would misread is a new version.
#![deny(missing_docs)]

mod common;
mod invoice;
mod log;
mod mail;
mod order;
mod promotion;
mod shipment;

pub use common::{Customer, Email, InvalidText, PostalAddress, Text, Total};
pub use invoice::{CreditNoteIssued, InvoiceIssued, Pdf};
pub use log::{LogLine, OrderAnswer, OrdersAnswered};
pub use mail::{MailBounced, MailKind, MailSent};
pub use order::{CancellationRequested, OrderCancelled, OrderLine, OrderPlaced, TaxLine};
pub use promotion::PromotionAnnounced;
pub use shipment::{ShipmentCancelled, ShipmentDelivered, ShipmentDispatched, ShipmentScheduled};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A topic and the number of partitions that it is made with.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    /// Its name.
    pub name: &'static str,
    /// Partitions: the most members of a group that can share its work.
    pub partitions: u32,
}

/// Every topic of the system.
pub const TOPICS: [Topic; 6] = [
    Topic { name: "order", partitions: 8 },
    Topic { name: "shipment", partitions: 8 },
    Topic { name: "invoice", partitions: 8 },
    Topic { name: "mail", partitions: 4 },
    Topic { name: "promotion", partitions: 2 },
    Topic { name: "log", partitions: 4 },
];

/// A type of record: publishing one names it alone, and topic, key and headers follow.
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The topic that it is published to.
    const TOPIC: &'static str;
    /// The CloudEvents type, with its version.
    const TYPE: &'static str;
    /// Records of one key keep their order.
    fn key(&self) -> String;
}

/// Implements [`Event`] for types keyed by one of their fields.
macro_rules! events {
    ($topic:literal: $($event:ident by $key:ident),+ $(,)?) => {
        $(impl crate::Event for $event {
            const TOPIC: &'static str = $topic;
            const TYPE: &'static str = concat!("waybill.", stringify!($event), ".v1");

            fn key(&self) -> String {
                self.$key.to_string()
            }
        })+
    };
}
pub(crate) use events;
