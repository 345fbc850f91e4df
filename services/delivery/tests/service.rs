//! The delivery service as a whole, against a real Postgres; often two instances at once.
#![allow(clippy::unwrap_used)]

use broker::Broker;
use chassis::{EventTransaction, Service, Trace};
use chrono::Utc;
use contracts::{CancellationRequested, Event, OrderLine, OrderPlaced, TaxLine, Total};
use serde_json::Value;
use test_support::{Database, database, eventually};
use uuid::Uuid;

/// Dispatched a third of a second after it was scheduled, delivered two thirds later.
const FAST: f64 = 3600.0;
/// Never dispatched while a test runs.
const SLOW: f64 = 1.0;

async fn start(database: &Database, clock_speed: f64) -> Service {
    let settings = delivery::Settings {
        common: chassis::Settings {
            database_url: database.url_of(&delivery::DESCRIPTOR),
            database_password_file: None,
            broker_url: None,
            http_addr: Some(([127, 0, 0, 1], 0).into()),
        },
        clock_speed,
    };
    delivery::start(settings).await.unwrap()
}

fn order(order_id: Uuid) -> OrderPlaced {
    OrderPlaced {
        order_id,
        placed_at: Utc::now(),
        customer: contracts::Customer {
            name: "Ada Lovelace".parse().unwrap(),
            email: "ada@example.org".parse().unwrap(),
        },
        ship_to: contracts::PostalAddress {
            street: "1 High St".parse().unwrap(),
            postal_code: "SW1Y".parse().unwrap(),
            city: "London".parse().unwrap(),
            country: "GB".parse().unwrap(),
        },
        currency: "EUR".into(),
        lines: vec![OrderLine {
            sku: "TEA".into(),
            name: "Tea".parse().unwrap(),
            quantity: 1,
            unit_price: 100,
            tax_rate: 700,
            net: 100,
        }],
        taxes: vec![TaxLine { rate: 700, net: 100, tax: 7 }],
        total: Total { net: 100, tax: 7, gross: 107 },
        promotions: false,
    }
}

async fn publish<E: Event>(broker: &Broker, events: &[E]) {
    let mut tx = broker.begin().await.unwrap();
    for event in events {
        tx.publish_event(event, &Trace::from_header(None)).unwrap();
    }
    tx.commit().await.unwrap();
}

/// What the service said of each order, in order: type and key.
async fn said(database: &Database) -> Vec<(String, String)> {
    sqlx::query_as(
        "select split_part(headers->>'ce_type', '.', 2), key from log.record
          where topic = 'shipment' order by partition, \"offset\"",
    )
    .fetch_all(&database.pool)
    .await
    .unwrap()
}

async fn statuses(database: &Database) -> Vec<(String, i64)> {
    sqlx::query_as("select status, count(*) from delivery.shipment group by 1 order by 1")
        .fetch_all(&database.pool)
        .await
        .unwrap()
}

#[actix_rt::test]
async fn every_order_is_shipped_once_by_whoever_has_time() {
    let database = database(&[delivery::DESCRIPTOR]).await;
    let broker = Broker::connect(&database.url).await.unwrap();
    let (one, two) = (start(&database, FAST).await, start(&database, FAST).await);
    let ids: Vec<Uuid> = (0..300).map(|_| Uuid::now_v7()).collect();
    let orders: Vec<OrderPlaced> = ids.iter().map(|id| order(*id)).collect();
    publish(&broker, &orders).await;
    // Told twice, shipped once.
    publish(&broker, &orders[..50]).await;

    let said = eventually("every parcel to arrive", || async {
        let said = said(&database).await;
        (said.iter().filter(|(kind, _)| kind == "ShipmentDelivered").count() == ids.len())
            .then_some(said)
    })
    .await;
    for id in &ids {
        let of_order: Vec<&str> = said
            .iter()
            .filter(|(_, key)| *key == id.to_string())
            .map(|(kind, _)| kind.as_str())
            .collect();
        assert_eq!(
            of_order,
            ["ShipmentScheduled", "ShipmentDispatched", "ShipmentDelivered"],
            "{id}"
        );
    }
    assert_eq!(statuses(&database).await, [("delivered".to_owned(), 300)]);

    let url = format!("http://{}/shipments/{}", one.http_addr(), ids[0]);
    let shipment: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&shipment["status"], &shipment["ship_to"]["city"]),
        (&"delivered".into(), &"London".into())
    );
    for (id, told) in [(Uuid::nil().to_string(), "no shipment"), ("x".to_owned(), "not valid")] {
        let answer =
            reqwest::get(format!("http://{}/shipments/{id}", one.http_addr())).await.unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert!(answer.text().await.unwrap().contains(told), "{id}");
    }
    one.stop().await;
    two.stop().await;
    broker.shutdown().await;
}

