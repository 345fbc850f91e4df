//! Breaking things: only beside a supervisor, and only in the right hands.

use std::net::SocketAddr;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::world::{SUPERVISORS_TOKEN, TOKEN, World};

/// What a supervisor tells: a process that runs, one that does not.
fn status() -> Value {
    json!({
        "services": [{
            "name": "delivery", "group": "analytics", "instances": 2, "max_instances": 5, "can_stop": true,
            "processes": [
                {"name": "delivery", "state": "running", "pid": 77, "deaths": 3, "last_end": "was <killed>", "can_signal": true},
                {"name": "delivery-2", "state": "paused", "pid": null, "deaths": 0, "last_end": null, "can_signal": false},
            ],
        }],
        "mail_server": {"takes_mail": false, "kept": 12, "queued": 34},
        "burst": {"orders": 1000, "placed": 567, "end": null},
        "count": {"since": "2026-01-31T12:00:00Z", "end": {"counted": {
            "counts": ["8 orders"],
            "findings": [{"promise": "every <order> is there", "wrong": {"first": ["order 9 is missing"], "more": 6}}],
            "dead_letters": {"first": ["dead letter 1"], "more": 0},
        }}},
    })
}

/// A supervisor that tells what it is asked, and stops nothing.
fn supervisor() -> (SocketAddr, mpsc::UnboundedReceiver<Value>) {
    let (asked, changes) = mpsc::unbounded_channel();
    let server = HttpServer::new(move || {
        let asked = asked.clone();
        let admits = |request: &HttpRequest| {
            let shown = request.headers().get("authorization").map(|value| value.to_str().unwrap());
            shown == Some(&*format!("Bearer {SUPERVISORS_TOKEN}"))
        };
        let show = move |request: HttpRequest| async move {
            if admits(&request) {
                HttpResponse::Ok().json(status())
            } else {
                HttpResponse::Unauthorized().finish()
            }
        };
        let change = move |request: HttpRequest, change: web::Json<Value>| {
            let asked = asked.clone();
            async move {
                assert!(admits(&request));
                if change["do"] == "burst" {
                    return HttpResponse::Conflict().json(json!({"detail": "one is under way"}));
                }
                asked.send(change.into_inner()).unwrap();
                HttpResponse::NoContent().finish()
            }
        };
        App::new().route("/status", web::get().to(show)).route("/changes", web::post().to(change))
    });
    let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let addr = server.addrs()[0];
    actix_rt::spawn(server.run());
    (addr, changes)
}

#[actix_rt::test]
async fn elsewhere_neither_the_page_nor_its_link_nor_its_route_exists() {
    let world = World::new().await;
    let cookie = world.log_in().await;
    let token = world.form_token(&cookie, "/groups/analytics").await;
    let page = world.send(world.request("/break").header("cookie", &cookie)).await;
    assert_eq!(page.status, 404, "{}", page.body);
    let form = [("form_token", &*token), ("action", "stop"), ("service", "delivery")];
    assert_eq!(world.post("/break", &cookie, &form).await.status, 404);
    for path in ["/", "/groups"] {
        let page = world.send(world.request(path).header("cookie", &cookie)).await;
        assert!(page.status == 200 && !page.body.contains("/break"), "{path}: {}", page.body);
    }
    world.stop().await;
}

#[actix_rt::test]
async fn the_page_tells_what_the_supervisor_tells() {
    let (addr, _changes) = supervisor();
    let world = World::in_the_demo(addr).await;
    let page = world.get("/break").await;
    assert_eq!((page.status, page.title()), (200, "Break it · Waybill"), "{}", page.body);
    for told in [
        "<td>running</td><td>77</td><td>3</td><td>was &#60;killed&#62;</td>",
        "<td>paused</td><td>—</td><td>0</td><td>—</td>",
        "<dt>Generation</dt>",
        "refuses mail",
        "<dd>34</dd>",
        "567 of 1000 orders",
        "8 orders",
        "Not true: every &#60;order&#62; is there",
        "order 9 is missing",
        "and 6 more",
        "dead letter 1",
    ] {
        assert!(page.body.contains(told), "{told}: {}", page.body);
    }
    assert!(!page.body.contains("Nothing is missing"), "{}", page.body);
    assert!(world.get("/").await.body.contains("<a href=\"/break\""));
    world.stop().await;
}

#[actix_rt::test]
async fn changes_are_passed_on_for_whoever_has_the_token() {
    let (addr, mut changes) = supervisor();
    let world = World::in_the_demo(addr).await;
    assert!(!world.get("/break").await.body.contains("<form"));
    let cookie = world.log_in().await;
    let token = world.form_token(&cookie, "/break").await;
    let press = async |cookie: &str, fields: &[(&str, &str)]| {
        let form: Vec<_> = fields.iter().copied().chain([("form_token", &*token)]).collect();
        world.post("/break", cookie, &form).await
    };
    let kill = [("action", "kill"), ("service", "delivery"), ("process", "delivery-2")];
    assert_eq!(press("", &kill).await.status, 403);
    assert!(changes.try_recv().is_err());
    let scale = [("action", "scale"), ("service", "delivery"), ("instances", " 3 ")];
    let stop = [("action", "stop"), ("service", "delivery")];
    for (fields, change, at) in [
        (&kill[..], json!({"do": "kill", "process": "delivery-2"}), "service-delivery"),
        (
            &scale[..],
            json!({"do": "scale", "service": "delivery", "instances": 3}),
            "service-delivery",
        ),
        (&stop[..], json!({"do": "stop", "service": "delivery"}), "service-delivery"),
        (&[("action", "mail-off")], json!({"do": "mail_server", "takes_mail": false}), "mail"),
        (&[("action", "poison")], json!({"do": "poison"}), "poison"),
        (&[("action", "count")], json!({"do": "count"}), "count"),
    ] {
        let answer = press(&cookie, fields).await;
        assert_eq!((answer.status, answer.header("location")), (303, &*format!("/break#{at}")));
        assert_eq!(changes.try_recv().unwrap(), change);
    }
    for (fields, status, told) in [
        (&[("action", "burst"), ("orders", "1000")][..], 409, "one is under way"),
        (&[("action", "explode")], 400, "no action"),
        (&[("action", "scale"), ("service", "delivery"), ("instances", "many")], 400, "many"),
    ] {
        let answer = press(&cookie, fields).await;
        assert!(answer.status == status && answer.body.contains(told), "{told}: {}", answer.body);
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_supervisor_that_does_not_answer_is_named() {
    let world = World::in_the_demo(([127, 0, 0, 1], 1).into()).await;
    let page = world.get("/break").await;
    assert!(page.status == 503 && page.body.contains("waybill up"), "{}", page.body);
    assert_eq!(world.get("/groups").await.status, 200);
    world.stop().await;
    let half = dashboard::control::Control::new(None, Some(TOKEN)).err().unwrap();
    assert!(half.to_string().contains("DEMO_CONTROL_URL"), "{half}");
}
