//! Each event and the mail that it makes.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use broker::NewRecord;
use common::{
    DEAD_LETTERS, SENT, TRACE, ada, cancelled, credit_note, customer, delivered, dispatched,
    invoice, order, received, world,
};
use mailbox::{Mail, Mailbox, Options};
use serde_json::json;
use test_support::eventually;
use uuid::Uuid;

fn assert_has(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
}

/// What every transactional mail has.
fn assert_well_formed(mail: &Mail) {
    let header = |name| mail.header(name).unwrap();
    assert_eq!(mail.envelope.from, "orders@waybill.example");
    assert_eq!((&*mail.from.name, &*mail.from.address), ("Waybill", "orders@waybill.example"));
    assert!(mail.message_id.ends_with("@mail.waybill.example"), "{}", mail.message_id);
    assert_eq!(header("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(header("MIME-Version").as_deref(), Some("1.0"));
    assert!(header("Date").is_some());
    assert_eq!(header("List-Unsubscribe"), None);
    let content = mail.content().unwrap();
    assert!(content.date.is_some());
    let html = content.html.unwrap();
    assert_has(&html, &["<html lang=\"en\">", "<title>"]);
    assert!(!html.contains("src=") && !html.contains("href="), "nothing is fetched: {html}");
    let message = mail.message().unwrap();
    for line in message.split(|byte| *byte == b'\n') {
        assert!(line.is_ascii() && line.len() <= 998, "{line:?}");
    }
}

#[actix_rt::test]
async fn every_event_makes_its_mail() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world(&mailbox.smtp_url()).await;
    let placed = order(ada());
    let id = placed.order_id;
    let pdf: Vec<u8> = b"%PDF-1.7\0\r\n.\r\n".iter().copied().cycle().take(20_000).collect();
    world.publish(std::slice::from_ref(&placed)).await;
    world.publish(&[dispatched(id, ada())]).await;
    world.publish(&[delivered(id, ada())]).await;
    world.publish(&[cancelled(id, ada())]).await;
    world.publish(&[invoice(id, ada(), &pdf)]).await;
    world.publish(&[credit_note(id, ada(), b"%PDF-other")]).await;
    // And all of it a second time, as a log may tell it.
    world.publish(&[placed]).await;
    world.publish(&[invoice(id, ada(), b"%PDF-again")]).await;

    let mails = received(&mailbox, 6).await;
    let find = |subject: String| {
        let mail = mails.iter().find(|mail| mail.subject == subject);
        let mail = mail.unwrap_or_else(|| panic!("{subject:?} is missing"));
        assert_well_formed(mail);
        assert_eq!((&*mail.to[0].name, &*mail.to[0].address), ("Ada Lovelace", "ada@example.org"));
        assert_eq!(mail.envelope.to, ["ada@example.org"]);
        (mail.text().unwrap().unwrap(), mail.html().unwrap().unwrap(), mail.attachments().unwrap())
    };
    let id = id.to_string();

    let (text, html, attached) = find(format!("We received your order {id}"));
    assert_has(
        &text,
        &[
            "Dear Ada Lovelace,",
            &id,
            "100 x Earl Grey & Co (TEA-EARL-GREY): EUR 1,240.00",
            "Tax 7 %: EUR 86.80",
            "To pay: EUR 1,326.80",
            "12 St James's Square",
            "SW1Y 4LB London",
        ],
    );
    assert_has(&html, &["Earl Grey &#38; Co", "EUR 1,326.80", &id]);
    assert!(attached.is_empty());

    let (text, html, _) = find(format!("Your order {id} is on its way"));
    for body in [text, html] {
        assert_has(&body, &["WB1234567890128", "14 March 2026, 17:05 UTC"]);
    }
    let (text, html, _) = find(format!("Your order {id} was delivered"));
    for body in [text, html] {
        assert_has(&body, &[&id, "14 March 2026, 16:05 UTC"]);
    }
    let (text, html, _) = find(format!("Your order {id} is cancelled"));
    for body in [text, html] {
        assert_has(&body, &[&id, "nothing is owed"]);
    }
    let (text, html, attached) = find(format!("Invoice RE-2026-000042 for your order {id}"));
    assert_has(&text, &["RE-2026-000042 of 2026-03-14", "To pay: EUR 1,326.80"]);
    assert_has(&html, &["RE-2026-000042", "EUR 1,326.80"]);
    assert_eq!(
        (&*attached[0].file_name, &*attached[0].content_type),
        ("RE-2026-000042.pdf", "application/pdf")
    );
    assert!(attached[0].bytes == pdf && attached.len() == 1, "the PDF came as it was");
    let (text, _, attached) = find(format!("Credit note GS-2026-000007 for your order {id}"));
    assert_has(&text, &["corrects invoice RE-2026-000042", "You get back: EUR 1,326.80"]);
    assert_eq!(attached[0].bytes, b"%PDF-other");

    // What was told: each kind once, with the trace of what caused it.
    let events = world.records("mail", 6).await;
    let kinds: BTreeSet<_> = events.iter().map(|(_, event)| event["kind"].to_string()).collect();
    assert_eq!(kinds.len(), 6);
    let trace_id = TRACE.get(3..35).unwrap();
    for (headers, event) in &events {
        assert_eq!(headers["ce_type"], "waybill.MailSent.v1");
        assert!(headers["traceparent"].as_str().unwrap().contains(trace_id));
        let message_id = event["message_id"].as_str().unwrap();
        assert!(mails.iter().any(|mail| format!("<{}>", mail.message_id) == message_id));
    }
    let kept = "select count(*) from email.mail where coalesce(text, html) is not null or attachment is not null";
    assert_eq!(world.count(kept).await, 0, "a sent mail's bodies go");

    let status = world.mail(id.parse().unwrap(), |mail| mail["kind"] == "invoice").await;
    assert_eq!(
        (&status["status"], &status["attempts"], &status["to"], &status["last_error"]),
        (&json!("sent"), &json!(1), &json!("ada@example.org"), &json!(null))
    );
    assert!(status["sent_at"].is_string());
    assert_eq!(world.get("/mails").await.status, 400);
    assert_eq!(world.get(&format!("/mails?order_id={}", Uuid::nil())).await.json(), json!([]));
    let api = world.get("/openapi.json").await.json();
    assert!(api["paths"]["/unsubscribe/{token}"]["post"].is_object());
    world.stop().await;
}

#[actix_rt::test]
async fn many_orders_are_many_mails_each_once() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world(&mailbox.smtp_url()).await;
    let orders: Vec<_> =
        (0..200).map(|i| order(customer("Ada", &format!("ada{i}@example.org")))).collect();
    world.publish(&orders).await;
    world.publish(&orders).await;
    world.counted(SENT, 200).await;
    world.records("mail", 200).await;
    let mails = mailbox.messages();
    let to: BTreeSet<_> = mails.iter().map(|mail| &mail.envelope.to[0]).collect();
    assert_eq!((mails.len(), to.len()), (200, 200));
    world.stop().await;
}

