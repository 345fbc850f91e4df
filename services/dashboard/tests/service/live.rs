//! Pages hear of records as they land.

use chrono::Utc;
use futures::StreamExt;
use uuid::Uuid;

use crate::orders::placed;
use crate::world::World;

#[actix_rt::test]
async fn a_page_hears_of_a_record_and_of_the_groups() {
    let world = World::new().await;
    let answer = world.request("/live").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.bytes_stream();
    let mut heard = String::new();
    let mut until = async |what: &str| {
        // In all: pieces come as long as the stream is open.
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        while !heard.contains(what) {
            let piece = tokio::time::timeout_at(deadline, stream.next());
            let piece =
                piece.await.unwrap_or_else(|_| panic!("waited in vain for {what}: {heard}"));
            heard.push_str(std::str::from_utf8(&piece.unwrap().unwrap()).unwrap());
        }
        heard.clone()
    };
    until("event: hello").await;
    let order_id = Uuid::now_v7();
    // The reader may not have begun: what came before it is not news.
    for _ in 0..3 {
        world.publish(&[placed(order_id, Utc::now())]).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let heard = until(&order_id.to_string()).await;
    assert!(
        heard.contains("event: records") && heard.contains(r#""kind":"OrderPlaced""#),
        "{heard}"
    );
    let line = serde_json::json!({
        "service": "order", "process": 1, "at": Utc::now(), "level": "INFO", "target": "t",
        "message": "m",
    });
    world.publish(&[serde_json::from_value::<contracts::LogLine>(line).unwrap()]).await;
    until("event: lines\ndata: [\"order\"]").await;
    until("event: groups").await;
    until(r#""group":"analytics","topic":"order""#).await;

    // A stop ends the stream.
    world.stop().await;
    while stream.next().await.is_some_and(|piece| piece.is_ok()) {}
}

#[actix_rt::test]
async fn pages_beyond_the_limit_are_told_when_to_come_again() {
    let world = World::new().await;
    let mut open = Vec::new();
    for _ in 0..64 {
        let answer = world.request("/live").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        open.push(answer);
    }
    let refused = world.get("/live").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "5"), "{}", refused.body);
    drop(open);
    test_support::eventually("room", || async {
        (world.request("/live").send().await.unwrap().status() == 200).then_some(())
    })
    .await;
    world.stop().await;
}
