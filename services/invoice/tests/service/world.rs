//! A log, orders to put into it, and the service that invoices them.

use std::collections::BTreeMap;

use broker::{Broker, NewRecord};
use chassis::{EventTransaction, Service, Trace};
use chrono::Utc;
use contracts::{
    Customer, Event, InvoiceIssued, OrderCancelled, OrderLine, OrderPlaced, PostalAddress, TaxLine,
    Total,
};
use invoice::{DESCRIPTOR, Seller, Settings};
use serde_json::Value;
use test_support::{Database, eventually};
use uuid::Uuid;

pub struct World {
    pub db: Database,
    pub broker: Broker,
}

impl World {
    pub async fn new() -> World {
        let db = test_support::database(&[DESCRIPTOR]).await;
        let broker = Broker::connect(&db.url).await.unwrap();
        World { db, broker }
    }

    /// An instance of the service, as its own role.
    pub async fn start(&self) -> Service {
        let settings = Settings {
            common: chassis::Settings {
                database_url: self.db.url_of(&DESCRIPTOR),
                database_password_file: None,
                broker_url: None,
                http_addr: Some(([127, 0, 0, 1], 0).into()),
            },
            seller: Seller {
                name: "Tea & Co".parse().unwrap(),
                address: "1 Quay; 20457 Hamburg".parse().unwrap(),
                vat_id: "DE123456789".parse().unwrap(),
            },
        };
        invoice::start(settings).await.unwrap()
    }

