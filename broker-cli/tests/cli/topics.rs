//! Topics: made, shown, grown, deleted.

use crate::common::{log, objects};

#[tokio::test]
async fn a_topic_from_its_making_to_its_end() {
    let log = log().await;
    assert_eq!(log.ok(&["topics", "create", "a", "b", "-p", "3"]).lines().count(), 2);
    assert_eq!(log.ok(&["topics", "create", "a"]), "exists: a, 3 partitions\n");
    assert_eq!(log.ok(&["topics", "create", "a", "-p", "3"]), "exists: a, 3 partitions\n");
    log.run(&["topics", "create", "a", "-p", "4"]).told(1, "has 3 partitions, not 4");

    assert_eq!(log.ok(&["topics", "add-partitions", "a", "-p", "5"]), "a has 5 partitions\n");
    log.run(&["topics", "add-partitions", "a", "-p", "2"]).told(3, "cannot be taken away");

    log.feed(&["produce", "a", "-p", "4"], b"x\ny\n").done();
    let list = objects(&log.ok(&["topics", "list", "--json"]));
    let sums: Vec<_> =
        list.iter().map(|t| (&t["topic"], &t["partitions"], &t["records"])).collect();
    let json = serde_json::json!([["a", 5, 2], ["b", 3, 0]]);
    assert_eq!(serde_json::to_value(&sums).unwrap(), json);

    let parts = objects(&log.ok(&["topics", "describe", "a", "--json"]));
    assert_eq!(parts.len(), 5);
    let last = &parts[4];
    assert_eq!((&last["log_start"], &last["end"]), (&0.into(), &2.into()));
    assert!(last["newest_at"].as_str().unwrap().ends_with('Z'), "{last}");
    assert!(parts[0]["newest_at"].is_null());
    let text = log.ok(&["topics", "describe", "a"]);
    assert!(text.starts_with("a: 5 partitions, 2 records\nPARTITION  LOG START"), "{text}");

    assert_eq!(log.ok(&["topics", "delete", "a"]), "deleted a\n");
    log.run(&["topics", "describe", "a"]).told(3, "topic \"a\" does not exist");
    log.run(&["topics", "delete", "a"]).told(3, "broker topics list");
    assert_eq!(objects(&log.ok(&["topics", "list", "--json"])).len(), 1);
}

#[tokio::test]
async fn an_impossible_topic_is_named() {
    let log = log().await;
    log.run(&["topics", "create", "no spaces"]).told(3, "topic_name_legal");
    log.run(&["topics", "create", "t", "-p", "0"]).told(2, "1..=1024");
    log.run(&["topics", "create", "t", "-p", "1025"]).told(2, "1..=1024");
    log.run(&["topics", "create"]).told(2, "required");
    assert_eq!(log.ok(&["topics", "list", "--json"]), "");
}
