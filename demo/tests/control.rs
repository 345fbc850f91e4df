//! What the page "Break it" breaks recovers, nothing is lost by it, and nobody else may ask.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::{PATIENCE, Place, eventually};
use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use serde_json::{Value, json};

/// A variable of a process of this machine.
fn env_of(pid: u64, name: &str) -> Option<String> {
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environ = String::from_utf8_lossy(&environ).into_owned();
    let of_name = |pair: &str| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned());
    environ.split('\0').find_map(of_name)
}

/// The supervisor, as the dashboard asks it.
struct Supervisor {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Supervisor {
    fn of(ready: &Value) -> Supervisor {
        let pid = ready["pids"]["dashboard"].as_u64().unwrap();
        let env = |name| env_of(pid, name).unwrap();
        let (url, token) = (env("DEMO_CONTROL_URL"), env("DEMO_CONTROL_TOKEN"));
        Supervisor { http: reqwest::Client::new(), url, token }
    }

    async fn status(&self) -> Value {
        let request = self.http.get(format!("{}/status", self.url)).bearer_auth(&self.token);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The status of the answer, and what it says.
    async fn change(&self, change: Value) -> (u16, String) {
        let request = self.http.post(format!("{}/changes", self.url)).bearer_auth(&self.token);
        let answer = request.json(&change).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn done(&self, change: Value) {
        let answer = self.change(change.clone()).await;
        assert_eq!(answer, (204, String::new()), "{change}");
    }

    async fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if holds(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {status:#}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

/// The processes of a service, as the supervisor tells them.
fn processes<'a>(status: &'a Value, service: &str) -> &'a [Value] {
    let services = status["services"].as_array().unwrap();
    let service = services.iter().find(|of| of["name"] == service).unwrap();
    service["processes"].as_array().unwrap()
}

fn all_are(status: &Value, service: &str, state: &str) -> bool {
    processes(status, service).iter().all(|process| process["state"] == state)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_recovers_and_nothing_is_lost() {
    let place = Place::new();
    let mut up = place.up(&[]);
    up.wait_for("complete");
    let supervisor = Supervisor::of(&up.ready);

    supervisor.done(json!({"do": "stop", "service": "delivery"})).await;
    supervisor.until("delivery to stop", |now| all_are(now, "delivery", "stopped")).await;
    supervisor.done(json!({"do": "scale", "service": "delivery", "instances": 3})).await;
    supervisor.done(json!({"do": "mail_server", "takes_mail": false})).await;
    supervisor.done(json!({"do": "burst", "orders": 100})).await;
    let (status, told) = supervisor.change(json!({"do": "burst", "orders": 100})).await;
    assert!(status == 409 && told.contains("is under way"), "{told}");
    supervisor.done(json!({"do": "poison"})).await;
    supervisor.done(json!({"do": "pause", "process": "email"})).await;
    let now = supervisor.until("email to pause", |now| all_are(now, "email", "paused")).await;
    let stands = processes(&now, "email")[0]["pid"].as_u64().unwrap();
    eventually("it to stand still", || {
        let stat = std::fs::read_to_string(format!("/proc/{stands}/stat")).unwrap();
        stat.contains(") T ").then_some(())
    });
    let before = processes(&now, "invoice")[0]["pid"].clone();
    supervisor.done(json!({"do": "kill", "process": "invoice"})).await;
    let killed = |now: &Value| {
        let invoice = &processes(now, "invoice")[0];
        invoice["state"] == "running" && invoice["pid"] != before && invoice["deaths"] == 1
    };
    let now = supervisor.until("invoice's next life", killed).await;
    assert_eq!(processes(&now, "invoice")[0]["last_end"], "was killed");
    let placed = supervisor.until("the burst", |now| !now["burst"]["end"].is_null()).await;
    assert_eq!(placed["burst"]["placed"], 100, "{placed:#}");
    assert!(placed["burst"]["end"]["seconds"].is_number(), "{placed:#}");

    supervisor.done(json!({"do": "resume", "process": "email"})).await;
    supervisor
        .until("mails to wait", |now| now["mail_server"]["queued"].as_i64().unwrap() > 0)
        .await;
    supervisor.done(json!({"do": "start", "service": "delivery"})).await;
    let now = supervisor
        .until("three deliveries", |now| {
            processes(now, "delivery").len() == 3 && all_are(now, "delivery", "running")
        })
        .await;
    assert_eq!(now["mail_server"]["takes_mail"], false);
    supervisor.done(json!({"do": "mail_server", "takes_mail": true})).await;
    supervisor
        .until("all mails to be sent", |now| {
            now["mail_server"]["queued"] == 0 && now["mail_server"]["kept"].as_i64() >= Some(404)
        })
        .await;
    supervisor.done(json!({"do": "scale", "service": "delivery", "instances": 1})).await;
    supervisor.until("one delivery", |now| processes(now, "delivery").len() == 1).await;

    supervisor.done(json!({"do": "count"})).await;
    let (status, told) = supervisor.change(json!({"do": "count"})).await;
    assert!(status == 409 && told.contains("is under way"), "{told}");
    let counted = supervisor.until("the count", |now| !now["count"]["end"].is_null()).await;
    let report = &counted["count"]["end"]["counted"];
    assert_eq!(report["findings"], json!([]), "{counted:#}");
    assert_eq!(report["counts"][0], "101 orders");
    // One poisoned record, five groups.
    assert_eq!(report["dead_letters"]["first"].as_array().unwrap().len(), 5, "{report:#}");

    // What is missing is named.
    let database = place.database().await;
    sqlx::query("delete from invoice.document").execute(&database).await.unwrap();
    supervisor.done(json!({"do": "count"})).await;
    let missing = supervisor
        .until("the next count", |now| {
            now["count"]["end"]["counted"]["findings"].as_array().is_some_and(|all| !all.is_empty())
        })
        .await;
    let wrong = &missing["count"]["end"]["counted"]["findings"][0]["wrong"];
    assert_eq!(wrong["first"].as_array().unwrap().len(), 20, "{wrong:#}");
    assert_eq!(wrong["more"], 81, "{wrong:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_dashboard_may_ask_and_what_cannot_be_done_is_named() {
    let place = Place::new();
    let up = place.up(&[]);
    let mut supervisor = Supervisor::of(&up.ready);
    for (name, pid) in up.ready["pids"].as_object().unwrap() {
        let has = env_of(pid.as_u64().unwrap(), "DEMO_CONTROL_TOKEN").is_some();
        assert_eq!(has, name == "dashboard", "{name}");
    }
    for (change, status, told) in [
        (json!({"do": "stop", "service": "dashboard"}), 409, "from its own page"),
        (json!({"do": "kill", "process": "dashboard"}), 409, "from its own page"),
        (json!({"do": "pause", "process": "dashboard"}), 409, "from its own page"),
        (json!({"do": "stop", "service": "warehouse"}), 404, "there is no service"),
        (json!({"do": "kill", "process": "delivery-2"}), 404, "there is no process"),
        (json!({"do": "scale", "service": "order", "instances": 0}), 400, "1 to 5"),
        (json!({"do": "scale", "service": "order", "instances": 6}), 400, "1 to 5"),
        (json!({"do": "burst", "orders": 1001}), 400, "1 to 1000"),
        (json!({"do": "explode"}), 400, "explode"),
        (json!({"do": "kill", "process": "x".repeat(5000)}), 400, "no change"),
    ] {
        let (was, said) = supervisor.change(change.clone()).await;
        assert!(was == status && said.contains(told), "{change}: {was} {said}");
    }
    supervisor.done(json!({"do": "stop", "service": "invoice"})).await;
    supervisor.until("invoice to stop", |now| all_are(now, "invoice", "stopped")).await;
    let (status, told) = supervisor.change(json!({"do": "kill", "process": "invoice"})).await;
    assert!(status == 409 && told.contains("start it first"), "{told}");

    supervisor.token.push('x');
    let (status, told) = supervisor.change(json!({"do": "start", "service": "invoice"})).await;
    assert!(status == 401 && told.contains("waybill up"), "{told}");
    let bare = reqwest::get(format!("{}/status", supervisor.url)).await.unwrap();
    assert_eq!(bare.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_for_whoever_has_the_token() {
    let place = Place::new();
    let mut up = place.up(&[]);
    up.wait_for("complete");
    let dashboard = up.ready["urls"]["dashboard"].as_str().unwrap();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let http = http.build().unwrap();
    let page = format!("{dashboard}/break");
    let read_only = http.get(&page).send().await.unwrap().text().await.unwrap();
    assert!(read_only.contains("Processes of delivery") && !read_only.contains("<form"));

    let answer = http.get(up.ready["dashboard"].as_str().unwrap()).send().await.unwrap();
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap();
    let mine = http.get(&page).header(COOKIE, cookie).send().await.unwrap().text().await.unwrap();
    let token = mine.split_once("name=\"form_token\" value=\"").unwrap().1;
    let token = token.split_once('"').unwrap().0;
    let form =
        [("form_token", token), ("action", "kill"), ("service", "invoice"), ("process", "invoice")];
    let pid = || place.processes().into_iter().find(|(_, name)| name == "invoice");
    let (before, _) = pid().unwrap();
    let post = |cookie: &'static str, origin: &str| {
        let request = http.post(&page).form(&form).header(COOKIE, cookie).header(ORIGIN, origin);
        request.send()
    };
    let cookie = cookie.to_owned().leak();
    for (cookie, origin) in [("", dashboard), (&*cookie, "http://evil.example")] {
        assert_eq!(post(cookie, origin).await.unwrap().status(), 403);
    }
    assert_eq!(pid().unwrap().0, before);
    let answer = post(cookie, dashboard).await.unwrap();
    assert_eq!(answer.status(), 303);
    assert_eq!(answer.headers()[LOCATION], "/break#service-invoice");
    eventually("invoice's next life", || pid().filter(|(pid, _)| *pid != before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_process_is_not_left_behind() {
    for signal in ["-INT", "-9"] {
        let place = Place::new();
        let mut up = place.up(&["--scale", "delivery=2"]);
        let supervisor = Supervisor::of(&up.ready);
        supervisor.done(json!({"do": "pause", "process": "delivery-2"})).await;
        supervisor.done(json!({"do": "pause", "process": "email"})).await;
        supervisor.until("email to pause", |now| all_are(now, "email", "paused")).await;
        up.signal(signal);
        eventually("all processes to end", || place.processes().is_empty().then_some(()));
        up.child.wait().unwrap();
    }
}
