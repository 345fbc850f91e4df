//! What an operator does.

use broker::{AfterRetries, Broker, Handler, HandlerError, Record, Retry, Transaction};
use serde_json::json;

use crate::common::{Log, Running, eventually, log, objects};

/// A group that has read it all.
async fn read(log: &Log, group: &str, topic: &str, n: u32) {
    let read = log.ok(&["consume", topic, "-g", group, "-e", "-f", "%o\n"]);
    assert_eq!(read.lines().count() as u32, n);
}

#[tokio::test]
async fn a_group_is_listed_described_paused_and_deleted() {
    let log = log().await;
    log.filled("t", 2, 20).await.shutdown().await;
    read(&log, "g", "t", 20).await;
    log.feed(&["produce", "t", "-p", "1"], b"a\nb\n").done();

    let list = objects(&log.ok(&["groups", "list", "--json"]));
    assert_eq!(list, [json!({"group": "g", "topics": ["t"], "members": 0, "lag": 2})]);
    let mut parts = objects(&log.ok(&["groups", "describe", "g", "--json"]));
    assert_eq!(parts.len(), 2);
    assert!(parts[1]["lag_seconds"].as_f64().unwrap() > 0.0);
    let part = parts.remove(0);
    let names: Vec<_> = part.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = "committed end generation group lag lag_seconds log_start member partition paused \
                  process seconds_to_drain topic";
    assert_eq!(names.join(" "), wanted);
    let text = log.ok(&["groups", "describe", "g"]);
    assert!(text.starts_with("g: 0 members, 2 records behind\nTOPIC"), "{text}");

    assert_eq!(log.ok(&["groups", "pause", "g", "t"]), "g is paused on t\n");
    assert!(log.ok(&["groups", "describe", "g"]).contains("paused on t"));
    let parts = objects(&log.ok(&["groups", "describe", "g", "--json"]));
    assert!(parts.iter().all(|part| part["paused"] == true));
    assert_eq!(log.ok(&["groups", "resume", "g", "t"]), "g goes on with t\n");
    assert!(!log.ok(&["groups", "describe", "g"]).contains("paused"));

    log.run(&["groups", "pause", "g", "none"]).told(3, "topic \"none\"");
    log.run(&["groups", "pause", "nobody", "t"]).told(3, "has never read topic");
    log.ok(&["groups", "delete", "g"]);
    for args in [["groups", "describe", "g"], ["groups", "delete", "g"]] {
        log.run(&args).told(3, "consumer group \"g\" does not exist");
    }
    assert_eq!(log.ok(&["groups", "list", "--json"]), "");
}

#[tokio::test]
async fn a_group_is_watched() {
    let log = log().await;
    log.filled("t", 1, 3).await.shutdown().await;
    read(&log, "g", "t", 3).await;
    let mut watch =
        Running::start(log.command(&["groups", "describe", "g", "--watch", "1", "--json"]));
    let mut lag = || objects(&watch.line())[0]["lag"].as_i64().unwrap();
    assert_eq!(lag(), 0);
    log.feed(&["produce", "t"], b"more\n").done();
    while lag() == 0 {}
    watch.interrupt();
    assert_eq!(watch.end().code, Some(0));
}

#[tokio::test]
async fn a_seek_does_what_its_dry_run_says() {
    let log = log().await;
    log.filled("t", 2, 30).await.shutdown().await;
    read(&log, "g", "t", 30).await;
    let moves = |args: &[&str]| objects(&log.ok(&[&["seek", "g", "t", "--json"], args].concat()));
    let mut plan = moves(&["--to", "start", "-p", "1", "--dry-run"]);
    assert_eq!(log.committed("g", "t").await, 30, "a dry run changes nothing");
    assert_eq!((plan.len(), &plan[0]["target"], &plan[0]["skipped"]), (1, &json!(0), &json!(0)));
    let again = plan[0]["again"].as_i64().unwrap();
    assert!(again > 0);
    let done = moves(&["--to", "start", "-p", "1"]);
    plan[0]["dry_run"] = false.into();
    assert_eq!(done, plan);
    assert_eq!(log.committed("g", "t").await, 30 - again);

    let text = log.ok(&["seek", "g", "t", "--to", "end", "--dry-run"]);
    assert!(
        text.ends_with(&format!("0 records would be handled again, {again} would be skipped\n"))
    );
    assert_eq!(log.committed("g", "t").await, 30 - again);
    log.ok(&["seek", "g", "t", "--to", "end"]);
    assert_eq!(log.committed("g", "t").await, 30);
    log.run(&["seek", "g", "t", "--to", "99"]).told(3, "keeps offsets 0 to");
    log.run(&["seek", "g", "t", "--to", "then"]).told(2, "is no position");
    log.run(&["seek", "nobody", "t", "--to", "end"]).told(3, "has never read topic");
}

