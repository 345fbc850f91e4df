//! The order service as a whole: over HTTP, against a real Postgres.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroUsize};

use broker::Broker;
use chassis::{EventTransaction, Service, Trace};
use chrono::{DateTime, Utc};
use contracts::{
    Event, OrderAnswer, OrdersAnswered, ShipmentCancelled, ShipmentDelivered, ShipmentDispatched,
    ShipmentScheduled,
};
use futures::StreamExt;
use serde_json::{Value, json};
use test_support::{Database, database, eventually};
use uuid::Uuid;

/// With and without offsets yet.
const ORDER_RECORDS: &str =
    "select sum(octet_length(lens) / 4) from log.record_batch where topic = log.topic_id('order')";

struct World {
    database: Database,
    service: Service,
    url: String,
    http: reqwest::Client,
}

async fn start(database: Database, orders_per_second: u32) -> World {
    let settings = order::Settings {
        common: chassis::Settings {
            database_url: database.url_of(&order::DESCRIPTOR),
            database_password_file: None,
            broker_url: None,
            http_addr: Some(([127, 0, 0, 1], 0).into()),
        },
        orders_per_second: NonZeroU32::new(orders_per_second).unwrap(),
        writer_batch: NonZeroUsize::new(1000).unwrap(),
        writer_in_flight: NonZeroUsize::new(2).unwrap(),
    };
    let service = order::start(settings).await.unwrap();
    let url = format!("http://{}", service.http_addr());
    World { database, service, url, http: reqwest::Client::new() }
}

async fn world() -> World {
    start(database(&[order::DESCRIPTOR]).await, 1_000_000).await
}

fn an_order() -> Value {
    json!({
        "customer": {"name": "Ada Lovelace", "email": "ada@example.org"},
        "ship_to": {"street": "12 St James's Square", "postal_code": "SW1Y 4LB", "city": "London", "country": "GB"},
        "lines": [{"sku": "TEA-EARL-GREY", "quantity": 2}],
    })
}

struct Answer {
    status: u16,
    location: Option<String>,
    retry_after: Option<String>,
    problem: bool,
    body: Value,
}

impl World {
    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Answer {
            status: response.status().as_u16(),
            location: header("location"),
            retry_after: header("retry-after"),
            problem: header("content-type").as_deref() == Some("application/problem+json"),
            body: response.json().await.unwrap_or_default(),
        }
    }

    async fn post(&self, key: &str, order: &Value) -> Answer {
        let request = self.http.post(format!("{}/orders", self.url)).header("idempotency-key", key);
        self.send(request.json(order)).await
    }

    async fn place(&self) -> Uuid {
        let answer = self.post(&Uuid::new_v4().to_string(), &an_order()).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["order_id"].as_str().unwrap().parse().unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.url))).await
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database.pool).await.unwrap()
    }

    /// An event of another service, which its owner publishes here.
    async fn publish(&self, event: impl Event) {
        let broker = Broker::connect(&self.database.url).await.unwrap();
        let mut tx = broker.begin().await.unwrap();
        tx.publish_event(&event, &Trace::from_header(None)).unwrap();
        tx.commit().await.unwrap();
        broker.shutdown().await;
    }

    async fn status(&self, order_id: Uuid, wanted: &str) -> Value {
        eventually(wanted, || async {
            let order = self.get(&format!("/orders/{order_id}")).await.body;
            (order["status"] == wanted).then_some(order)
        })
        .await
    }
}

