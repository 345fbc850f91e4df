//! Consuming as a member of a group: what is printed is committed, and nothing else.

use broker::{NewRecord, Redrive};

use crate::common::{Running, eventually, log};

#[tokio::test]
async fn a_group_goes_on_where_it_was() {
    let log = log().await;
    log.filled("t", 3, 60).await.shutdown().await;
    let consume = |more: &[&str]| {
        let args = [&["consume", "t", "-g", "g", "-f", "%s\n"], more].concat();
        log.ok(&args).lines().map(|line| line.parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    for (count, so_far) in [("1", 1), ("25", 26), ("4", 30)] {
        seen.extend(consume(&["-c", count]));
        assert_eq!(seen.len() as i64, so_far);
        assert_eq!(log.committed("g", "t").await, so_far, "what was printed is committed");
    }
    seen.extend(consume(&["-e"]));
    assert_eq!(consume(&["-e"]), Vec::<u32>::new());
    seen.sort_unstable();
    assert_eq!(seen, (0..60).collect::<Vec<_>>(), "each once");
    assert!(log.ok(&["consume", "t", "-g", "late", "-o", "end", "-e"]).is_empty());
    log.run(&["consume", "t", "-g", "g", "-o", "5"]).told(2, "broker seek moves it");
    log.run(&["consume", "t", "-g", "g", "-p", "1"]).told(2, "cannot be used with");
    log.run(&["consume", "none", "-g", "g"]).told(3, "topic \"none\" does not exist");
}

#[tokio::test]
async fn ctrl_c_leaves_the_group() {
    let log = log().await;
    let broker = log.filled("t", 4, 40).await;
    let mut consume = Running::start(log.command(&["consume", "t", "-g", "g", "--json"]));
    for _ in 0..40 {
        consume.line();
    }
    eventually("the last commit", || async { (log.committed("g", "t").await == 40).then_some(()) })
        .await;
    let places = broker.places(Some("g")).await.unwrap();
    assert!(
        places.iter().all(|place| place.process.as_deref() == Some("broker-cli")),
        "{places:?}"
    );
    log.run(&["groups", "delete", "g"]).told(3, "stop them first");

    consume.interrupt();
    let ended = consume.end();
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), "", ""));
    let places = broker.places(Some("g")).await.unwrap();
    assert!(places.iter().all(|place| place.member.is_none()), "given back: {places:?}");
    assert_eq!(log.ok(&["groups", "delete", "g"]), "deleted g\n");
    broker.shutdown().await;
}

#[tokio::test]
async fn what_could_not_be_printed_is_not_committed() {
    let log = log().await;
    let broker = log.broker().await;
    broker.create_topic("t", 1).await.unwrap();
    // Together more than a pipe holds, and few enough for one batch.
    let large = (0..400).map(|n| NewRecord::new("t", format!("{n:01000}")));
    broker.publish(large.collect::<Vec<_>>()).await.unwrap();
    broker.sequenced().await.unwrap();

    let mut consume = Running::start(log.command(&["consume", "t", "-g", "g", "-f", "%s\n"]));
    assert_eq!(consume.line(), format!("{:01000}", 0));
    consume.hang_up();
    let ended = consume.end();
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
    assert_eq!(log.committed("g", "t").await, 0);
    let dead = broker.dead_letters("g", "t", &Redrive::default()).await.unwrap();
    assert!(dead.is_empty(), "it was not the records' fault");
    // Another member gets all of it.
    let rest = log.ok(&["consume", "t", "-g", "g", "-e", "-f", "%s\n"]);
    assert_eq!(rest.lines().count(), 400);
    broker.shutdown().await;
}
