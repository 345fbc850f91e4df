//! What changes something: who may, and what it does.

use broker::NewRecord;
use chrono::Utc;
use test_support::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::orders::placed;
use crate::world::{TOKEN, World};

#[actix_rt::test]
async fn only_its_own_pages_in_the_right_hands_change_anything() {
    let world = World::new().await;
    let cookie = world.log_in().await;
    let token = world.form_token(&cookie, "/groups/analytics").await;
    assert!(!world.get("/groups/analytics").await.body.contains("<form method=\"post\""));
    let form = [("form_token", &*token), ("topic", "order")];
    let pause = "/groups/analytics/pause";
    let raw = |origin: Option<&str>| {
        let request = reqwest::Client::new().post(format!("{}{pause}", world.url));
        let request = request.header("cookie", &cookie).form(&form);
        origin.iter().fold(request, |request, origin| request.header("origin", *origin))
    };
    for (told, answer) in [
        ("/login?token=", world.post(pause, "", &form).await),
        ("/login?token=", world.post(pause, "waybill_dashboard=x", &form).await),
        ("form token", world.post(pause, &cookie, &[("topic", "order")]).await),
        (
            "form token",
            world.post(pause, &cookie, &[("form_token", "x"), ("topic", "order")]).await,
        ),
        ("Origin is", world.send(raw(None)).await),
        ("Origin is", world.send(raw(Some("null"))).await),
        ("Origin is", world.send(raw(Some("http://127.0.0.1:1"))).await),
    ] {
        assert_eq!(answer.status, 403, "{told}: {}", answer.body);
        assert!(answer.body.contains(told), "{told}: {}", answer.body);
    }
    for path in ["/login?token=another%20token%20that%20is%20long", "/login?token="] {
        let answer = world.get(path).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (403, ""));
    }
    assert_eq!(world.get("/login").await.status, 400);
    assert_eq!(world.get(pause).await.status, 405);
    assert_eq!(
        world.count("select count(*) from log.subscription where paused_at is not null").await,
        0
    );
    // Nor where there is no token at all.
    let shows = World::with(([127, 0, 0, 1], 1).into(), None).await;
    let answer = shows.post(pause, &cookie, &form).await;
    assert!(answer.status == 403 && answer.body.contains("DASHBOARD_TOKEN"), "{}", answer.body);
    let answer = shows.get(&format!("/login?token={}", TOKEN.replace(' ', "%20"))).await;
    assert_eq!(answer.status, 403);
    shows.stop().await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_group_is_paused_resumed_and_moved_after_a_dry_run() {
    let world = World::new().await;
    // Another role's group.
    world.publish(&[placed(Uuid::now_v7(), Utc::now())]).await;
    world.steps(1).await;
    sqlx::query("select log.subscribe('theirs', 'order', 'earliest')")
        .execute(&world.database.pool)
        .await
        .unwrap();
    let cookie = world.log_in().await;
    let token = world.form_token(&cookie, "/groups/theirs").await;
    let form = [("form_token", &*token), ("topic", "order")];
    for (verb, paused) in [("pause", 1), ("resume", 0)] {
        let answer = world.post(&format!("/groups/theirs/{verb}"), &cookie, &form).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/groups/theirs"),
            "{}",
            answer.body
        );
        let now =
            world.count("select count(*) from log.subscription where paused_at is not null").await;
        assert_eq!(now, paused, "{verb}");
    }
    let committed = async || {
        let places = world.broker.places(Some("theirs")).await.unwrap();
        places.iter().map(|place| place.committed).sum::<i64>()
    };
    let mut form =
        vec![("form_token", &*token), ("topic", "order"), ("partition", ""), ("to", "latest")];
    let plan = world.post("/groups/theirs/seek", &cookie, &form).await;
    assert_eq!((plan.status, plan.title()), (200, "Seek group theirs: dry run · Waybill"));
    assert!(plan.body.contains("leave out 1."), "{}", plan.body);
    assert_eq!(committed().await, 0, "nothing has moved");
    form.push(("confirm", "yes"));
    assert_eq!(world.post("/groups/theirs/seek", &cookie, &form).await.status, 303);
    assert_eq!(committed().await, 1);
    for (partition, to, told) in [
        ("9", "latest", "no partition 9"),
        ("x", "latest", "is no partition"),
        ("", "soon", "is no position"),
        ("0", "99", "offsets 0 to"),
    ] {
        let form =
            [("form_token", &*token), ("topic", "order"), ("partition", partition), ("to", to)];
        let answer = world.post("/groups/theirs/seek", &cookie, &form).await;
        assert_eq!(answer.status, 400, "{told}: {}", answer.body);
        assert!(answer.body.contains(told), "{told}: {}", answer.body);
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_dead_letter_is_shown_and_redriven_after_a_dry_run() {
    let world = World::new().await;
    let poison =
        NewRecord::new("order", "{").key("poison").header("ce_type", "waybill.OrderPlaced.v1");
    world.publish_raw(poison).await;
    let path = "/dead-letters/order/analytics";
    let page = eventually("the dead letter", || async {
        let page = world.get(path).await.body;
        page.contains("1 dead letters").then_some(page)
    })
    .await;
    for told in ["value is no waybill.OrderPlaced.v1", "<dt>Attempts</dt>", "poison", "order/"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(world.get(&format!("{path}?error=nothing")).await.body.contains("0 dead letters"));

    let cookie = world.log_in().await;
    let token = world.form_token(&cookie, path).await;
    let redrive = format!("{path}/redrive");
    let mut form = vec![("form_token", &*token), ("error", "value is no")];
    let plan = world.post(&redrive, &cookie, &form).await;
    assert!(
        plan.status == 200 && plan.body.contains("1 records of topic order would"),
        "{}",
        plan.body
    );
    form.push(("confirm", "yes"));
    let answer = world.post(&redrive, &cookie, &form).await;
    assert_eq!((answer.status, answer.header("location")), (303, path), "{}", answer.body);
    // Nobody can read it: it comes back, and says that it did.
    eventually("it to come back", || async {
        let page = world.get(path).await.body;
        (page.contains("2 dead letters") && page.contains("<dt>Redriven</dt>")).then_some(())
    })
    .await;
    world.stop().await;
}

/// An order service that answers every request so, once.
async fn answers(answer: &'static str) -> (std::net::SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            stream.write_all(answer.as_bytes()).await.unwrap();
            if request.starts_with("POST") {
                return request;
            }
        }
    });
    (addr, task)
}

