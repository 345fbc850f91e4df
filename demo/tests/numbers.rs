//! What Grafana and Prometheus ask for is what a running system exports.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{PATIENCE, Place};

const DASHBOARD: &str =
    include_str!("../../containers/observability/grafana/dashboards/waybill.json");
const ALERTS: &str = include_str!("../../containers/observability/alerts.yml");

/// Names of ours: metrics, and their labels.
fn ours(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| word.starts_with("waybill_") || word.starts_with("messaging_"))
        .collect()
}

#[tokio::test]
async fn every_number_that_is_asked_for_is_exported() {
    let place = Place::new();
    let mut up = place.up(&[]);
    up.wait_for("complete");
    // A record that nobody can handle: dead letters are counted from the first on.
    let broker = broker::Broker::connect(&place.database_url()).await.unwrap();
    broker.publish([broker::NewRecord::new("order", "no event")]).await.unwrap();
    broker.shutdown().await;

    let asked: BTreeSet<&str> = ours(DASHBOARD).union(&ours(ALERTS)).copied().collect();
    assert!(asked.len() >= 20, "{asked:?}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let exported = exported(&place).await;
        let missing: Vec<_> = asked.difference(&ours(&exported)).copied().collect();
        if missing.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "no service exports {missing:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What all services tell Prometheus.
async fn exported(place: &Place) -> String {
    let mut exported = String::new();
    for port in place.port_base..place.port_base + 5 {
        let metrics = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.unwrap();
        exported += &metrics.text().await.unwrap();
    }
    exported
}