#[tokio::test]
async fn a_replay_goes_back_by_exactly_what_its_dry_run_lists() {
    let log = log().await;
    log.filled("t", 2, 1500).await.shutdown().await;
    read(&log, "g", "t", 1500).await;
    // One partition is behind the time that is replayed from, and stays where it is.
    log.ok(&["seek", "g", "t", "-p", "0", "--to", "3"]);
    let before = log.committed("g", "t").await;

    let plan = objects(&log.ok(&["replay", "g", "t", "--from", "5", "--dry-run", "--json"]));
    assert_eq!(log.committed("g", "t").await, before, "a dry run changes nothing");
    assert_eq!(plan.len() as i64, before - 3 - 5);
    for (n, record) in plan.iter().enumerate() {
        assert_eq!((&record["partition"], &record["offset"]), (&1.into(), &(n + 5).into()));
        assert!(record["key"].as_str().unwrap().starts_with('k') && record.get("value").is_none());
    }
    let text = log.ok(&["replay", "g", "t", "--from", "5", "--dry-run"]);
    assert!(text.ends_with(&format!("\n{} records would be handled again\n", plan.len())));

    let done = objects(&log.ok(&["replay", "g", "t", "--from", "5", "--json"]));
    assert_eq!((done.len(), &done[0]["again"]), (1, &json!(plan.len())));
    assert_eq!(log.committed("g", "t").await, 3 + 5);
    let again = log.ok(&["consume", "t", "-g", "g", "-e", "-f", "%p %o\n"]);
    let again = again.lines().filter(|line| line.starts_with("1 ")).count();
    assert_eq!(again, plan.len(), "and those are what came again");
    assert_eq!(log.ok(&["replay", "g", "t", "--from", "end"]), "0 records will be handled again\n");
}

/// Takes nothing with a 3 in it.
struct Picky;

impl Handler for Picky {
    async fn handle(&self, _: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        match records.iter().find(|record| record.value().contains(&b'3')) {
            Some(record) => Err(HandlerError::reject("no threes").at(record)),
            None => Ok(()),
        }
    }
}

/// Has a group read a topic's `n` records, and give up the threes.
pub async fn give_up(log: &Log, broker: &Broker, group: &str, topic: &str, n: i64) {
    let retry = Retry { then: AfterRetries::DeadLetter, ..Retry::default() };
    let picky =
        broker.consumer_group(group).topic(topic, Picky).retry(retry).start().await.unwrap();
    eventually("the group", || async { (log.committed(group, topic).await == n).then_some(()) })
        .await;
    picky.stop().await;
    broker.sequenced().await.unwrap();
}

