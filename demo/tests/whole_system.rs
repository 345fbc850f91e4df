//! The whole system as a user runs it: real processes, Postgres and SMTP.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;

use common::{Place, eventually, kill, text};

#[test]
fn an_order_goes_all_the_way_and_is_accounted_for() {
    let place = Place::new();
    let mut up = place.up(&["--once", "--scale", "delivery=3"]);
    let accepted = up.wait_for("accepted");
    let story = up.rest();
    assert!(up.child.wait().unwrap().success(), "{story:#?}");

    for event in [
        "OrderPlaced",
        "ShipmentScheduled",
        "ShipmentDispatched",
        "ShipmentDelivered",
        "InvoiceIssued",
        "complete",
    ] {
        assert_eq!(
            story.iter().filter(|line| line["event"] == event).count(),
            1,
            "{event}: {story:#?}"
        );
    }
    assert_eq!(story.iter().filter(|line| line["event"] == "MailSent").count(), 4);
    assert_eq!(story.iter().filter(|line| line["event"] == "MailArrived").count(), 4);
    let times: Vec<f64> = story.iter().map(|line| line["ms"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(place.processes(), [], "nothing is left behind");

    // Counted again when nothing runs; and a second run goes on with the same data.
    let verify = place.run("verify", &[]);
    assert!(verify.status.success(), "{}", text(&verify));
    assert!(text(&verify).contains("1 orders, 1 shipments, 1 invoices"), "{}", text(&verify));
    let mut again = place.up(&["--once"]);
    assert_ne!(again.wait_for("accepted")["order_id"], accepted["order_id"]);
    again.rest();
    assert!(again.child.wait().unwrap().success());
    let verify = place.run("verify", &[]);
    assert!(verify.status.success() && text(&verify).contains("2 orders"), "{}", text(&verify));

    let reset = place.run("reset", &[]);
    assert!(reset.status.success() && !place.data().exists(), "{}", text(&reset));
}

#[tokio::test]
async fn once_waits_for_all_that_is_counted() {
    let place = Place::new();
    let mut up = place.up(&["--once"]);
    let broker = broker::Broker::connect(&place.database_url()).await.unwrap();
    broker.pause("analytics", "shipment").await.unwrap();
    up.wait_for("complete");
    // It looks, and finds records that nobody else waits for.
    let database = place.database().await;
    let looks = "select count(*) from pg_stat_activity where query like '%has not ' || 'handled%'";
    while sqlx::query_scalar::<_, i64>(looks).fetch_one(&database).await.unwrap() == 0 {}
    assert!(up.child.try_wait().unwrap().is_none());
    broker.resume("analytics", "shipment").await.unwrap();
    broker.shutdown().await;
    database.close().await;
    up.rest();
    assert!(up.child.wait().unwrap().success());
    let verify = place.run("verify", &[]);
    assert!(verify.status.success(), "{}", text(&verify));
}

#[tokio::test]
async fn what_was_deleted_by_hand_is_named() {
    let place = Place::new();
    let mut up = place.up(&[]);
    let order_id = up.wait_for("accepted")["order_id"].as_str().unwrap().to_owned();
    up.wait_for("complete");
    let verify = place.run("verify", &[]);
    assert!(verify.status.success(), "{}", text(&verify));

    let database = place.database().await;
    // Every service's lines are in one place.
    loop {
        let services: Vec<String> = sqlx::query_scalar(
            "select distinct key from log.record where topic = 'log' order by 1",
        )
        .fetch_all(&database)
        .await
        .unwrap();
        if services == ["dashboard", "delivery", "email", "invoice", "order"] {
            break;
        }
    }
    for (delete, told) in [
        ("delete from delivery.shipment", "its shipment is missing"),
        ("delete from invoice.document", "nothing: it is missing"),
        ("delete from email.mail where kind = 'dispatched'", "has no mail of kind dispatched"),
        ("delete from orders.order_event where type = 'InvoiceIssued'", "the story has"),
        (
            "delete from log.record_batch where id = (select id from log.record_batch where topic = (select id from log.topic where name = 'order') limit 1)",
            "was published 0 times",
        ),
    ] {
        sqlx::query(delete).execute(&database).await.unwrap();
        let verify = place.run("verify", &["--patience", "0"]);
        let said = text(&verify);
        assert_eq!(verify.status.code(), Some(1), "{delete}: {said}");
        assert!(
            said.lines().any(|line| line.contains(told) && line.contains(&order_id)),
            "{delete}: {said}"
        );
    }
}

#[tokio::test]
async fn log_lines_that_were_just_written_are_not_missing() {
    let place = Place::new();
    let mut up = place.up(&[]);
    up.wait_for("complete");
    let verify = place.run("verify", &[]);
    assert!(verify.status.success(), "{}", text(&verify));

    // As if the count came between the line and its tick.
    let database = place.database().await;
    let mut tickless = database.begin().await.unwrap();
    sqlx::query("lock table log.tick in share mode").execute(&mut *tickless).await.unwrap();
    let line = "select log.publish('log', 'a line')";
    sqlx::query(line).execute(&database).await.unwrap();
    let verify = place.run("verify", &["--patience", "0"]);
    assert!(verify.status.success(), "{}", text(&verify));

    // Nobody writes an order to the last.
    let order = "select log.publish('order', 'an order')";
    sqlx::query(order).execute(&database).await.unwrap();
    let verify = place.run("verify", &["--patience", "0"]);
    assert_eq!(verify.status.code(), Some(1), "{}", text(&verify));
    assert!(text(&verify).contains("has offsets 0 times"), "{}", text(&verify));
}

#[test]
fn a_poisoned_record_and_a_killed_service_stop_nothing() {
    let place = Place::new();
    let mut up = place.up(&[]);
    up.wait_for("complete");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let broker = broker::Broker::connect(&place.database_url()).await.unwrap();
        let poison = broker::NewRecord::new("order", "{")
            .key("poison")
            .header("ce_type", "waybill.OrderPlaced.v1");
        broker.publish([poison, broker::NewRecord::new("order", "no event")]).await.unwrap();
        broker.shutdown().await;
    });
    let (pid, _) = place.processes().into_iter().find(|(_, name)| name == "invoice").unwrap();
    assert!(kill("-9", pid));
    eventually("the service's next life", || {
        place.processes().into_iter().find(|(next, name)| name == "invoice" && *next != pid)
    });
    let load = place.run("load", &["--orders", "50", "--connections", "5"]);
    let said = text(&load);
    assert!(load.status.success(), "{said}");
    // Five groups, two records each, none of which is anybody's fault but the record's.
    assert_eq!(said.matches("note: dead letter").count(), 10, "{said}");

    // A parent that dies without a word takes everything along.
    up.signal("-9");
    eventually("all processes to end", || place.processes().is_empty().then_some(()));
}

