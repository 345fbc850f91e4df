//! Times from orders to effects: each counted once, whichever was heard of first, and told within
//! what is promised.

use broker::Position;
use chrono::{TimeDelta, Utc};
use contracts::ShipmentScheduled;
use test_support::eventually;
use uuid::Uuid;

use crate::orders::placed;
use crate::world::World;

fn scheduled(order_id: Uuid, after: TimeDelta) -> ShipmentScheduled {
    let at = Utc::now();
    ShipmentScheduled {
        order_id,
        shipment_id: Uuid::now_v7(),
        scheduled_at: at + after,
        dispatch_at: at,
        deliver_at: at,
    }
}

async fn counted(world: &World) -> i64 {
    world.count("select coalesce(sum(n), 0)::bigint from dashboard.delay").await
}

#[actix_rt::test]
async fn a_time_is_told_within_five_percent() {
    let world = World::new().await;
    let worst: f64 = sqlx::query_scalar(
        "select max(abs(dashboard.bucket_ms(dashboard.delay_bucket(now(), now() + t.ms * interval '1 ms')) - t.ms) / t.ms)
           from (select exp(i / 200.0)::float8 as ms from generate_series(1, 4500) i) t",
    )
    .fetch_one(&world.database.pool)
    .await
    .unwrap();
    assert!((0.04..=0.0501).contains(&worst), "{worst}");
    let edges: Vec<i16> = sqlx::query_scalar(
        "select dashboard.delay_bucket(now(), now() + t) from unnest(array[
            interval '-3 s', interval '0', interval '1 ms', interval '1.01 ms', interval '1000 years']) t",
    )
    .fetch_all(&world.database.pool)
    .await
    .unwrap();
    assert_eq!(edges, [0, 0, 0, 1, 250]);
    world.stop().await;
}

#[actix_rt::test]
async fn an_effect_counts_once_whether_its_order_comes_before_or_after() {
    let world = World::new().await;
    let (first, last) = (Uuid::now_v7(), Uuid::now_v7());
    world.publish(&[placed(first, Utc::now())]).await;
    world.steps(1).await;
    world.publish(&[scheduled(first, TimeDelta::seconds(10))]).await;
    world.publish(&[scheduled(last, TimeDelta::seconds(100))]).await;
    world.steps(3).await;
    let waiting = || world.count("select count(*) from dashboard.waiting_effect");
    assert_eq!((counted(&world).await, waiting().await), (1, 1));

    world.publish(&[placed(last, Utc::now())]).await;
    eventually("the effect that waited", || async { (waiting().await == 0).then_some(()) }).await;
    assert_eq!(counted(&world).await, 2);

    // Again, with all that was there already.
    world.broker.seek("analytics", "shipment", None, Position::Earliest).await.unwrap();
    world.publish(&[scheduled(first, TimeDelta::seconds(10))]).await;
    world.steps(5).await;
    assert_eq!((counted(&world).await, waiting().await), (3, 0));

    let page = world.get("/analytics").await.body;
    assert!(page.contains("<th scope=\"row\">ShipmentScheduled</th><td>3</td>"), "{page}");
    let row = page.split_once("ShipmentScheduled</th><td>3</td><td>").unwrap().1;
    let told: Vec<f64> = row
        .split("</td>")
        .take(2)
        .map(|cell| {
            let number = cell.trim_start_matches("<td>").split(' ').next().unwrap();
            number.parse().unwrap()
        })
        .collect();
    // 9.8 s or 10 s and more, for the time that the test took.
    assert!((9.0..=12.0).contains(&told[0]) || (9_000.0..10_000.0).contains(&told[0]), "{told:?}");
    assert!((93.0..=107.0).contains(&told[1]), "{told:?}");
    world.stop().await;
}

#[actix_rt::test]
async fn every_plot_has_a_title_a_description_and_a_table() {
    let world = World::new().await;
    let order_id = Uuid::now_v7();
    world.publish(&[placed(order_id, Utc::now())]).await;
    world.steps(1).await;
    world.publish(&[scheduled(order_id, TimeDelta::seconds(1))]).await;
    world.steps(2).await;
    let page = eventually("a plot of the group", || async {
        let page = world.get("/analytics").await.body;
        page.contains("<title id=\"analytics-title\">analytics</title>").then_some(page)
    })
    .await;
    let plots = page.matches("<svg").count();
    // Orders, revenue, one effect, one group.
    assert_eq!(plots, 4, "{page}");
    for part in ["role=\"img\" aria-labelledby=\"", "<desc id=\"", "<summary>As a table"] {
        assert_eq!(page.matches(part).count(), plots, "{part}");
    }
    for id in page.split("aria-labelledby=\"").skip(1) {
        for id in id.split('"').next().unwrap().split(' ') {
            assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
        }
    }
    assert!(page.contains("p99 and p50 from"), "{page}");
    world.stop().await;
}