#[tokio::test]
async fn a_redrive_sends_what_its_dry_run_lists() {
    let log = log().await;
    let broker = log.filled("t", 1, 40).await;
    give_up(&log, &broker, "g", "t", 40).await;

    let letters = |args: &[&str]| objects(&log.ok(&[args, &["--json"]].concat()));
    let all = letters(&["dead-letters", "g", "t"]);
    assert_eq!(all.len(), 13, "3, 13, 23 and all of the thirties");
    let first = &all[0];
    assert_eq!((&first["topic"], &first["original_offset"]), (&json!("t"), &json!("3")));
    assert_eq!((&first["error"], &first["key"]), (&json!("no threes"), &json!("k3")));
    assert!(log.ok(&["dead-letters", "g", "t"]).contains("t/0@3"));
    let topics = |args: &[&str]| {
        letters(&[&["topics", "list"], args].concat()).iter().map(|t| t["topic"].clone()).collect()
    };
    let (some, all): (Vec<_>, Vec<_>) = (topics(&[]), topics(&["--all"]));
    assert_eq!(some, ["t", "t.g.dlq"], "an empty topic of a group is not in the way");
    assert_eq!(all, ["t", "t.g.dlq", "t.g.redrive"]);

    let dry = ["redrive", "g", "t", "--dry-run"];
    assert_eq!(letters(&dry).len(), 13);
    assert_eq!(letters(&[&dry[..], &["--key", "k13"]].concat()).len(), 1);
    assert_eq!(letters(&[&dry[..], &["--error", "fours"]].concat()).len(), 0);
    assert_eq!(letters(&[&dry[..], &["--max-redrives", "0"]].concat()).len(), 0);
    let two = ["redrive", "g", "t", "--offset", "0", "--offset", "5"];
    let plan = letters(&[&two[..], &["--dry-run"]].concat());
    assert!(letters(&["dead-letters", "g", "t"]).iter().all(|dead| dead["redriven_at"].is_null()));
    assert_eq!(letters(&two), plan);
    assert_eq!(letters(&dry).len(), 11, "what was sent is not sent once more");
    assert_eq!(letters(&[&dry[..], &["--again"]].concat()).len(), 13);
    assert!(log.ok(&["redrive", "g", "t"]).ends_with("11 records redriven\n"));

    // They come back to this group, and to no other.
    let values = log.ok(&["consume", "t", "-g", "g", "-c", "13", "-f", "%s\n"]);
    assert!(values.lines().all(|value| value.contains('3')), "{values}");
    assert_eq!(log.ok(&["groups", "describe", "g", "--json"]).matches("\"lag\":0").count(), 2);
    log.run(&["redrive", "nobody", "t"]).told(3, "\"nobody\" has never read topic \"t\"");
    broker.shutdown().await;
}

#[tokio::test]
async fn retention_is_set_limit_by_limit() {
    let log = log().await;
    let limits = |args: &[&str]| objects(&log.ok(&[&["retention"], args, &["--json"]].concat()));
    assert!(limits(&["show"])[0].as_object().unwrap().values().all(serde_json::Value::is_null));
    assert_eq!(log.ok(&["retention", "apply"]), "nothing to do\n");
    limits(&["set", "--keep-for", "7d", "--keep-bytes", "1GiB"]);
    limits(&["set", "--keep-bytes", "none", "--force-after", "30d"]);
    let wanted = json!({"keep_for_seconds": 604800.0, "keep_bytes": null,
                        "force_after_seconds": 2592000.0, "force_bytes": null});
    assert_eq!(limits(&["show"]), [wanted]);
    log.run(&["retention", "set"]).told(2, "no limit is named");
    log.run(&["retention", "set", "--keep-for", "long"]).told(2, "is no span of time");
    log.run(&["retention", "set", "--force-after", "1d"]).told(3, "retention");
    let aged = "update log.segment set opened_at = now() - interval '60 days'";
    sqlx::query(aged).execute(&log.pool).await.unwrap();
    log.filled("t", 1, 1).await.shutdown().await;
    let done = limits(&["apply"]);
    assert_eq!((&done[0]["action"], &done[0]["segment"]), (&json!("opened"), &json!(1)));
}

#[tokio::test]
async fn verify_names_what_is_wrong() {
    let log = log().await;
    log.filled("t", 1, 5).await.shutdown().await;
    assert!(log.ok(&["verify"]).starts_with("no findings"));
    assert_eq!(log.ok(&["verify", "--json"]), "");
    sqlx::query("update log.block set n = n + 1").execute(&log.pool).await.unwrap();
    let ended = log.run(&["verify"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("t/0: the block at offset 0 has 6 records"), "{ended:?}");
    let ended = log.run(&["verify", "--json"]);
    assert_eq!(ended.code, Some(1));
    assert!(objects(&ended.out)[0]["finding"].as_str().unwrap().contains("t/0"));
}