#[actix_rt::test]
async fn a_parcel_that_waits_can_be_stopped() {
    let database = database(&[delivery::DESCRIPTOR]).await;
    let broker = Broker::connect(&database.url).await.unwrap();
    let service = start(&database, SLOW).await;
    let order_id = Uuid::now_v7();
    publish(&broker, &[order(order_id)]).await;
    let request = CancellationRequested { order_id, requested_at: Utc::now() };
    // Asked twice, and for an order that nobody knows.
    let unknown = CancellationRequested { order_id: Uuid::now_v7(), requested_at: Utc::now() };
    publish(&broker, &[request.clone(), request, unknown]).await;
    let said = eventually("the parcel to be stopped", || async {
        let said = said(&database).await;
        (said.len() >= 2).then_some(said)
    })
    .await;
    let kinds: Vec<&str> = said.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["ShipmentScheduled", "ShipmentCancelled"]);
    service.stop().await;
    broker.shutdown().await;
}

/// Whoever locks the shipment first decides; never both, and the log says which.
#[actix_rt::test]
async fn the_race_between_cancelling_and_dispatching_has_one_winner() {
    let database = database(&[delivery::DESCRIPTOR]).await;
    let broker = Broker::connect(&database.url).await.unwrap();
    let (one, two) = (start(&database, FAST).await, start(&database, FAST).await);
    let ids: Vec<Uuid> = (0..200).map(|_| Uuid::now_v7()).collect();
    let orders: Vec<OrderPlaced> = ids.iter().map(|id| order(*id)).collect();
    publish(&broker, &orders).await;
    eventually("the first parcels to leave", || async {
        said(&database).await.iter().any(|(kind, _)| kind == "ShipmentDispatched").then_some(())
    })
    .await;
    for chunk in ids.chunks(20) {
        let requests: Vec<_> = chunk
            .iter()
            .map(|order_id| CancellationRequested { order_id: *order_id, requested_at: Utc::now() })
            .collect();
        publish(&broker, &requests).await;
    }
    let said = eventually("every parcel to arrive or to be stopped", || async {
        let statuses = statuses(&database).await;
        let over =
            statuses.iter().all(|(status, _)| status == "delivered" || status == "cancelled");
        let said = said(&database).await;
        let ends = said
            .iter()
            .filter(|(kind, _)| matches!(&**kind, "ShipmentDelivered" | "ShipmentCancelled"));
        (over && ends.count() == ids.len()).then_some(said)
    })
    .await;
    for id in &ids {
        let of_order: Vec<&str> = said
            .iter()
            .filter(|(_, key)| *key == id.to_string())
            .map(|(kind, _)| kind.as_str())
            .collect();
        assert!(
            of_order == ["ShipmentScheduled", "ShipmentDispatched", "ShipmentDelivered"]
                || of_order == ["ShipmentScheduled", "ShipmentCancelled"],
            "{id}: {of_order:?}"
        );
    }
    one.stop().await;
    two.stop().await;
    broker.shutdown().await;
}
