//! The email service as a whole: events in, mail out, against a real Postgres and a real
//! SMTP server.
#![allow(dead_code)]

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use chassis::{EventTransaction, Service, Trace};
use chrono::{DateTime, NaiveDate, Utc};
use contracts::{
    CreditNoteIssued, Customer, Event, InvoiceIssued, OrderCancelled, OrderLine, OrderPlaced, Pdf,
    PostalAddress, ShipmentDelivered, ShipmentDispatched, TaxLine, Text, Total,
};
use mailbox::{Mail, Mailbox};
use serde_json::Value;
use test_support::{Database, database, eventually};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);
pub const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub struct World {
    pub database: Database,
    pub service: Service,
    pub url: String,
    pub http: reqwest::Client,
    owner: Broker,
}

pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

pub fn settings(database: &Database, smtp_url: &str) -> email::Settings {
    email::Settings {
        common: chassis::Settings {
            database_url: database.url_of(&email::DESCRIPTOR),
            database_password_file: None,
            broker_url: None,
            http_addr: Some(([127, 0, 0, 1], 0).into()),
        },
        smtp_url: smtp_url.to_owned(),
        mail_from: "Waybill <orders@waybill.example>".to_owned(),
        mail_domain: "mail.waybill.example".to_owned(),
        public_url: "https://news.waybill.example".to_owned(),
        mail_rate: NonZeroU32::new(10_000).unwrap(),
        mail_connections: NonZeroU16::new(2).unwrap(),
    }
}

pub async fn world(smtp_url: &str) -> World {
    world_with(smtp_url, |_| {}).await
}

pub async fn world_with(smtp_url: &str, change: impl FnOnce(&mut email::Settings)) -> World {
    let database = database(&[email::DESCRIPTOR]).await;
    let mut settings = settings(&database, smtp_url);
    change(&mut settings);
    let service = email::start(settings).await.unwrap();
    let owner = Broker::connect(&database.url).await.unwrap();
    let url = format!("http://{}", service.http_addr());
    World { database, service, url, http: reqwest::Client::new(), owner }
}

impl World {
    /// Publishes events as their service would, in one transaction.
    pub async fn publish<E: Event>(&self, events: &[E]) {
        let mut tx = self.owner.begin().await.unwrap();
        for event in events {
            tx.publish_event(event, &Trace::from_header(Some(TRACE))).unwrap();
        }
        tx.commit().await.unwrap();
    }

