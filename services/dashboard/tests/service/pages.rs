//! Every page renders, and says what was wrong with what it was asked.

use broker::NewRecord;
use chrono::Utc;
use uuid::Uuid;

use crate::orders::placed;
use crate::world::{World, whole_story};

#[actix_rt::test]
async fn every_page_has_its_title_its_landmarks_and_its_headers() {
    let world = World::new().await;
    whole_story(&world, Uuid::now_v7()).await;
    world.steps(5).await;
    for (path, title) in [
        ("/", "An order system you can watch · Waybill"),
        ("/topics", "Topics · Waybill"),
        ("/topics/order", "Topic order · Waybill"),
        ("/topics/order/records", "Records of order · Waybill"),
        ("/topics/order.analytics.dlq/records", "Records of order.analytics.dlq · Waybill"),
        ("/groups", "Consumer groups · Waybill"),
        ("/groups/analytics", "Group analytics · Waybill"),
        ("/dead-letters", "Dead letters · Waybill"),
        ("/dead-letters/order/analytics", "Dead letters of analytics on order · Waybill"),
        ("/logs", "Log lines · Waybill"),
        ("/analytics", "Analytics · Waybill"),
    ] {
        let page = world.get(path).await;
        assert_eq!((page.status, page.title()), (200, title), "{path}: {}", page.body);
        for part in ["<html lang=\"en\">", "<nav aria-label=", "<main id=\"main\"", "<h1>"] {
            assert!(page.body.contains(part), "{path} has no {part}");
        }
        assert!(!page.body.contains("style=\"") && !page.body.contains("onclick"), "{path}");
        assert!(page.header("content-security-policy").contains("script-src 'self';"), "{path}");
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("referrer-policy"), "same-origin");
        assert_eq!(page.header("cache-control"), "no-store");
    }
    // What the pages load is there, and stays in the browser.
    let page = world.get("/").await.body;
    for (kind, start) in [("text/css", "href=\"/static"), ("text/javascript", "src=\"/static")] {
        let address = page.split_once(start).unwrap().1.split('"').next().unwrap();
        let file = world.get(&format!("/static{address}")).await;
        assert_eq!(file.status, 200);
        assert!(file.header("content-type").starts_with(kind), "{address}");
        assert!(file.header("cache-control").contains("immutable"), "{address}");
    }
    world.stop().await;
}

#[actix_rt::test]
async fn the_record_browser_seeks_and_filters() {
    let world = World::new().await;
    let ids: Vec<Uuid> = (0..150).map(|_| Uuid::now_v7()).collect();
    let orders: Vec<_> = ids.iter().map(|id| placed(*id, Utc::now())).collect();
    world.publish(&orders).await;
    world.steps(150).await;
    let fixed = NewRecord::new("promotion", "plain words").partition(1).header("a", "b<c");
    world.publish_raw(fixed).await;
    let records = async |query: &str| {
        let page = world.get(&format!("/topics/order/records?{query}")).await;
        assert_eq!(page.status, 200, "{query}: {}", page.body);
        (page.body.matches("<article").count(), page.body)
    };

    assert_eq!(records("from=earliest").await.0, 100, "a page");
    let (_, page) = records("from=earliest").await;
    let on = page.split_once("Stopped at partition").unwrap().1;
    let on = on.split_once("href=\"?").unwrap().1.split('"').next().unwrap();
    let (count, _) = records(&on.replace("&#38;", "&").replace("&amp;", "&")).await;
    assert!(count > 0, "{on}");

    let (count, page) = records(&format!("from=earliest&key={}", ids[77])).await;
    assert!(count == 1 && page.contains(&format!("/orders/{}", ids[77])), "{page}");
    let (count, page) = records(&format!("content=/order_id={}", ids[78])).await;
    assert!(count == 1 && page.contains("Looked at 150."), "{page}");
    assert_eq!(records("from=earliest&content=nowhere").await.0, 0);
    let (count, page) = records("partition=3&from=1").await;
    assert!(count > 0 && page.contains("order/3 @ 1</a>") && !page.contains("order/3 @ 0</a>"));
    let (count, page) = records("").await;
    let older =
        page.split_once("\">Older records</a>").unwrap().0.rsplit_once("href=\"?").unwrap().1;
    let (more, page) = records(&older.replace("&#38;", "&")).await;
    assert_eq!((count, more), (100, 50), "{page}");
    assert!(!page.contains("data-live=\"records\" data-topic"), "{page}");
    assert_eq!(records("from=@2000-01-01T00:00:00Z").await.0, 100);
    assert_eq!(records("from=@2100-01-01T00:00:00Z").await.0, 0);
    assert_eq!(records("partition=&from=&key=&content=").await.0, 100, "an empty form is the tail");

    let page = test_support::eventually("the plain record", || async {
        let page = world.get("/topics/promotion/records").await.body;
        page.contains("plain words").then_some(page)
    })
    .await;
    assert!(page.contains("<dd>b&#60;c</dd>") && page.contains("no key"), "{page}");
    world.stop().await;
}

#[actix_rt::test]
async fn what_is_wrong_is_named() {
    let world = World::new().await;
    let long = "x".repeat(5000);
    for (path, status, told) in [
        ("/topics/nothing", 404, "nothing"),
        ("/topics/nothing/records", 404, "nothing"),
        ("/topics/order/records?partition=8", 400, "partitions 0 to 7"),
        ("/topics/order/records?partition=x", 400, "partitions 0 to 7"),
        ("/topics/order/records?from=7", 400, "choose the partition"),
        ("/topics/order/records?partition=0&from=7", 400, "offsets 0 to 0"),
        ("/topics/order/records?from=soon", 400, "is no position"),
        ("/topics/order/records?content=/total", 400, "is no filter"),
        (&format!("/topics/order/records?key={long}"), 414, "4096"),
        ("/groups/nobody", 404, "nobody"),
        ("/dead-letters/order/nobody", 404, "order.nobody.dlq"),
        ("/dead-letters/order/analytics?from=x", 400, "is no offset"),
        ("/orders/7", 404, "UUID"),
        (&format!("/orders/{}", Uuid::nil()), 404, "heard of"),
        ("/orders?id=x", 400, "is no order"),
        ("/nothing", 404, "/nothing"),
        ("/static/secret", 404, "secret"),
    ] {
        let page = world.get(path).await;
        assert_eq!(page.status, status, "{path}: {}", page.body);
        assert!(
            page.body.contains(told) && page.title().starts_with(&status.to_string()),
            "{path}: {}",
            page.body
        );
        assert!(page.header("content-security-policy").contains("default-src 'none'"), "{path}");
        // Programs get it as data.
        let answer = world.send(world.request(path).header("accept", "application/json")).await;
        assert_eq!(answer.status, status, "{path}");
    }
    let plain = reqwest::get(format!("{}/topics/nothing", world.url)).await.unwrap();
    assert_eq!(plain.headers()["content-type"], "application/problem+json");
    let elsewhere = world.send(world.request("/").header("host", "evil.example")).await;
    assert_eq!(elsewhere.status, 421);
    world.stop().await;
}
