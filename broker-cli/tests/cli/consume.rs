//! Reading along.

use broker::NewRecord;

use crate::common::{Running, log, objects};

#[tokio::test]
async fn it_begins_where_it_is_told() {
    let log = log().await;
    let broker = log.filled("t", 1, 10).await;
    broker.publish([NewRecord::new("t", "later")]).await.unwrap();
    broker.sequenced().await.unwrap();
    let last = broker.read("t", 0, 10, 1).await.unwrap();
    let at = format!("@{}", last[0].published_at().to_rfc3339());
    let offsets = |args: &[&str]| {
        let args = [&["consume", "t", "-e", "-f", "%o "], args].concat();
        log.ok(&args).trim_end().to_owned()
    };
    assert_eq!(offsets(&[]), "0 1 2 3 4 5 6 7 8 9 10");
    assert_eq!(offsets(&["-o", "8"]), "8 9 10");
    assert_eq!(offsets(&["-o", "-2"]), "9 10");
    assert_eq!(offsets(&["-o", "-99", "-c", "2"]), "0 1");
    assert_eq!(offsets(&["-o", &at]), "10");
    assert_eq!(offsets(&["-o", "@1"]), offsets(&["-o", "start"]));
    assert_eq!(offsets(&["-o", "end"]), "");
    // As if retention had taken all there was.
    sqlx::query(
        "insert into log.log_start (topic, partition, start) values (log.topic_id('t'), 0, 11)",
    )
    .execute(&log.pool)
    .await
    .unwrap();
    assert_eq!((offsets(&["-o", "-2"]), offsets(&[])), (String::new(), String::new()));
    log.run(&["consume", "t", "-e", "-o", "3"]).told(3, "keeps offsets 11 to 11");
    log.run(&["consume", "t", "-e", "-o", "12"]).told(3, "keeps offsets 11 to 11");
    log.run(&["consume", "t", "-e", "-o", "soon"]).told(2, "is no position");
    log.run(&["consume", "t", "-e", "-p", "1"]).told(3, "has no partition 1");
    log.run(&["consume", "t", "none", "-e"]).told(3, "topic \"none\" does not exist");
    broker.shutdown().await;
}

#[tokio::test]
async fn it_ends_at_the_end_of_every_partition() {
    let log = log().await;
    log.filled("t", 40, 3000).await.shutdown().await;
    log.filled("u", 2, 50).await.shutdown().await;
    let records = objects(&log.ok(&["consume", "t", "u", "-e", "--json"]));
    assert_eq!(records.len(), 3050);
    let mut next = std::collections::HashMap::new();
    for record in &records {
        let place = (record["topic"].as_str().unwrap(), record["partition"].as_i64().unwrap());
        let next = next.entry(place).or_insert(0);
        assert_eq!(record["offset"], *next, "in order, without a gap");
        *next += 1;
    }
    let one = objects(&log.ok(&["consume", "t", "-e", "-p", "2", "--json"]));
    assert!(!one.is_empty() && one.iter().all(|record| record["partition"] == 2));
    assert_eq!(log.ok(&["consume", "t", "-c", "7"]).lines().count(), 7);
}

#[tokio::test]
async fn it_follows_until_ctrl_c() {
    let log = log().await;
    let broker = log.filled("t", 2, 1).await;
    let mut consume = Running::start(log.command(&["consume", "t", "-f", "%s\\n"]));
    assert_eq!(consume.line(), "0");
    for n in 1..4 {
        broker.publish([NewRecord::new("t", n.to_string())]).await.unwrap();
        assert_eq!(consume.line(), n.to_string());
    }
    consume.interrupt();
    let ended = consume.end();
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
    broker.shutdown().await;
}

#[tokio::test]
async fn who_reads_the_pipe_may_go() {
    let log = log().await;
    log.filled("t", 1, 20_000).await.shutdown().await;
    for args in [&["consume", "t"][..], &["consume", "t", "--json"]] {
        let mut consume = Running::start(log.command(args));
        assert!(consume.line().contains("k0"));
        consume.hang_up();
        let ended = consume.end();
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{args:?}");
    }
}

#[tokio::test]
async fn a_line_for_people_is_one_line_without_colours_in_a_pipe() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    let nasty = NewRecord::new("t", "a\n\u{1b}[2Jb").key("k\r").header("h", "1\n2");
    broker.publish([nasty]).await.unwrap();
    broker.shutdown().await;
    let line = log.ok(&["consume", "t", "-e"]);
    assert!(line.starts_with("t/0@0  20"), "{line}");
    assert!(line.ends_with("Z  k\\r  a\\n\\u{1b}[2Jb  h=1\\n2\n"), "{line}");
    assert_eq!(log.ok(&["consume", "t", "-e", "-f", "%s"]), "a\n\u{1b}[2Jb", "as it is");

    let mut coloured = log.command(&["consume", "t", "-e"]);
    coloured.env("CLICOLOR_FORCE", "1");
    let text = crate::common::run(coloured, b"").done();
    assert!(text.starts_with("\u{1b}[2mt/0@0"), "{text:?}");
    let mut plain = log.command(&["topics", "describe", "t"]);
    plain.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    assert!(!crate::common::run(plain, b"").done().contains('\u{1b}'));
}

#[tokio::test]
async fn a_format_has_kcats_tokens() {
    let log = log().await;
    log.ok(&["topics", "create", "t"]);
    log.feed(&["produce", "t", "-k", "key", "-H", "a=1", "-H", "b=2"], b"value\n").done();
    let time = objects(&log.ok(&["consume", "t", "-e", "--json"]))[0]["time"].clone();
    let text = log.ok(&["consume", "t", "-e", "-f", r"%t|%p|%o|%k|%K|%s|%S|%h|%%|\t\x41\\%T"]);
    let (before, ms) = text.split_once("\\").unwrap();
    assert_eq!(before, "t|0|0|key|3|value|5|a=1,b=2|%|\tA");
    let at = chrono::DateTime::from_timestamp_millis(ms.parse().unwrap()).unwrap();
    assert_eq!(time, at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    log.run(&["consume", "t", "-f", "%x"]).told(2, "%x is no token");
    log.run(&["consume", "t", "-f", "%s", "--json"]).told(2, "cannot be used with");
}
