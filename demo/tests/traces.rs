//! One order's trace, as a collector gets it from the services' processes.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer, web};
use common::{PATIENCE, Place, text};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::json;

/// A span, and the service that it is of.
type Sent = (String, Span);

/// Takes spans as a collector does: OTLP over HTTP.
struct Collector {
    url: String,
    spans: Receiver<Sent>,
}

impl Collector {
    fn start() -> Collector {
        let (sender, spans) = mpsc::channel();
        let (port, ports) = mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new()
                        .app_data(Data::new(sender.clone()))
                        .app_data(web::PayloadConfig::new(64 << 20))
                        .route("/v1/traces", web::post().to(take))
                })
                .workers(1)
                .bind("127.0.0.1:0")
                .unwrap();
                port.send(server.addrs()[0].port()).unwrap();
                server.run().await.unwrap();
            });
        });
        Collector { url: format!("http://127.0.0.1:{}", ports.recv().unwrap()), spans }
    }

    /// What came in until `enough`, which sees all of it.
    fn until(&self, what: &str, enough: impl Fn(&[Sent]) -> bool) -> Vec<Sent> {
        let deadline = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        while !enough(&found) {
            match self.spans.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(sent) => found.push(sent),
                Err(_) => panic!("waited in vain for {what} in {:#?}", names(&found)),
            }
        }
        found
    }
}

async fn take(spans: Data<Sender<Sent>>, body: Bytes) -> HttpResponse {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let about = resource.resource.unwrap_or_default().attributes;
        let name = about.iter().find(|about| about.key == "service.name").unwrap();
        let name = format!("{:?}", name.value.as_ref().unwrap().value.as_ref().unwrap());
        let name = name.split('"').nth(1).unwrap().to_owned();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            // The test may have seen enough.
            let _ = spans.send((name.clone(), span));
        }
    }
    HttpResponse::Ok().content_type("application/x-protobuf").body("")
}

fn names(spans: &[Sent]) -> Vec<String> {
    spans.iter().map(|(service, span)| format!("{service}: {}", span.name)).collect()
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    format!("{:?}", found.and_then(|found| found.value.as_ref()).and_then(|v| v.value.as_ref()))
}

/// What is in an order's trace: who did it, what, and by what it was caused.
const STEPS: [(&str, &str, &str); 17] = [
    ("order", "create order", "order: POST /orders"),
    ("delivery", "process order", "order: create order"),
    ("delivery", "create shipment", "delivery: process order"),
    ("invoice", "process order", "order: create order"),
    ("invoice", "create invoice", "invoice: process order"),
    ("email", "process order", "order: create order"),
    ("email", "process invoice", "invoice: create invoice"),
    ("email", "process shipment", "delivery: create shipment"),
    ("order", "process order", "order: create order"),
    ("order", "process shipment", "delivery: create shipment"),
    ("order", "process invoice", "invoice: create invoice"),
    ("order", "process mail", "email: create mail"),
    ("dashboard", "process order", "order: create order"),
    ("dashboard", "process shipment", "delivery: create shipment"),
    ("dashboard", "process invoice", "invoice: create invoice"),
    ("dashboard", "process mail", "email: create mail"),
    ("email", "send mail", "email: process order"),
];

fn find<'a>(spans: &'a [Sent], service: &str, name: &str) -> Option<&'a Span> {
    let found = spans.iter().find(|(by, span)| by == service && span.name == name);
    found.map(|(_, span)| span)
}

/// Places an order as a client that has a trace already.
async fn place_order(place: &Place, traceparent: &str) {
    let order = json!({
        "customer": {"name": "Ada", "email": "ada@example.org"},
        "ship_to": {"street": "1 High St", "postal_code": "SW1Y", "city": "London", "country": "GB"},
        "lines": [{"sku": "TEA-SENCHA", "quantity": 1}]
    });
    let request = reqwest::Client::new().post(format!("{}/orders", place.order_url())).json(&order);
    let request = request.header("idempotency-key", traceparent).header("traceparent", traceparent);
    request.send().await.unwrap().error_for_status().unwrap();
}

fn of_trace(sent: &[Sent], id: &[u8]) -> Vec<Sent> {
    sent.iter().filter(|(_, span)| span.trace_id == id).cloned().collect()
}

