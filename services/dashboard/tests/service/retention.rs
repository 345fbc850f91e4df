//! What is old goes, and is not counted again by a group that is moved back behind it.

use broker::Position;
use chrono::Utc;
use sqlx::{Connection, PgConnection};
use test_support::eventually;
use uuid::Uuid;

use crate::orders::placed;
use crate::world::{World, whole_story};

async fn caught_up(world: &World, topic: &str, records: i64) {
    eventually("the group to have read all of it", || async {
        let places = world.broker.places(Some("analytics")).await.unwrap();
        let there = places.iter().filter(|place| place.topic == topic && place.member.is_some());
        there.map(|place| place.committed).sum::<i64>().eq(&records).then_some(())
    })
    .await;
}

async fn age(world: &World, steps: &str, days: i32) {
    for table in [
        format!(
            "dashboard.step set published_at = published_at - $1 * interval '1 day' where {steps}"
        ),
        "dashboard.answer set answered_at = answered_at - $1 * interval '1 day'".to_owned(),
        "dashboard.request set answered_at = answered_at - $1 * interval '1 day'".to_owned(),
        "dashboard.minute set minute = minute - $1 * interval '1 day'".to_owned(),
        "dashboard.delay set minute = minute - $1 * interval '1 day'".to_owned(),
    ] {
        let update = sqlx::query(sqlx::AssertSqlSafe(format!("update {table}"))).bind(days);
        update.execute(&world.database.pool).await.unwrap();
    }
}

#[actix_rt::test]
async fn what_is_older_than_is_kept_goes_and_is_not_counted_again() {
    let world = World::new().await;
    let orders: Vec<_> = (0..2500).map(|_| placed(Uuid::now_v7(), Utc::now())).collect();
    world.publish(&orders).await;
    world.steps(2500).await;
    sqlx::query("insert into dashboard.answer (order_id, status, micros) values ($1, 201, 1)")
        .bind(Uuid::nil())
        .execute(&world.database.pool)
        .await
        .unwrap();
    sqlx::query(
        "insert into dashboard.request (order_id, answered_at, status, micros, replayed)
         values ($1, now(), 201, 1, false)",
    )
    .bind(Uuid::nil())
    .execute(&world.database.pool)
    .await
    .unwrap();
    age(&world, "true", 9).await;
    let young = Uuid::now_v7();
    whole_story(&world, young).await;
    world.steps(2505).await;

    let world = world.restart(|_| ()).await;
    world.steps(5).await;
    for table in ["answer", "request", "delay", "minute"] {
        eventually(table, || async { (old_rows(&world, table).await == 0).then_some(()) }).await;
    }
    assert_eq!(world.get(&format!("/orders/{young}")).await.status, 200);
    let gone = world.get(&format!("/orders/{}", orders[0].order_id)).await;
    assert!(gone.status == 404 && gone.body.contains("7 days"), "{}", gone.body);

    world.broker.seek("analytics", "order", None, Position::Earliest).await.unwrap();
    caught_up(&world, "order", 2501).await;
    assert_eq!(world.count("select count(*) from dashboard.step").await, 5);
    assert_eq!(world.count("select sum(n)::bigint from dashboard.minute").await, 5);
    world.stop().await;
}

async fn old_rows(world: &World, table: &str) -> i64 {
    let column = if ["answer", "request"].contains(&table) { "answered_at" } else { "minute" };
    let count = format!(
        "select count(*) from dashboard.{table} where {column} < now() - interval '7 days'"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&world.database.pool).await.unwrap()
}

#[actix_rt::test]
async fn nothing_goes_while_a_handler_may_not_have_seen_the_mark() {
    let world = World::new().await;
    world.publish(&[placed(Uuid::now_v7(), Utc::now())]).await;
    world.steps(1).await;
    age(&world, "true", 8).await;
    let url = world.database.url_of(&dashboard::DESCRIPTOR);
    let mut handler = PgConnection::connect(&url).await.unwrap();
    let open = handler.begin().await.unwrap();
    let world = world.restart(|_| ()).await;
    eventually("the mark", || async {
        (world.count("select count(*) from dashboard.forgotten").await == 1).then_some(())
    })
    .await;
    // By now it has looked whether it may go on.
    let looked =
        "select count(*) from pg_stat_activity where query like '%pg_backend_pid()%xact_start <=%'";
    eventually("a look", || async { (world.count(looked).await > 1).then_some(()) }).await;
    assert_eq!(world.count("select count(*) from dashboard.step").await, 1);
    open.rollback().await.unwrap();
    world.steps(0).await;
    world.stop().await;
}

#[actix_rt::test]
async fn beyond_the_rows_that_are_kept_the_oldest_of_each_partition_go() {
    let world = World::new().await;
    let orders: Vec<_> = (0..800).map(|_| placed(Uuid::now_v7(), Utc::now())).collect();
    world.publish(&orders[..400]).await;
    world.steps(400).await;
    // Which looks for commits as it starts.
    let world = world.restart(|_| ()).await;
    eventually("commits", || async {
        let kept = "select coalesce(sum(upto), 0)::bigint from (
                        select max(upto) as upto from dashboard.group_commit where topic = 'order' group by partition) c";
        (world.count(kept).await == 400).then_some(())
    })
    .await;
    world.publish(&orders[400..]).await;
    world.steps(800).await;
    let world = world.restart(|settings| settings.dashboard_keep_rows = 100).await;
    eventually("what is beyond to be gone", || async {
        let left = world.count("select count(*) from dashboard.step").await;
        // Each partition's share is rounded up.
        (92..=100).contains(&left).then_some(())
    })
    .await;
    assert_eq!(
        world
            .count(
                "select count(*) from dashboard.step s join dashboard.forgotten f using (topic, partition)
                  where s.record_offset < f.below"
            )
            .await,
        0
    );
    eventually("their commits to be gone", || async {
        let left = "select count(*) from dashboard.group_commit c join dashboard.forgotten f using (topic, partition)
                     where c.upto <= f.below";
        (world.count(left).await == 0).then_some(())
    })
    .await;
    // They were counted, and stay so.
    assert_eq!(world.count("select sum(n)::bigint from dashboard.minute").await, 800);
    world.broker.seek("analytics", "order", None, Position::Earliest).await.unwrap();
    caught_up(&world, "order", 800).await;
    assert_eq!(world.count("select sum(n)::bigint from dashboard.minute").await, 800);
    world.stop().await;
}
