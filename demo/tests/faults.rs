//! Services and Postgres are killed with -9 at random moments while orders come in; then
//! every record is accounted for.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{PATIENCE, Place, kill, text};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

const ORDERS: usize = 200;
const CLIENTS: usize = 4;
const KILLS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_whoever_is_killed() {
    let seed =
        std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    let place = Arc::new(Place::new());
    let starter = place.clone();
    let mut up = tokio::task::spawn_blocking(move || {
        let mut up = starter.up(&["--scale", "delivery=2", "--scale", "email=2"]);
        up.wait_for("complete");
        up
    })
    .await
    .unwrap();

    let done = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = (0..CLIENTS)
        .map(|n| tokio::spawn(place_orders(place.order_url(), n, done.clone())))
        .collect();
    let killer = tokio::task::spawn_blocking({
        let (place, done) = (place.clone(), done.clone());
        move || {
            let killed = kill_at_random(&place, seed);
            done.store(true, Ordering::Relaxed);
            killed
        }
    });
    let killed = killer.await.unwrap();
    println!("killed: {killed:?}");
    assert!(killed.iter().any(|name| name == "postgres") && killed.len() >= KILLS);
    let mut accepted: Vec<Uuid> = Vec::new();
    for customer in customers {
        accepted.extend(customer.await.unwrap());
    }
    println!("{} orders were accepted", accepted.len());
    assert!(accepted.len() >= ORDERS);

    let verify = tokio::task::spawn_blocking({
        let place = place.clone();
        move || place.run("verify", &["--patience", "120"])
    });
    let verify = verify.await.unwrap();
    assert!(verify.status.success(), "SEED={seed}\n{}", text(&verify));
    // What was answered with 201 is what there is, and the first story's order.
    let database = place.database().await;
    let stored: Vec<Uuid> = sqlx::query_scalar("select order_id from orders.customer_order")
        .fetch_all(&database)
        .await
        .unwrap();
    assert!(accepted.iter().all(|order_id| stored.contains(order_id)), "SEED={seed}");
    assert_eq!(stored.len(), accepted.len() + 1, "SEED={seed}: a key made two orders");
    tokio::task::spawn_blocking(move || {
        up.signal("-INT");
        up.child.wait().unwrap();
    })
    .await
    .unwrap();
}

/// Places orders until the killing is over and there are enough; each is tried under its key
/// until it is answered with 201.
async fn place_orders(url: String, client: usize, done: Arc<AtomicBool>) -> Vec<Uuid> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
    let mut accepted = Vec::new();
    while accepted.len() < ORDERS / CLIENTS || !done.load(Ordering::Relaxed) {
        let order = json!({
            "customer": {"name": "Ada", "email": format!("ada.{client}.{}@example.org", accepted.len())},
            "ship_to": {"street": "1 High St", "postal_code": "SW1Y", "city": "London", "country": "GB"},
            "lines": [{"sku": "CUP-PORCELAIN", "quantity": 4}],
        });
        let key = Uuid::new_v4().to_string();
        let started = std::time::Instant::now();
        loop {
            let request =
                http.post(format!("{url}/orders")).header("idempotency-key", &key).json(&order);
            match request.send().await {
                Ok(answer) if answer.status() == 201 => {
                    if let Ok(body) = answer.json::<Value>().await {
                        accepted.push(body["order_id"].as_str().unwrap().parse().unwrap());
                        break;
                    }
                }
                // A server that is dead or coming up; anything but that is a fault.
                Ok(answer) => assert!(answer.status() == 503, "{}", answer.text().await.unwrap()),
                Err(_) => {}
            }
            assert!(started.elapsed() < PATIENCE, "an order was never accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    accepted
}

/// Kills so many processes, one at a time, each seen to be there before.
fn kill_at_random(place: &Place, seed: u64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut killed: Vec<String> = Vec::new();
    while killed.len() < KILLS || !killed.iter().any(|name| name == "postgres") {
        std::thread::sleep(Duration::from_millis(rng.random_range(100..900)));
        let mut processes = place.processes();
        // Its sessions are not killed one by one: the server ends all of them when one dies.
        processes.retain(|(pid, name)| name != "postgres" || is_postmaster(*pid));
        if processes.is_empty() {
            continue;
        }
        let (pid, name) = processes.swap_remove(rng.random_range(0..processes.len()));
        if kill("-9", pid) {
            killed.push(name);
        }
    }
    killed
}

fn is_postmaster(pid: u32) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command.starts_with(b"/") && String::from_utf8_lossy(&command).contains("-D")
}
