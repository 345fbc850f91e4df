//! Log lines of all services, found and paged.

use broker::NewRecord;
use chrono::{DateTime, TimeDelta, Utc};
use contracts::LogLine;
use test_support::eventually;
use uuid::Uuid;

use crate::world::World;

fn line(service: &str, level: &str, at: DateTime<Utc>, message: String) -> LogLine {
    LogLine {
        service: service.to_owned(),
        process: 7,
        at,
        level: level.to_owned(),
        target: "tests".to_owned(),
        message,
        fields: Default::default(),
    }
}

/// The query of the link with these words.
fn link<'a>(page: &'a str, words: &str) -> Option<&'a str> {
    let before = page.split_once(&format!("\">{words}</a>"))?.0;
    Some(before.rsplit_once("href=\"")?.1)
}

fn messages(page: &str) -> Vec<String> {
    let lines = page.split("<li>").skip(1);
    let words = lines.filter_map(|line| line.split_once("line-")?.1.split_once(' '));
    words.map(|(number, _)| number.to_owned()).collect()
}

async fn shown(world: &World, query: &str, count: usize) -> String {
    eventually("the lines", || async {
        let page = world.get(&format!("/logs?{query}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        (page.body.matches("<li>").count() == count).then_some(page.body)
    })
    .await
}

#[actix_rt::test]
async fn lines_are_found_by_service_level_and_order() {
    let world = World::new().await;
    let order_id = Uuid::now_v7();
    let at = Utc::now();
    let mut about = line("delivery", "WARN", at, "late <b>".to_owned());
    about.fields.insert("order_id".to_owned(), order_id.to_string());
    let mut handled = line("email", "DEBUG", at, "handled".to_owned());
    handled.fields.insert("keys".to_owned(), format!("{} {order_id}", Uuid::nil()));
    world.publish(&[about, handled, line("order", "INFO", at, "listens".to_owned())]).await;
    world.publish_raw(NewRecord::new("log", "no line").header("ce_type", "x")).await;

    let page = shown(&world, "", 3).await;
    assert!(page.contains("late &#60;b&#62;"), "{page}");
    assert_eq!(page.matches(&format!("href=\"/orders/{order_id}\"")).count(), 2, "{page}");
    let page = eventually("the record that is no line", || async {
        let page = world.get("/logs").await.body;
        page.contains("Looked at 4. 1 records are no log lines").then_some(page)
    })
    .await;
    assert!(page.contains("<option value=\"delivery\">"), "{page}");
    for (query, count) in [
        ("service=delivery", 1),
        ("service=deliver", 0),
        ("level=INFO", 2),
        ("level=warn", 1),
        ("level=&service=&order=&before=", 3),
        (&format!("order={order_id}"), 2),
        (&format!("order={order_id}&level=WARN"), 1),
        (&format!("order={}", Uuid::now_v7()), 0),
    ] {
        shown(&world, query, count).await;
    }
    for (query, told) in
        [("order=7", "is no order"), ("level=LOUD", "is no level"), ("before=7", "is no place")]
    {
        let page = world.get(&format!("/logs?{query}")).await;
        assert!(page.status == 400 && page.body.contains(told), "{query}: {}", page.body);
    }
    world.stop().await;
}

#[actix_rt::test]
async fn pages_go_back_in_time_without_a_gap_or_a_repeat() {
    let world = World::new().await;
    let start = Utc::now();
    // Services in turn, and so partitions; in batches, so that lines of one have one time.
    for n in (0..250).step_by(10) {
        let lines = (n..n + 10).map(|n| {
            let service = ["order", "delivery", "invoice", "email", "dashboard"][n % 5];
            line(service, "INFO", start + TimeDelta::milliseconds(n as i64), format!("line-{n} "))
        });
        world.publish(&lines.collect::<Vec<_>>()).await;
    }
    world.broker.sequenced().await.unwrap();
    let (mut query, mut told) = (String::new(), Vec::new());
    for count in [100, 100, 50] {
        let page = world.get(&format!("/logs{query}")).await.body;
        let numbers = messages(&page);
        assert_eq!(numbers.len(), count, "{page}");
        told.extend(numbers);
        query = link(&page, "Older lines").unwrap_or_default().replace("&#38;", "&");
        assert_eq!(query.is_empty(), count == 50);
    }
    assert_eq!(told[0][..2], *"24", "the newest first: {told:?}");
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 250);
    world.stop().await;
}

#[actix_rt::test]
async fn a_search_stops_at_its_bound_and_goes_on_when_asked() {
    let world = World::new().await;
    let at = Utc::now();
    world.publish(&[line("invoice", "ERROR", at, "line-0 ".to_owned())]).await;
    world.broker.sequenced().await.unwrap();
    let noise: Vec<_> =
        (0..6000).map(|n| line("order", "INFO", at, format!("line-{n} "))).collect();
    world.publish(&noise).await;
    world.broker.sequenced().await.unwrap();
    let page = world.get("/logs?level=ERROR").await.body;
    assert!(page.contains("0 lines") && page.contains("Looked at 5000."), "{page}");
    let on = link(&page, "Older lines").unwrap().replace("&#38;", "&");
    assert!(on.contains("level=ERROR"), "{on}");
    let page = world.get(&format!("/logs{on}")).await.body;
    assert!(page.contains("1 lines") && page.contains("Looked at 1001."), "{page}");
    world.stop().await;
}