const FORM: [(&str, &str); 5] = [
    ("key", "6f6f6f6f-0000-4000-8000-000000000001"),
    ("name", "Ada"),
    ("email", "ada@example.org"),
    ("sku", "TEA"),
    ("quantity", "2"),
];

#[actix_rt::test]
async fn an_order_from_the_page_leads_to_its_passport() {
    let (addr, asked) = answers(
        "HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 51\r\n\r\n{\"order_id\":\"01890000-0000-7000-8000-000000000001\"}",
    )
    .await;
    let world = World::with(addr, Some(TOKEN)).await;
    let cookie = world.log_in().await;
    let token = world.form_token(&cookie, "/groups/analytics").await;
    let form: Vec<_> = FORM.into_iter().chain([("form_token", &*token)]).collect();
    let answer = world.post("/orders", &cookie, &form).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let request = asked.await.unwrap();
    assert!(request.contains("idempotency-key: 6f6f6f6f-0000-4000-8000-000000000001"), "{request}");
    let page = world.get(answer.header("location")).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("201 Created") && page.body.contains(" ms"), "{}", page.body);

    // It does not run any more.
    let answer = world.post("/orders", &cookie, &form).await;
    assert!(answer.status == 503 && answer.body.contains("the order service"), "{}", answer.body);
    let wrong: Vec<_> = form
        .iter()
        .map(|(name, value)| (*name, if *name == "quantity" { "two" } else { *value }))
        .collect();
    let answer = world.post("/orders", &cookie, &wrong).await;
    assert!(answer.status == 422 && answer.body.contains("/quantity"), "{}", answer.body);
    world.stop().await;
}

#[actix_rt::test]
async fn what_the_order_service_says_against_an_order_is_told() {
    let (addr, _asked) = answers(
        "HTTP/1.1 422 Unprocessable Entity\r\nconnection: close\r\ncontent-length: 58\r\n\r\n{\"detail\":\"there is no such thing\",\"pointer\":\"/lines/0\"}  ",
    )
    .await;
    let world = World::with(addr, Some(TOKEN)).await;
    let cookie = world.log_in().await;
    let token = world.form_token(&cookie, "/groups/analytics").await;
    let form: Vec<_> = FORM.into_iter().chain([("form_token", &*token)]).collect();
    let answer = world.post("/orders", &cookie, &form).await;
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("/lines/0: there is no such thing"), "{}", answer.body);
    world.stop().await;
}