    /// Publishes events in one transaction.
    pub async fn publish<E: Event>(&self, events: &[E]) {
        let mut tx = self.broker.begin().await.unwrap();
        for event in events {
            tx.publish_event(event, &Trace::from_header(None)).unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// How many documents there are, by kind and whether they are rendered.
    pub async fn count(&self, kind: &str, rendered: bool) -> i64 {
        sqlx::query_scalar(
            "select count(*) from invoice.document where kind = $1 and (pdf is not null) = $2",
        )
        .bind(kind)
        .bind(rendered)
        .fetch_one(&self.db.pool)
        .await
        .unwrap()
    }

    /// Waits until so many are rendered, as long as there is progress: unoptimised, many take
    /// their time.
    pub async fn wait_for(&self, kind: &str, count: i64) {
        let mut rendered = 0;
        while rendered < count {
            rendered = eventually(&format!("{kind} {} of {count}", rendered + 1), async || {
                let now = self.count(kind, true).await;
                (now > rendered).then_some(now)
            })
            .await;
        }
        assert_eq!(rendered, count, "{kind}");
    }

    /// Document numbers in the order of issue.
    pub async fn numbers(&self, kind: &str) -> Vec<String> {
        sqlx::query_scalar("select number from invoice.document where kind = $1 order by id")
            .bind(kind)
            .fetch_all(&self.db.pool)
            .await
            .unwrap()
    }

    /// So many events of a topic, as type and value, in offset order within each partition;
    /// fails when there are more.
    pub async fn events(&self, topic: &str, count: usize) -> Vec<(String, Value)> {
        eventually(&format!("{count} records on {topic}"), async || {
            let events: Vec<(String, Value)> = sqlx::query_as(
                r#"select headers ->> 'ce_type', convert_from(value, 'UTF8')::jsonb
                     from log.record where topic = $1 order by partition, "offset""#,
            )
            .bind(topic)
            .fetch_all(&self.db.pool)
            .await
            .unwrap();
            assert!(events.len() <= count, "{} records on {topic}", events.len());
            (events.len() == count).then_some(events)
        })
        .await
    }

    /// Why records were given up, by offset.
    pub async fn dead_letters(&self) -> BTreeMap<i64, String> {
        let dead: Vec<(i64, String)> = sqlx::query_as(
            "select (headers ->> 'dlq.offset')::bigint, headers ->> 'dlq.error'
               from log.record where topic = 'order.invoice.dlq'",
        )
        .fetch_all(&self.db.pool)
        .await
        .unwrap();
        dead.into_iter().collect()
    }

    pub async fn execute(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.db.pool).await.unwrap();
    }

    /// Waits until nothing is left to handle, then stops everything.
    pub async fn end(self, services: impl IntoIterator<Item = Service>) {
        eventually("the group to catch up", async || {
            let lag: Option<i64> = sqlx::query_scalar(
                "select sum(lag)::bigint from log.group_lag where consumer_group = 'invoice'",
            )
            .fetch_one(&self.db.pool)
            .await
            .unwrap();
            (lag == Some(0)).then_some(())
        })
        .await;
        for service in services {
            service.stop().await;
        }
        self.broker.shutdown().await;
    }
}

/// Two teas at 7 % and a pot at 19 %: 84.70 net, 13.12 tax.
pub fn order() -> OrderPlaced {
    let line = |sku: &str, name: &str, quantity: u32, unit_price, tax_rate| OrderLine {
        sku: sku.into(),
        name: name.parse().unwrap(),
        quantity,
        unit_price,
        tax_rate,
        net: i64::from(quantity) * unit_price,
    };
    OrderPlaced {
        order_id: Uuid::now_v7(),
        placed_at: Utc::now(),
        customer: customer(),
        ship_to: PostalAddress {
            street: "12 St James’s Square".parse().unwrap(),
            postal_code: "SW1Y 4LB".parse().unwrap(),
            city: "London".parse().unwrap(),
            country: "GB".parse().unwrap(),
        },
        currency: "EUR".into(),
        lines: vec![line("TEA", "Earl Grey", 2, 1240, 700), line("POT", "Teapot", 1, 5990, 1900)],
        taxes: vec![
            TaxLine { rate: 700, net: 2480, tax: 174 },
            TaxLine { rate: 1900, net: 5990, tax: 1138 },
        ],
        total: Total { net: 8470, tax: 1312, gross: 9782 },
        promotions: false,
    }
}

pub fn orders(count: usize) -> Vec<OrderPlaced> {
    std::iter::repeat_with(order).take(count).collect()
}

pub fn cancelled(order: &OrderPlaced) -> OrderCancelled {
    OrderCancelled {
        order_id: order.order_id,
        cancelled_at: Utc::now(),
        customer: order.customer.clone(),
    }
}

fn customer() -> Customer {
    Customer { name: "Ada Lovelace".parse().unwrap(), email: "ada@example.org".parse().unwrap() }
}

/// An event as a record of partition 0, whatever its key: neighbours make a batch.
pub fn in_one_partition<E: Event>(event: &E) -> NewRecord {
    NewRecord::new(E::TOPIC, serde_json::to_vec(event).unwrap())
        .key(event.key())
        .partition(0)
        .header("ce_type", E::TYPE)
}

pub fn series(prefix: &str, count: usize) -> Vec<String> {
    let year = Utc::now().format("%Y");
    (1..=count).map(|seq| format!("{prefix}-{year}-{seq:06}")).collect()
}

pub fn invoices(events: Vec<(String, Value)>) -> Vec<InvoiceIssued> {
    events
        .into_iter()
        .map(|(name, value)| {
            assert_eq!(name, InvoiceIssued::TYPE);
            serde_json::from_value(value).unwrap()
        })
        .collect()
}

/// Checks what a reader sees, wherever its lines break.
pub fn assert_shows(pdf: &[u8], expected: &[&str]) {
    let without_space = |text: &str| text.split_whitespace().collect::<String>();
    let pdf = lopdf::Document::load_mem(pdf).unwrap();
    let pages: Vec<u32> = pdf.get_pages().into_keys().collect();
    let text = pdf.extract_text(&pages).unwrap();
    for shown in expected {
        assert!(
            without_space(&text).contains(&without_space(shown)),
            "{shown:?} is missing in:\n{text}"
        );
    }
}