    pub async fn publish_record(&self, record: broker::NewRecord) {
        self.owner.publish([record]).await.unwrap();
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let content_type = response.headers().get("content-type");
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        Answer {
            status: response.status().as_u16(),
            content_type: content_type.to_owned(),
            text: response.text().await.unwrap(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: &str) -> Answer {
        let request = self.http.post(format!("{}{path}", self.url));
        self.send(request.header("content-type", content_type).body(body.to_owned())).await
    }

    /// An order's mails once one of them is as wanted.
    pub async fn mail(&self, order_id: Uuid, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("a mail's state", || async {
            let mails = self.get(&format!("/mails?order_id={order_id}")).await.json();
            mails.as_array().unwrap().iter().find(|mail| wanted(mail)).cloned()
        })
        .await
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database.pool).await.unwrap()
    }

    /// Waits until so many rows are counted.
    pub async fn counted(&self, sql: &'static str, wanted: i64) {
        let what = format!("{wanted} of {sql}");
        eventually(&what, || async { (self.count(sql).await == wanted).then_some(()) }).await;
    }

    /// The records of a topic, once there are so many: headers and value.
    pub async fn records(&self, topic: &str, count: usize) -> Vec<(Value, Value)> {
        eventually(&format!("{count} records on {topic}"), || async {
            let records: Vec<(Value, Value)> = sqlx::query_as(
                "select headers, convert_from(value, 'UTF8')::jsonb from log.record
                  where topic = $1 order by at, partition, \"offset\"",
            )
            .bind(topic)
            .fetch_all(&self.database.pool)
            .await
            .unwrap();
            assert!(records.len() <= count, "too many: {records:?}");
            (records.len() == count).then_some(records)
        })
        .await
    }

    /// Stops, and sees that nothing was left behind.
    pub async fn stop(self) {
        assert_eq!(self.count(DEAD_LETTERS).await, 0, "dead letters");
        self.stop_anyway().await;
    }

    pub async fn stop_anyway(self) {
        self.owner.shutdown().await;
        self.service.stop().await;
    }
}

pub const QUEUED: &str = "select count(*) from email.mail where status = 'queued'";
pub const SENT: &str = "select count(*) from email.mail where status = 'sent'";
pub const DEAD_LETTERS: &str = "select count(*) from log.record where topic like '%.dlq'";

/// The mails, once there are so many.
pub async fn received(mailbox: &Mailbox, count: usize) -> Vec<Arc<Mail>> {
    mailbox.wait_for(|mails| mails.len() >= count, PATIENCE).await.unwrap()
}

pub fn text(text: &str) -> Text {
    text.parse().unwrap()
}

pub fn customer(name: &str, email: &str) -> Customer {
    Customer { name: text(name), email: email.parse().unwrap() }
}

pub fn ada() -> Customer {
    customer("Ada Lovelace", "ada@example.org")
}

pub fn at(hour: u32) -> DateTime<Utc> {
    let day = NaiveDate::from_ymd_opt(2026, 3, 14).unwrap();
    day.and_hms_opt(hour, 5, 0).unwrap().and_utc()
}

pub fn order(customer: Customer) -> OrderPlaced {
    OrderPlaced {
        order_id: Uuid::now_v7(),
        placed_at: Utc::now(),
        customer,
        ship_to: PostalAddress {
            street: text("12 St James's Square"),
            postal_code: text("SW1Y 4LB"),
            city: text("London"),
            country: text("GB"),
        },
        currency: "EUR".to_owned(),
        lines: vec![OrderLine {
            sku: "TEA-EARL-GREY".to_owned(),
            name: text("Earl Grey & Co"),
            quantity: 100,
            unit_price: 1240,
            tax_rate: 700,
            net: 124_000,
        }],
        taxes: vec![TaxLine { rate: 700, net: 124_000, tax: 8_680 }],
        total: Total { net: 124_000, tax: 8_680, gross: 132_680 },
        promotions: false,
    }
}

pub fn cancelled(order_id: Uuid, customer: Customer) -> OrderCancelled {
    OrderCancelled { order_id, cancelled_at: at(9), customer }
}

pub fn dispatched(order_id: Uuid, customer: Customer) -> ShipmentDispatched {
    ShipmentDispatched {
        order_id,
        shipment_id: Uuid::now_v7(),
        dispatched_at: at(10),
        deliver_at: at(17),
        tracking_code: "WB1234567890128".to_owned(),
        customer,
    }
}

pub fn delivered(order_id: Uuid, customer: Customer) -> ShipmentDelivered {
    ShipmentDelivered { order_id, shipment_id: Uuid::now_v7(), delivered_at: at(16), customer }
}

pub fn invoice(order_id: Uuid, customer: Customer, pdf: &[u8]) -> InvoiceIssued {
    InvoiceIssued {
        order_id,
        number: "RE-2026-000042".to_owned(),
        issued_on: at(11).date_naive(),
        issued_at: at(11),
        customer,
        currency: "EUR".to_owned(),
        total: Total { net: 124_000, tax: 8_680, gross: 132_680 },
        pdf: Pdf(pdf.to_vec()),
    }
}

pub fn credit_note(order_id: Uuid, customer: Customer, pdf: &[u8]) -> CreditNoteIssued {
    CreditNoteIssued {
        order_id,
        number: "GS-2026-000007".to_owned(),
        corrects: "RE-2026-000042".to_owned(),
        issued_on: at(12).date_naive(),
        issued_at: at(12),
        customer,
        currency: "EUR".to_owned(),
        total: Total { net: -124_000, tax: -8_680, gross: -132_680 },
        pdf: Pdf(pdf.to_vec()),
    }
}