/// Whether each step is there under the one that caused it, and none without a cause.
fn is_whole(trace: &[Sent]) -> bool {
    let cause = |span: &Span| {
        let found = trace.iter().find(|(_, other)| other.span_id == span.parent_span_id);
        found.map(|(service, span)| format!("{service}: {}", span.name))
    };
    let is_there = |(service, name, because): &(&str, &str, &str)| {
        let mut all = trace.iter().filter(|(by, span)| by == service && span.name == *name);
        all.any(|(_, span)| cause(span).as_deref() == Some(*because))
    };
    STEPS.iter().all(is_there)
        && trace.iter().filter(|(_, span)| span.name == "send mail").count() == 4
        && trace.iter().filter(|(_, span)| cause(span).is_none()).count() == 1
}

#[tokio::test]
async fn one_orders_trace_goes_from_its_client_through_every_service() {
    let collector = Collector::start();
    let place = Place::new();
    let _up = place.up_with(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    let unrecorded = "00-11111111111111111111111111111111-2222222222222222-00";
    place_order(&place, unrecorded).await;
    let (id, client) = ([0x33; 16], [0x44; 8]);
    place_order(&place, "00-33333333333333333333333333333333-4444444444444444-01").await;
    let sent = collector.until("an order's trace", |sent| is_whole(&of_trace(sent, &id)));
    let trace = of_trace(&sent, &id);
    assert_eq!(find(&trace, "order", "POST /orders").unwrap().parent_span_id, client);

    // What its client does not record is not recorded here, and can still be told apart.
    assert_eq!(of_trace(&sent, &[0x11; 16]), []);
    let passed_on: Vec<String> = sqlx::query_scalar(
        "select headers ->> 'traceparent' from log.record where topic = 'shipment'",
    )
    .fetch_all(&place.database().await)
    .await
    .unwrap();
    let is_passed_on =
        |header: &String| header.starts_with(&unrecorded[..36]) && header.ends_with("-00");
    assert!(passed_on.iter().any(is_passed_on), "{passed_on:?}");

    // As the conventions have it. Who handled it in a batch says so, and the batch what it was of.
    let handled = find(&trace, "delivery", "process order").unwrap();
    assert_eq!(handled.kind(), SpanKind::Consumer);
    for (name, value) in [
        ("messaging.system", "broker"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "order"),
        ("messaging.consumer.group.name", "delivery"),
        ("cloudevents.event_type", "waybill.OrderPlaced.v1"),
    ] {
        assert!(attribute(handled, name).contains(value), "{name}: {:?}", handled.attributes);
    }
    let batch = handled.links[0].span_id.clone();
    let known = |sent: &[Sent]| sent.iter().find(|(_, span)| span.span_id == batch).cloned();
    let (_, batch) = known(&sent)
        .or_else(|| known(&collector.until("the batch", |sent| known(sent).is_some())))
        .unwrap();
    assert_eq!((&*batch.name, batch.kind()), ("process order", SpanKind::Consumer));
    assert_eq!(
        attribute(&batch, "messaging.operation.type"),
        attribute(handled, "messaging.operation.type")
    );
    assert!(batch.links.iter().any(|link| link.trace_id == id), "{batch:?}");
}

#[test]
fn what_was_not_sent_yet_is_sent_at_the_end() {
    let collector = Collector::start();
    let place = Place::new();
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url);
    let mut up = place.up_with(&["--once"], &[endpoint, ("OTEL_BSP_SCHEDULE_DELAY", "3600000")]);
    up.rest();
    assert!(up.child.wait().unwrap().success());
    collector.until("the order's first steps", |sent| {
        [("order", "POST /orders"), ("delivery", "process order"), ("email", "send mail")]
            .iter()
            .all(|(service, name)| find(sent, service, name).is_some())
    });
}

#[test]
fn an_order_does_not_wait_for_a_collector_that_is_away() {
    let place = Place::new();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}");
    let mut up = place.up_with(&["--once"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]);
    up.rest();
    assert!(up.child.wait().unwrap().success());
    let said = std::fs::read_to_string(place.data().join("logs/order.log")).unwrap();
    let told = format!("spans are not sent to {url}/v1/traces and will be dropped: ");
    assert_eq!(said.matches(&told).count(), 1, "once an outage: {said}");
}

#[test]
fn a_collector_that_is_no_url_is_named() {
    let place = Place::new();
    let mut service = place.waybill("service", &["order"]);
    let said = service.env("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url").output().unwrap();
    assert!(!said.status.success());
    assert!(text(&said).contains("must be a URL like http://127.0.0.1:4318"), "{}", text(&said));
}
