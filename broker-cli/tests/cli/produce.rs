//! What goes in.

use std::io::Write;
use std::process::Stdio;

use crate::common::{eventually, log, objects};

#[tokio::test]
async fn a_line_is_a_record() {
    let log = log().await;
    log.ok(&["topics", "create", "t", "-p", "4"]);
    let input = b"one\n\ntwo:2\r\n\xff\xfe\nlast";
    let told = log.feed(&["produce", "t", "-k", "k", "-H", "a=1", "-H", "b=x=y"], input).done();
    assert_eq!(told, "5 records published to t\n");
    let records = objects(&log.ok(&["consume", "t", "-e", "--json"]));
    let values: Vec<_> = records.iter().map(|r| &r["value"]).collect();
    let base64 = serde_json::json!({"base64": "//4="});
    assert_eq!(
        serde_json::json!(values),
        serde_json::json!(["one", "", "two:2\r", base64, "last"])
    );
    for (n, record) in records.iter().enumerate() {
        assert_eq!(
            (&record["key"], &record["offset"]),
            (&"k".into(), &n.into()),
            "one key, one order"
        );
        assert_eq!(record["headers"], serde_json::json!({"a": "1", "b": "x=y"}));
    }
}

#[tokio::test]
async fn a_key_is_split_off() {
    let log = log().await;
    log.ok(&["topics", "create", "t"]);
    log.feed(&["produce", "t", "-K", "::"], b"a::b::c\nnone\n::empty\n").done();
    let told = log.ok(&["consume", "t", "-e", "-f", "%K[%k]=%s;"]);
    assert_eq!(told, "1[a]=b::c;-1[]=none;0[]=empty;");
    log.run(&["produce", "t", "-K", ":", "-k", "x"]).told(2, "cannot be used with");
}

#[tokio::test]
async fn many_lines_keep_their_order() {
    let log = log().await;
    log.ok(&["topics", "create", "t", "-p", "2"]);
    let lines: String = (0..2500).map(|n| format!("{n}\n")).collect();
    let told = log.feed(&["produce", "t", "-p", "1"], lines.as_bytes()).done();
    assert_eq!(told, "2500 records published to t\n");
    assert_eq!(log.ok(&["consume", "t", "-e", "-f", "%s\\n"]), lines);
}

#[tokio::test]
async fn what_arrives_is_published_before_more_does() {
    let log = log().await;
    log.ok(&["topics", "create", "t"]);
    let watch = log.broker().await;
    let mut produce = log.command(&["produce", "t"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = produce.stdin.take().unwrap();
    for n in 1..=2 {
        writeln!(stdin, "{n}").unwrap();
        eventually("the line", || async {
            (watch.partitions("t").await.unwrap()[0].end == n).then_some(())
        })
        .await;
    }
    drop(stdin);
    assert!(produce.wait().unwrap().success());
    watch.shutdown().await;
}

#[tokio::test]
async fn nothing_is_published_from_nothing() {
    let log = log().await;
    log.ok(&["topics", "create", "t"]);
    assert_eq!(log.feed(&["produce", "t"], b"").done(), "0 records published to t\n");
    assert_eq!(log.ok(&["consume", "t", "-e"]), "");
    log.feed(&["produce", "none"], b"").told(3, "topic \"none\" does not exist");
    log.feed(&["produce", "t", "-p", "1"], b"").told(3, "partitions 0 to 0, not 1");
}

#[tokio::test]
async fn a_bad_line_is_named_and_nothing_after_it_goes() {
    let log = log().await;
    log.ok(&["topics", "create", "t", "-p", "2"]);
    let good = "{\"value\":1}\n\n{\"value\":\"two\"}\n";
    for (bad, told) in [
        ("{\"vale\":1}", "line 4: unknown field `vale`"),
        ("{\"value\":", "line 4: "),
        ("seven", "line 4: "),
        ("{\"value\":{\"base64\":\"?\"}}", "line 4: value: "),
        ("{\"value\":1,\"headers\":{\"\":\"x\"}}", "line 4: header"),
        ("{\"value\":1,\"headers\":{\"n\":7}}", "line 4: invalid type"),
    ] {
        let input = format!("{good}{bad}\n{{\"value\":\"after\"}}\n");
        let ended = log.feed(&["produce", "t", "--json"], input.as_bytes());
        ended.told(1, told);
        assert_eq!(objects(&ended.out)[0]["published"], 2, "{bad}");
    }
    let beyond = "{\"value\":1}\n{\"value\":1,\"partition\":2}\n";
    log.feed(&["produce", "t", "--json"], beyond.as_bytes())
        .told(3, "line 2: topic \"t\" has partitions 0 to 1");
    let long = [&b"short\n"[..], &vec![b'x'; 1024 * 1024], b"\nafter\n"].concat();
    log.feed(&["produce", "t"], &long).told(1, "line 2: the record has 1048580 bytes");
    let longer = [&b"short\n"[..], &vec![b'x'; 3 * 1024 * 1024]].concat();
    log.feed(&["produce", "t"], &longer).told(1, "line 2 has more than 2097152 bytes");
    let values = log.ok(&["consume", "t", "-e", "-f", "%s\\n"]);
    assert!(!values.contains("after"), "{values}");
    assert_eq!(values.lines().count(), 6 * 2 + 1 + 1 + 1);
}

#[tokio::test]
async fn what_consume_prints_produce_takes() {
    let log = log().await;
    log.ok(&["topics", "create", "from", "to", "-p", "3"]);
    let input = r#"{"key":"a","value":{"deep": [1.10, "x y"]},"headers":{"h":"1","g":"2","h":"3"}}
{"key":{"base64":"AP8="},"value":"text"}
{"value":null,"partition":2}
"#;
    log.feed(&["produce", "from", "--json"], input.as_bytes()).done();
    let printed = log.ok(&["consume", "from", "-e", "--json"]);
    assert!(printed.contains(r#""headers":{"h":"1","g":"2","h":"3"}"#), "{printed}");
    assert!(printed.contains(r#""value":"{\"deep\":[1.10,\"x y\"]}""#), "{printed}");
    log.feed(&["produce", "to", "--json"], printed.as_bytes()).done();
    let format = "%p %o %k %s %h\\n";
    let copied = log.command(&["consume", "to", "-e", "-f", format]).output().unwrap().stdout;
    let source = log.command(&["consume", "from", "-e", "-f", format]).output().unwrap().stdout;
    assert_eq!(copied, source);
    assert_eq!(copied.iter().filter(|byte| **byte == b'\n').count(), 3);
}