#[actix_rt::test]
async fn an_order_is_durable_when_it_is_answered() {
    let world = world().await;
    let answer = world.post("k1", &an_order()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let order_id = answer.body["order_id"].as_str().unwrap();
    assert_eq!(answer.location.unwrap(), format!("/orders/{order_id}"));
    assert_eq!(
        (&answer.body["net"], &answer.body["tax"], &answer.body["gross"]),
        (&json!(2480), &json!(174), &json!(2654))
    );
    assert_eq!(world.count(ORDER_RECORDS).await, 1);

    let order = world.get(&format!("/orders/{order_id}")).await.body;
    assert_eq!(order["lines"][0]["sku"], "TEA-EARL-GREY");
    assert_eq!(order["customer"]["name"], "Ada Lovelace");
    // The event is a CloudEvent and carries all that others need.
    let (key, headers, value): (String, Value, Value) = eventually("the record", || async {
        sqlx::query_as(
            "select key, headers, convert_from(value, 'UTF8')::jsonb from log.record where topic = 'order'",
        )
        .fetch_optional(&world.database.pool)
        .await
        .unwrap()
    })
    .await;
    assert_eq!(key, order_id);
    assert_eq!(
        (&headers["ce_type"], &headers["ce_specversion"]),
        (&json!("waybill.OrderPlaced.v1"), &json!("1.0"))
    );
    assert_eq!(value["lines"][0]["unit_price"], 1240);
    world.service.stop().await;
}

#[actix_rt::test]
async fn fifty_equal_requests_make_one_order() {
    let world = world().await;
    let order = an_order();
    let answers = futures::future::join_all((0..50).map(|_| world.post("same", &order))).await;
    let ids: BTreeSet<String> = answers
        .iter()
        .inspect(|answer| {
            assert!(matches!(answer.status, 201 | 409), "{} {}", answer.status, answer.body)
        })
        .filter(|answer| answer.status == 201)
        .map(|answer| answer.body.to_string())
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(world.count("select count(*) from orders.customer_order").await, 1);
    assert_eq!(world.count(ORDER_RECORDS).await, 1);

    // Later too, and quoted as the draft standard has it; with another body it is a mistake.
    let again = world.post("\"same\"", &order).await;
    assert_eq!((again.status, ids.contains(&again.body.to_string())), (201, true));
    let mut other = order.clone();
    other["lines"][0]["quantity"] = json!(3);
    let refused = world.post("same", &other).await;
    assert_eq!((refused.status, refused.problem), (422, true));
    world.service.stop().await;
}

/// What topic `log` tells of answers, once there are so many.
async fn told_answers(world: &World, count: usize) -> Vec<OrderAnswer> {
    eventually("the answers", || async {
        let values: Vec<Vec<u8>> = sqlx::query_scalar(
            "select value from log.record where topic = 'log' and headers->>'ce_type' = $1
              order by partition, \"offset\"",
        )
        .bind(OrdersAnswered::TYPE)
        .fetch_all(&world.database.pool)
        .await
        .unwrap();
        let told = values.iter().map(|value| serde_json::from_slice(value).unwrap());
        let answers: Vec<_> = told.flat_map(|told: OrdersAnswered| told.answers).collect();
        (answers.len() == count).then_some(answers)
    })
    .await
}

#[actix_rt::test]
async fn how_an_order_was_answered_is_told_and_that_an_answer_was_replayed() {
    let world = world().await;
    let before = Utc::now();
    let placed = world.post("mine", &an_order()).await;
    let id = |answer: &Answer| answer.body["order_id"].as_str().unwrap().parse::<Uuid>().unwrap();
    let told = told_answers(&world, 1).await;
    let placed_at: DateTime<Utc> = placed.body["placed_at"].as_str().unwrap().parse().unwrap();
    assert!(before <= placed_at && placed_at < told[0].answered_at, "{told:?}");
    assert!(told[0].answered_at <= Utc::now() && told[0].took_micros > 0, "{told:?}");

    let again = world.post("mine", &an_order()).await;
    assert_eq!(id(&again), id(&placed));
    let told = told_answers(&world, 2).await;
    for (answer, replayed) in told.iter().zip([false, true]) {
        assert_eq!((answer.order_id, answer.status, answer.replayed), (id(&placed), 201, replayed));
    }
    // What names no order is nobody's answer; and a stop loses none that was given.
    assert_eq!(world.post("mine", &json!({})).await.status, 422);
    for _ in 0..20 {
        world.place().await;
    }
    let World { service, database, .. } = world;
    service.stop().await;
    let broker = Broker::connect(&database.url).await.unwrap();
    broker.sequenced().await.unwrap();
    broker.shutdown().await;
    let told =
        "select sum(jsonb_array_length(convert_from(value, 'UTF8')::jsonb->'answers'))::bigint
                  from log.record where topic = 'log'";
    let told: i64 = sqlx::query_scalar(told).fetch_one(&database.pool).await.unwrap();
    assert_eq!(told, 22);
}

#[actix_rt::test]
async fn bad_requests_are_refused_and_named_and_cost_nothing_else() {
    let world = world().await;
    let url = format!("{}/orders", world.url);
    let raw = |body: String, kind: &str| {
        world.http.post(&url).header("idempotency-key", "k").header("content-type", kind).body(body)
    };
    let json_kind = "application/json";
    let with = |pointer: &str, value: Value| {
        let mut order = an_order();
        *order.pointer_mut(pointer).unwrap() = value;
        order.to_string()
    };
    let mut unknown = an_order();
    unknown["lines"][0]["price"] = json!(1);
    for (request, status, told) in [
        (raw("{".into(), json_kind), 400, "EOF"),
        (raw("[]".into(), json_kind), 422, "PlaceOrder"),
        (raw(an_order().to_string(), "text/plain"), 415, "content-type"),
        (raw(format!("{}{}", an_order(), " ".repeat(70_000)), json_kind), 413, "65536"),
        (raw(with("/lines/0/quantity", json!("two")), json_kind), 422, "invalid type"),
        (raw(with("/lines/0/quantity", json!(0)), json_kind), 422, "1 to 1000"),
        (raw(with("/lines/0/quantity", json!(1_000_000_000)), json_kind), 422, "1 to 1000"),
        (raw(with("/lines/0/sku", json!("GOLD")), json_kind), 422, "no product"),
        (raw(with("/customer/name", json!("Ada\u{0}")), json_kind), 422, "control"),
        (raw(with("/customer/name", json!("Ada\r\nBcc: e@x.y")), json_kind), 422, "control"),
        (raw(unknown.to_string(), json_kind), 422, "price"),
        (world.http.post(&url).json(&an_order()), 400, "Idempotency-Key"),
        (
            world.http.post(&url).header("idempotency-key", "x".repeat(256)).json(&an_order()),
            400,
            "255",
        ),
        (world.http.get(format!("{url}/not-an-id")), 404, "not valid"),
        (world.http.get(format!("{url}/{}", Uuid::nil())), 404, "no order"),
        (world.http.post(format!("{url}/{}/cancel", Uuid::nil())), 404, "no order"),
        (world.http.delete(&url), 405, "DELETE"),
        (world.http.get(format!("{}/nowhere", world.url)), 404, "/nowhere"),
    ] {
        let answer = world.send(request).await;
        assert_eq!((answer.status, answer.problem), (status, true), "{told}: {}", answer.body);
        assert_eq!(answer.body["status"], status, "{told}");
        let text = answer.body.to_string();
        assert!(text.contains(told), "{told} is not in {text}");
    }
    assert_eq!(world.count("select count(*) from orders.customer_order").await, 0);
    // The field is named as a JSON pointer, and the next order is not worse for all this.
    let answer = world.send(raw(with("/lines/0/quantity", json!(-1)), json_kind)).await;
    assert_eq!(answer.body["pointer"], "/lines/0/quantity");
    world.place().await;
    world.service.stop().await;
}

#[actix_rt::test]
async fn one_client_too_fast_is_told_when_to_come_again() {
    let world = start(database(&[order::DESCRIPTOR]).await, 1).await;
    assert_eq!(world.post("a", &an_order()).await.status, 201);
    let answer = world.post("b", &an_order()).await;
    assert_eq!((answer.status, answer.problem), (429, true));
    assert_eq!(answer.retry_after.as_deref(), Some("1"));
    world.service.stop().await;
}

#[actix_rt::test]
async fn the_story_is_told_live_and_can_be_taken_up_again() {
    let world = world().await;
    let order_id = world.place().await;
    let follow = |after: Option<&str>| {
        let mut request = world.http.get(format!("{}/orders/{order_id}/events", world.url));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        request.send()
    };
    let response = follow(None).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut live = response.bytes_stream();
    let mut text = String::new();
    let customer = contracts::Customer {
        name: "Ada".parse().unwrap(),
        email: "ada@example.org".parse().unwrap(),
    };
    let (shipment_id, now) = (Uuid::now_v7(), Utc::now());
    world
        .publish(ShipmentScheduled {
            order_id,
            shipment_id,
            scheduled_at: now,
            dispatch_at: now,
            deliver_at: now,
        })
        .await;
    world
        .publish(ShipmentDispatched {
            order_id,
            shipment_id,
            dispatched_at: now,
            deliver_at: now,
            tracking_code: "WB1".into(),
            customer: customer.clone(),
        })
        .await;
    world.publish(ShipmentDelivered { order_id, shipment_id, delivered_at: now, customer }).await;
    while !text.contains("event: ShipmentDelivered") {
        text.push_str(std::str::from_utf8(&live.next().await.unwrap().unwrap()).unwrap());
    }
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["1", "2", "3", "4"], "{text}");
    let order = world.status(order_id, "delivered").await;
    assert_eq!(order["tracking_code"], "WB1");

    let mut rest = follow(Some("2")).await.unwrap().bytes_stream();
    let mut text = String::new();
    while !text.contains("id: 4") {
        text.push_str(std::str::from_utf8(&rest.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(!text.contains("id: 2\n") && text.contains("id: 3\n"), "{text}");
    assert_eq!(follow(Some("x")).await.unwrap().status(), 400);

    // A parcel that has arrived cannot be stopped; and streams do not hold up the stop.
    let cancel = world.http.post(format!("{}/orders/{order_id}/cancel", world.url));
    assert_eq!(world.send(cancel).await.status, 409);
    world.service.stop().await;
    while let Some(piece) = rest.next().await {
        if piece.is_err() {
            break;
        }
    }
}

#[actix_rt::test]
async fn a_cancelled_parcel_cancels_the_order() {
    let world = world().await;
    let order_id = world.place().await;
    let cancel = || world.http.post(format!("{}/orders/{order_id}/cancel", world.url));
    let asked = world.send(cancel()).await;
    assert_eq!((asked.status, &asked.body["cancellation"]), (202, &json!("requested")));
    assert_eq!(world.send(cancel()).await.status, 202);

    world
        .publish(ShipmentCancelled {
            order_id,
            shipment_id: Uuid::now_v7(),
            cancelled_at: Utc::now(),
        })
        .await;
    let order = world.status(order_id, "cancelled").await;
    assert_eq!(order["cancellation"], "accepted");
    assert_eq!(world.send(cancel()).await.status, 200);
    let types: BTreeMap<String, i64> = eventually("OrderCancelled", || async {
        let types: Vec<(String, i64)> =
            sqlx::query_as("select headers->>'ce_type', count(*) from log.record group by 1")
                .fetch_all(&world.database.pool)
                .await
                .unwrap();
        let types: BTreeMap<_, _> = types.into_iter().collect();
        types.contains_key("waybill.OrderCancelled.v1").then_some(types)
    })
    .await;
    assert_eq!(types["waybill.CancellationRequested.v1"], 1, "asking twice is asking once");
    world.service.stop().await;
}

#[actix_rt::test]
async fn every_service_says_how_it_is() {
    let world = world().await;
    assert_eq!(world.get("/healthz").await.status, 200);
    assert_eq!(world.get("/readyz").await.status, 200);
    assert_eq!(world.get("/metrics").await.status, 200);
    let api = world.get("/openapi.json").await.body;
    assert!(api["paths"]["/orders"]["post"].is_object(), "{api}");
    let products = world.get("/products").await.body;
    assert_eq!(products.as_array().unwrap().len(), 8);
    world.service.stop().await;
}
