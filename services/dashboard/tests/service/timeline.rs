//! What is heard is told and counted exactly once.

use broker::Position;
use chrono::{DurationRound, TimeDelta, Utc};
use test_support::eventually;
use uuid::Uuid;

use crate::orders::placed;
use crate::world::{World, whole_story};

#[actix_rt::test]
async fn an_order_has_one_timeline_with_all_of_its_records() {
    let world = World::new().await;
    let order_id = Uuid::now_v7();
    whole_story(&world, order_id).await;
    world.steps(5).await;

    // Where groups are is asked for every so often.
    let page = eventually("the group to be past all of it", || async {
        let page = world.get(&format!("/orders/{order_id}")).await;
        (page.body.matches("analytics</a>: past it").count() == 5).then_some(page)
    })
    .await;
    assert_eq!((page.status, page.title()), (200, &*format!("Order {order_id} · Waybill")));
    for told in [
        "OrderPlaced",
        "EUR 1.07 for 2 × TEA",
        "ShipmentScheduled",
        "ShipmentDelivered",
        "Invoice INV-2026-000001",
        &format!("http://invoice.example/invoices/{order_id}/pdf"),
        "Message-ID &#60;1@waybill.example&#62;",
        "http://mailbox.example/view/latest?query=message-id%3A1%40waybill.example",
    ] {
        assert!(page.body.contains(told), "{told}: {}", page.body);
    }
    for private in ["Ada", "ada@example.org", "High St"] {
        assert!(!page.body.contains(private), "{private}");
    }
    // Where its record lies, and the record there.
    let link = page.body.split("/topics/order/records?").nth(1).unwrap();
    let link = link.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    let record = world.get(&format!("/topics/order/records?{link}")).await;
    assert!(record.body.contains(&order_id.to_string()), "{}", record.body);
    // Somebody's name is text there, not markup.
    assert!(record.body.contains("Ada &#60;b&#62;Lovelace"), "{}", record.body);
    world.stop().await;
}

#[actix_rt::test]
async fn each_record_counts_once_though_the_group_goes_back() {
    let world = World::new().await;
    let minute = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap() - TimeDelta::minutes(2);
    let orders: Vec<_> = (0..200).map(|_| placed(Uuid::now_v7(), minute)).collect();
    world.publish(&orders).await;
    // Said twice is two records, which are what is counted.
    world.publish(&orders[..20]).await;
    world.steps(220).await;
    world.broker.seek("analytics", "order", None, Position::Earliest).await.unwrap();
    eventually("the group to have read all of it again", || async {
        let places = world.broker.places(Some("analytics")).await.unwrap();
        let there = places.iter().filter(|place| place.topic == "order" && place.member.is_some());
        there.map(|place| place.committed).sum::<i64>().eq(&220).then_some(())
    })
    .await;
    assert_eq!(world.count("select count(*) from dashboard.step").await, 220);
    assert_eq!(world.count("select sum(n)::bigint from dashboard.minute").await, 220);
    assert_eq!(world.count("select sum(amount)::bigint from dashboard.minute").await, 220 * 107);

    let page = world.get("/analytics").await;
    assert_eq!((page.status, page.title()), (200, "Analytics · Waybill"));
    assert!(page.body.contains("Orders a minute, the highest 220"), "{}", page.body);
    assert!(page.body.contains("Revenue a minute, EUR, the highest EUR 235.40"), "{}", page.body);
    world.stop().await;
}