/// Two instances on one table, as `up --scale` has it.
#[actix_rt::test]
async fn several_instances_share_the_queue() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world(&mailbox.smtp_url()).await;
    let second =
        email::start(common::settings(&world.database, &mailbox.smtp_url())).await.unwrap();
    let orders: Vec<_> = (0..100).map(|_| order(ada())).collect();
    world.publish(&orders).await;
    world.counted(SENT, 100).await;
    world.records("mail", 100).await;
    assert_eq!(mailbox.messages().len(), 100);
    second.stop().await;
    world.stop().await;
}

#[actix_rt::test]
async fn hostile_names_stay_names() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world(&mailbox.smtp_url()).await;
    let long = "Ångström ".repeat(22);
    let names = [
        r#"Ada "the \ Countess" Lovelace"#,
        "Ægir Þórsson 🫖",
        "<script>alert(1)</script>",
        "x> <evil@example.net>, y",
        "=?utf-8?q?Bcc=3A?=",
        "{{ name }} %s ${x}",
        long.trim(),
    ];
    let orders: Vec<_> =
        names.iter().map(|name| order(customer(name, "ada@example.org"))).collect();
    world.publish(&orders).await;
    let mails = received(&mailbox, names.len()).await;
    for (order, name) in orders.iter().zip(names) {
        let id = order.order_id.to_string();
        let mail = mails.iter().find(|mail| mail.subject.contains(&id)).unwrap();
        assert_well_formed(mail);
        assert_eq!((mail.to.len(), mail.to[0].name.as_str()), (1, name));
        assert_eq!(mail.envelope.to, ["ada@example.org"]);
        assert!(mail.text().unwrap().unwrap().contains(&format!("Dear {name},")));
        let html = mail.html().unwrap().unwrap();
        assert!(!html.contains("<script") && !html.contains("<evil"), "{html}");
    }
    world.stop().await;
}

#[actix_rt::test]
async fn a_poisoned_record_costs_nothing_else() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world(&mailbox.smtp_url()).await;
    let record = |value: String| {
        NewRecord::new("order", value).partition(0).header("ce_type", "waybill.OrderPlaced.v1")
    };
    let mut forged = serde_json::to_value(order(ada())).unwrap();
    forged["customer"]["name"] = json!("Ada\r\nBcc: everybody@example.net");
    let good = || record(serde_json::to_string(&order(ada())).unwrap());
    world.publish_record(good()).await;
    world.publish_record(record("{".to_owned())).await;
    world.publish_record(record(forged.to_string())).await;
    world.publish_record(NewRecord::new("order", "no event").partition(0)).await;
    world.publish_record(good()).await;
    // A number that would break out of its subject.
    let mut bad = invoice(Uuid::now_v7(), ada(), b"%PDF");
    bad.number = "1\r\nBcc: everybody@example.net".to_owned();
    world.publish(&[bad, invoice(Uuid::now_v7(), ada(), b"%PDF")]).await;

    world.counted(DEAD_LETTERS, 4).await;
    world.counted(SENT, 3).await;
    let dead: Vec<(String, String)> = eventually("dead letters", || async {
        sqlx::query_as(
            "select topic, headers ->> 'dlq.error' from log.record where topic like '%.dlq' order by 1, 2",
        )
        .fetch_all(&world.database.pool)
        .await
        .ok()
    })
    .await;
    let topics: Vec<_> = dead.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(
        topics,
        ["invoice.email.dlq", "order.email.dlq", "order.email.dlq", "order.email.dlq"]
    );
    assert!(dead[0].1.contains("number must not contain control characters"), "{dead:?}");
    assert!(mailbox.messages().iter().all(|mail| mail.envelope.to == ["ada@example.org"]));
    world.stop_anyway().await;
}
