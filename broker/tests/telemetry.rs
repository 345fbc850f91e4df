//! What a process's recorder gets to see.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use broker::{AfterRetries, NewRecord, Retry};
use common::{Keep, effects, eventually, log, numbered};
use metrics_exporter_prometheus::PrometheusBuilder;

#[tokio::test]
async fn counts_are_exact_and_names_are_the_standard_ones() {
    let metrics = PrometheusBuilder::new().install_recorder().unwrap();
    let log = log().await;
    effects(&log.pool).await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    broker.publish(numbered("t", 0..40)).await.unwrap();
    let mut tx = broker.begin().await.unwrap();
    tx.publish(NewRecord::new("t", "with rows")).unwrap();
    tx.commit().await.unwrap();
    let mut undone = broker.begin().await.unwrap();
    undone.publish(NewRecord::new("t", "undone")).unwrap();
    drop(undone);

    let bad = Keep { panic_on: Some("17"), ..Keep::default() };
    let retry = Retry {
        attempts: 1,
        pause: Duration::ZERO,
        max_pause: Duration::ZERO,
        then: AfterRetries::DeadLetter,
    };
    let group = broker.consumer_group("g").topic("t", bad).retry(retry).start().await.unwrap();
    log.caught_up("g").await;
    let of_t = "messaging_system=\"broker\",messaging_destination_name=\"t\"";
    let of_g = format!("{of_t},messaging_consumer_group_name=\"g\"");
    for wanted in [
        "messaging_client_sent_messages{messaging_system=\"broker\",messaging_operation_name=\"send\",messaging_destination_name=\"t\"} 41".to_owned(),
        format!("messaging_consumer_group_dead_letters{{{of_g}}} 1"),
        format!("messaging_consumer_group_lag{{{of_g},messaging_destination_partition_id=\"0\"}} 0"),
    ] {
        eventually(&wanted.clone(), || async { metrics.render().contains(&wanted).then_some(()) }).await;
    }
    let text = metrics.render();
    for name in [
        "messaging_process_duration",
        "messaging_client_operation_duration",
        "messaging_client_consumed_messages",
    ] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    assert!(!text.contains("test"), "no password and no URL\n{text}");
    group.stop().await;
    broker.shutdown().await;
}
