//! What an order's passport says of each record: where it lies, and what every group did with it.

use chrono::{TimeDelta, Utc};
use contracts::{LogLine, MailBounced, MailKind, OrderAnswer, OrdersAnswered};
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
    assert!(page.contains("How it was answered is not known"), "{page}");
    world.stop().await;
}

#[actix_rt::test]
async fn how_an_order_was_answered_is_told_however_it_was_placed() {
    let world = World::new().await;
    let (order_id, at) = (Uuid::now_v7(), Utc::now());
    let answer = |ms: i64, took_micros: u64, replayed: bool| OrderAnswer {
        order_id,
        status: 201,
        answered_at: at + TimeDelta::milliseconds(ms),
        took_micros,
        replayed,
    };
    let another = OrderAnswer { order_id: Uuid::now_v7(), ..answer(5, 9_900, false) };
    let answered = |answers: &[OrderAnswer]| OrdersAnswered {
        service: "order".to_owned(),
        process: 7,
        answers: answers.to_vec(),
    };
    world.publish(&[placed(order_id, at)]).await;
    // Told twice it was given once.
    let first = answer(5, 4_200, false);
    world.publish(&[answered(&[first.clone(), another]), answered(&[first])]).await;
    world.publish(&[answered(&[answer(60_000, 900, true)])]).await;
    world.steps(1).await;
    eventually("the answers", || async {
        (world.count("select count(*) from dashboard.request").await == 3).then_some(())
    })
    .await;

    let path = format!("/orders/{order_id}");
    let page = world.get(&path).await.body;
    let kinds: Vec<&str> =
        page.split("<h3>").skip(1).map(|told| told.split_once("</h3>").unwrap().0).collect();
    assert_eq!(kinds, ["201 Created", "OrderPlaced", "201 Created, replayed"], "{page}");
    assert!(page.contains("answered after 4.2 ms: ") && page.contains(", +5.0 ms"), "{page}");
    assert!(page.contains("after 0.9 ms the first answer was given again"), "{page}");
    assert!(!page.contains("9.9 ms") && !page.contains("is not known"), "{page}");

    let lines = world.get(&format!("/logs?order={order_id}")).await.body;
    assert!(lines.contains("answered with 201 after 0.9 ms"), "{lines}");
    assert!(lines.contains("replayed=true"), "{lines}");
    assert_eq!(lines.matches("answered with 201").count(), 3, "{lines}");
    world.stop().await;
}

/// What the page says of how group analytics got past the order's record.
async fn past(world: &World, order_id: Uuid) -> String {
    let page = world.get(&format!("/orders/{order_id}")).await.body;
    let told = page.split_once("analytics</a>: ").map(|(_, told)| told.split_once('<').unwrap().0);
    told.unwrap_or_else(|| panic!("{page}")).to_owned()
}

#[actix_rt::test]
async fn commits_stay_known_when_the_log_has_forgotten_them() {
    let world = World::new().await;
    let orders: Vec<_> = (0..40).map(|_| Uuid::now_v7()).collect();
    for (n, order_id) in orders.iter().enumerate() {
        world.publish(&[placed(*order_id, Utc::now())]).await;
        world.steps(n as i64 + 1).await;
    }
    let kept = "select coalesce(sum(e - s), 0)::bigint
                  from dashboard.group_commit c, unnest(c.starts, c.ends) u(s, e) where topic = 'order'";
    eventually("the commits", || async { (world.count(kept).await == 40).then_some(()) }).await;
    let mut known = Vec::new();
    for order_id in &orders {
        known.push(past(&world, *order_id).await);
    }
    assert!(known.iter().all(|told| told.starts_with("past it since ")), "{known:?}");

    let trim = "delete from log.progress p where p.seq < (
                    select max(r.seq) from log.progress r
                     where (r.subscription, r.partition) = (p.subscription, p.partition))";
    sqlx::query(trim).execute(&world.database.pool).await.unwrap();
    for (order_id, known) in orders.iter().zip(&known) {
        assert_eq!(past(&world, *order_id).await, *known);
    }
    sqlx::query("delete from dashboard.group_commit").execute(&world.database.pool).await.unwrap();
    assert_eq!(past(&world, orders[0]).await, "past it; its commit was not caught");

    // What is not caught stays so, and what comes is.
    let late = Uuid::now_v7();
    world.publish(&[placed(late, Utc::now())]).await;
    world.steps(41).await;
    eventually("the commit", || async { (world.count(kept).await == 1).then_some(()) }).await;
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
