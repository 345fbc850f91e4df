//! Fills a log with all that becomes of orders, as the services publish it: real publishes in
//! large transactions, so that ids, ticks and offsets are a running system's.

use broker::Broker;
use chassis::{EventTransaction, Trace};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    InvoiceIssued, LogLine, MailKind, MailSent, OrderPlaced, Pdf, ShipmentDelivered,
    ShipmentDispatched, ShipmentScheduled, Total,
};
use uuid::Uuid;

use crate::orders::{customer, placed};

/// What an order leads to: nine records that tell of it, and a log line.
pub const RECORDS: usize = 10;
/// Orders that one transaction publishes.
const AT_ONCE: usize = 500;
/// Each with its milliseconds since the order.
const MAILS: [(MailKind, i64); 4] = [
    (MailKind::Confirmation, 10),
    (MailKind::Invoice, 30),
    (MailKind::Dispatched, 1010),
    (MailKind::Delivered, 3010),
];
const SERVICES: [&str; 5] = ["order", "delivery", "invoice", "email", "dashboard"];

/// Publishes orders that were placed evenly over so long a time until now; returns their ids,
/// the oldest first.
pub async fn fill(broker: &Broker, orders: usize, over: TimeDelta) -> Vec<Uuid> {
    let start = Utc::now() - over;
    let orders: Vec<Order> = (0..orders)
        .map(|n| Order {
            n,
            id: Uuid::now_v7(),
            at: start + over * (n as i32) / (orders as i32),
            pace: 1 + n as i64 % 7,
        })
        .collect();
    let trace = Trace::from_header(None);
    for orders in orders.chunks(AT_ONCE) {
        let mut tx = broker.begin().await.unwrap();
        // One type after the other: a group takes neighbours of one type together.
        for order in orders {
            tx.publish_event(&order.placed(), &trace).unwrap();
            tx.publish_event(&order.line(), &trace).unwrap();
            tx.publish_event(&order.issued(), &trace).unwrap();
        }
        for order in orders {
            tx.publish_event(&order.scheduled(), &trace).unwrap();
        }
        for order in orders {
            tx.publish_event(&order.dispatched(), &trace).unwrap();
        }
        for order in orders {
            tx.publish_event(&order.delivered(), &trace).unwrap();
        }
        for mail in orders.iter().flat_map(Order::mails) {
            tx.publish_event(&mail, &trace).unwrap();
        }
        tx.commit().await.unwrap();
    }
    broker.sequenced().await.unwrap();
    orders.iter().map(|order| order.id).collect()
}

struct Order {
    n: usize,
    id: Uuid,
    at: DateTime<Utc>,
    /// Some are slower than others.
    pace: i64,
}

impl Order {
    fn after(&self, ms: i64) -> DateTime<Utc> {
        self.at + TimeDelta::milliseconds(ms * self.pace)
    }

    fn placed(&self) -> OrderPlaced {
        placed(self.id, self.at)
    }

    fn scheduled(&self) -> ShipmentScheduled {
        ShipmentScheduled {
            order_id: self.id,
            shipment_id: self.id,
            scheduled_at: self.after(3),
            dispatch_at: self.after(1000),
            deliver_at: self.after(3000),
        }
    }

    fn dispatched(&self) -> ShipmentDispatched {
        ShipmentDispatched {
            order_id: self.id,
            shipment_id: self.id,
            dispatched_at: self.after(1000),
            deliver_at: self.after(3000),
            tracking_code: format!("WB{:09}", self.n),
            customer: customer(),
        }
    }

    fn delivered(&self) -> ShipmentDelivered {
        ShipmentDelivered {
            order_id: self.id,
            shipment_id: self.id,
            delivered_at: self.after(3000),
            customer: customer(),
        }
    }

    fn issued(&self) -> InvoiceIssued {
        InvoiceIssued {
            order_id: self.id,
            number: format!("INV-2026-{:06}", self.n),
            issued_on: self.at.date_naive(),
            issued_at: self.after(20),
            customer: customer(),
            currency: "EUR".into(),
            total: Total { net: 100, tax: 7, gross: 107 },
            // A real one has ten times as much: that is the log's to hold, and no page's to show.
            pdf: Pdf(vec![0; 1500]),
        }
    }

    fn mails(&self) -> impl Iterator<Item = MailSent> {
        MAILS.into_iter().map(|(kind, ms)| {
            let mail_id = Uuid::now_v7();
            MailSent {
                subject_id: self.id,
                mail_id,
                kind,
                message_id: format!("<{mail_id}@waybill.example>"),
                to: customer().email,
                sent_at: self.after(ms),
            }
        })
    }

    fn line(&self) -> LogLine {
        LogLine {
            service: SERVICES[self.n % SERVICES.len()].to_owned(),
            process: 1,
            at: self.at,
            level: if self.n.is_multiple_of(10_000) { "ERROR" } else { "DEBUG" }.to_owned(),
            target: "chassis::subscribe".to_owned(),
            message: "handled waybill.OrderPlaced.v1".to_owned(),
            fields: [("keys".to_owned(), self.id.to_string())].into(),
        }
    }
}
