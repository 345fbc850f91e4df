//! What an order's passport says of each record: where it lies, and what every group did with it.

use chrono::Utc;
use contracts::{LogLine, MailBounced, MailKind};
use test_support::eventually;
use uuid::Uuid;

use crate::orders::placed;
use crate::world::World;

#[actix_rt::test]
async fn a_record_shows_its_transaction_and_the_one_that_handled_it() {
    let world = World::new().await;
    let order_id = Uuid::now_v7();
    world.publish(&[placed(order_id, Utc::now())]).await;
    world.steps(1).await;
    let path = format!("/orders/{order_id}");
    let page = eventually("the group to be past it", || async {
        let page = world.get(&path).await.body;
        page.contains("analytics</a>: past it since ").then_some(page)
    })
    .await;
    let number = |after: &str| -> i64 {
        let rest = page.split_once(after).unwrap().1;
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    let published = world
        .count("select max(xid::text::bigint) from log.record_batch where topic = log.topic_id('order')")
        .await;
    assert_eq!(number("</a>, transaction "), published, "{page}");
    // The step was written with the group's progress.
    let written = world.count("select max(xmin::text::bigint) from dashboard.step").await;
    let handled = page.split_once("past it since ").unwrap().1;
    assert!(handled.contains(&format!(", transaction {written}, generation ")), "{page}");
    assert!(page.contains("its HTTP answer was not seen here"), "{page}");
    world.stop().await;
}

#[actix_rt::test]
async fn attempts_that_failed_are_told_where_they_belong() {
    let world = World::new().await;
    let order_id = Uuid::now_v7();
    world.publish(&[placed(order_id, Utc::now())]).await;
    world.steps(1).await;
    let (partition, offset): (i32, i64) =
        sqlx::query_as("select partition, record_offset from dashboard.step")
            .fetch_one(&world.database.pool)
            .await
            .unwrap();
    let line = |offset: i64, message: &str| -> LogLine {
        serde_json::from_value(serde_json::json!({
            "service": "dashboard", "process": 7, "at": Utc::now(), "level": "WARN",
            "target": "broker::group::worker", "message": message,
            "fields": {"topic": "order", "partition": partition.to_string(),
                       "offset": offset.to_string(), "group": "analytics"}
        }))
        .unwrap()
    };
    let lines = [line(offset, "will retry a record: <no>"), line(offset + 1, "another's")];
    world.publish(&lines).await;
    let page = eventually("the attempt", || async {
        let page = world.get(&format!("/orders/{order_id}")).await.body;
        page.contains("will retry a record: &#60;no&#62;").then_some(page)
    })
    .await;
    assert!(page.contains("Attempts of analytics that failed"), "{page}");
    assert!(page.contains("href=\"/dead-letters/order/analytics\""), "{page}");
    assert!(!page.contains("another&#39;s"), "{page}");
    world.stop().await;
}

#[actix_rt::test]
async fn a_mail_that_bounced_shows_its_message_id() {
    let world = World::new().await;
    let order_id = Uuid::now_v7();
    let bounced = MailBounced {
        subject_id: order_id,
        mail_id: Uuid::now_v7(),
        kind: MailKind::Invoice,
        message_id: "<2@waybill.example>".into(),
        to: "ada@example.org".parse().unwrap(),
        bounced_at: Utc::now(),
        reason: "550 nobody".into(),
    };
    world.publish(&[bounced]).await;
    world.steps(1).await;
    let page = world.get(&format!("/orders/{order_id}")).await.body;
    assert!(page.contains("invoice, Message-ID &#60;2@waybill.example&#62;: 550 nobody"), "{page}");
    assert!(page.contains("was placed with is not among them"), "{page}");
    world.stop().await;
}