#[tokio::test]
async fn a_system_elsewhere_is_prepared_asked_and_verified_by_its_addresses() {
    let place = Place::new();
    let mut up = place.up(&[]);
    up.wait_for("complete");
    // Passwords apart from their URLs, as on containers.
    let secrets = place.data().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    let url = place.database_url();
    let (login, server) = url.split_once('@').unwrap();
    let (user, password) = login.rsplit_once(':').unwrap();
    let owner = format!("{user}@{server}");
    std::fs::write(secrets.join("owner"), password).unwrap();
    let waybill = |command: &str, args: &[&str]| {
        let mut waybill = place.waybill(command, args);
        waybill
            .env("WAYBILL_DATA", "/nowhere")
            .env("ROLE_PASSWORDS", &secrets)
            .env("DATABASE_URL", &owner)
            .env("DATABASE_PASSWORD_FILE", secrets.join("owner"))
            .env("ORDER_URL", place.order_url())
            .env("MAILBOX_URL", up.ready["mailbox"].as_str().unwrap());
        waybill.output().unwrap()
    };

    let health = place
        .waybill("service", &["order", "health"])
        .env("HTTP_ADDR", format!("0.0.0.0:{}", place.port_base + 1))
        .output()
        .unwrap();
    assert!(health.status.success(), "{}", text(&health));
    let load = waybill("load", &["--orders", "20", "--connections", "2"]);
    assert!(load.status.success(), "{}", text(&load));
    let verify = waybill("verify", &[]);
    assert!(verify.status.success() && text(&verify).contains("nothing is missing"));

    let migrate = waybill("migrate", &[]);
    assert!(!migrate.status.success());
    let missing = secrets.join("waybill_order").display().to_string();
    assert!(text(&migrate).contains(&missing), "{}", text(&migrate));
    for role in [
        "waybill_order",
        "waybill_delivery",
        "waybill_invoice",
        "waybill_email",
        "waybill_dashboard",
    ] {
        std::fs::create_dir(secrets.join(role)).unwrap();
        let password = format!("it's {role}'s %41\n");
        std::fs::write(secrets.join(role).join("password"), password).unwrap();
    }
    let migrate = waybill("migrate", &[]);
    assert!(migrate.status.success(), "{}", text(&migrate));
    let login = |role: &str, password: &str| {
        let options: sqlx::postgres::PgConnectOptions = owner.parse().unwrap();
        sqlx::PgPool::connect_with(options.username(role).password(password))
    };
    login("waybill_email", "it's waybill_email's %41").await.unwrap();
    login("waybill_email", "it's waybill_order's %41").await.unwrap_err();
}

#[test]
fn what_cannot_be_used_is_named() {
    let place = Place::new();
    let taken = TcpListener::bind(("127.0.0.1", place.port_base + 2)).unwrap();
    let base = place.port_base.to_string();
    let file = place.data().parent().unwrap().join("file");
    std::fs::write(&file, "").unwrap();
    for (args, told) in [
        (
            vec!["--port-base", &base],
            vec!["delivery", taken.local_addr().unwrap().to_string().leak() as &str, "--port-base"],
        ),
        (vec!["--port-base", "1"], vec!["--port-base"]),
        (vec!["--scale", "warehouse=2"], vec!["warehouse"]),
        (vec!["--scale", "delivery=0"], vec!["1 to 32"]),
        (vec!["--data", file.to_str().unwrap()], vec![file.to_str().unwrap(), "--data"]),
    ] {
        let up = place.run("up", &args);
        let said = text(&up);
        assert!(!up.status.success(), "{args:?}: {said}");
        assert!(told.iter().all(|told| said.contains(told)), "{args:?}: {said}");
    }
    drop(taken);
    for (url, told) in [
        ("postgres://nobody@127.0.0.1:1/nothing", "127.0.0.1:1"),
        ("nonsense", "DATABASE_URL"),
        ("postgres://a:secret@127.0.0.1:port/x", "DATABASE_URL"),
    ] {
        let up = place.run("up", &["--port-base", &base, "--database-url", url]);
        let said = text(&up);
        assert!(
            !up.status.success() && said.contains(told) && !said.contains("secret"),
            "{url}: {said}"
        );
    }
}
