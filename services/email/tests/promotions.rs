//! Promotional mail: who gets it, when, and how they get rid of it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{QUEUED, SENT, World, ada, customer, order, received, world, world_with};
use contracts::{Customer, OrderPlaced, PromotionAnnounced};
use mailbox::{Fault, Mail, Mailbox, Options};
use serde_json::{Value, json};
use test_support::eventually;
use uuid::Uuid;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const RECIPIENTS: &str = "select count(*) from email.recipient";

fn wish(customer: Customer) -> OrderPlaced {
    OrderPlaced { promotions: true, ..order(customer) }
}

async fn announce(world: &World, subject: &str) -> Uuid {
    let body = json!({"subject": subject, "paragraphs": ["Half price & more.", "Until <Sunday>."]});
    let answer = world.post("/promotions", JSON, &body.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["promotion_id"].as_str().unwrap().parse().unwrap()
}

/// The path of the mail's one-click link.
fn link(mail: &Mail) -> String {
    let header = mail.header("List-Unsubscribe").unwrap().unwrap();
    let url = header.strip_prefix("<https://news.waybill.example").unwrap();
    url.strip_suffix('>').unwrap().to_owned()
}

#[actix_rt::test]
async fn a_promotion_reaches_those_who_asked_and_until_they_had_enough() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world(&mailbox.smtp_url()).await;
    let first = wish(ada());
    // One of them in other letters, in the same batch, and one who did not ask.
    world
        .publish(&[
            first.clone(),
            wish(customer("Ada <3", "ADA@example.org")),
            wish(customer("Bob", "bob@example.org")),
            order(customer("Cy", "cy@example.org")),
        ])
        .await;
    world.counted(RECIPIENTS, 2).await;
    world.counted(SENT, 4).await;
    mailbox.clear();

    let promotion_id = announce(&world, "Spring <tea> & more").await;
    let mails = received(&mailbox, 2).await;
    for mail in &mails {
        assert_eq!(mail.subject, "Spring <tea> & more");
        let header = |name| mail.header(name).unwrap();
        assert_eq!(header("List-Unsubscribe-Post").as_deref(), Some("List-Unsubscribe=One-Click"));
        assert_eq!(header("Precedence").as_deref(), Some("bulk"));
        assert_eq!(header("Auto-Submitted"), None);
        let url = format!("https://news.waybill.example{}", link(mail));
        let (text, html) = (mail.text().unwrap().unwrap(), mail.html().unwrap().unwrap());
        assert!(text.contains(&url) && text.contains("Half price & more."), "{text}");
        assert!(html.contains(&format!("<a href=\"{url}\">Unsubscribe</a>")), "{html}");
        assert!(html.contains("Until &#60;Sunday&#62;."), "{html}");
        assert!(link(mail).len() >= "/unsubscribe/".len() + 32);
    }
    assert_ne!(link(&mails[0]), link(&mails[1]));
    let events = world.records("mail", 4 + 2).await;
    let of_promotion = events.iter().filter(|(_, e)| e["subject_id"] == json!(promotion_id));
    assert_eq!(of_promotion.count(), 2);

    // Looking at the link changes nothing; a POST does, as often as one likes.
    let ada = mails.iter().find(|mail| mail.envelope.to[0].starts_with("ADA")).unwrap();
    let path = link(ada);
    let page = world.get(&path).await;
    assert_eq!(page.status, 200);
    assert!(
        page.content_type.starts_with("text/html") && page.text.contains("<form method=\"post\">")
    );
    assert_eq!(world.count("select count(unsubscribed_at) from email.recipient").await, 0);
    for _ in 0..2 {
        let done = world.post(&path, FORM, "List-Unsubscribe=One-Click").await;
        assert_eq!(done.status, 200);
        assert!(done.text.contains("unsubscribed"));
    }
    for unknown in ["/unsubscribe/0", "/unsubscribe/%00", "/unsubscribe/'--"] {
        let answer = world.post(unknown, FORM, "List-Unsubscribe=One-Click").await;
        assert_eq!((answer.status, &*answer.content_type), (404, "application/problem+json"));
        assert_eq!(world.get(unknown).await.status, 404);
    }

    mailbox.clear();
    announce(&world, "Summer").await;
    let mails = received(&mailbox, 1).await;
    world.counted(QUEUED, 0).await;
    assert_eq!((mails.len(), &*mails[0].envelope.to[0]), (1, "bob@example.org"));

    // The old order once more brings nobody back; a new wish does.
    mailbox.clear();
    world.publish(&[first, wish(customer("Dee", "dee@example.org"))]).await;
    world.counted(RECIPIENTS, 3).await;
    assert_eq!(world.count("select count(unsubscribed_at) from email.recipient").await, 1);
    world.publish(&[wish(common::ada())]).await;
    world.counted("select count(unsubscribed_at) from email.recipient", 0).await;
    world.stop().await;
}

#[actix_rt::test]
async fn who_unsubscribes_gets_nothing_that_is_still_queued() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world(&mailbox.smtp_url()).await;
    world.publish(&[wish(ada())]).await;
    world.counted(SENT, 1).await;
    mailbox.set_fault(Fault::RefuseConnections);
    // One to be in hand when the server fails, the rest untried.
    for subject in ["one", "two", "three", "four", "five", "six"] {
        announce(&world, subject).await;
    }
    world.counted("select count(*) from email.mail where kind = 'promotion'", 6).await;
    let untried = "select count(*) from email.mail where kind = 'promotion' and attempts = 0";
    eventually("a try", || async { (world.count(untried).await < 6).then_some(()) }).await;
    let token: String = sqlx::query_scalar("select token from email.recipient")
        .fetch_one(&world.database.pool)
        .await
        .unwrap();
    assert_eq!(world.post(&format!("/unsubscribe/{token}"), FORM, "").await.status, 200);
    world.counted(untried, 0).await;
    world.stop().await;
}

#[actix_rt::test]
async fn important_mail_overtakes_promotional() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world_with(&mailbox.smtp_url(), |settings| {
        settings.mail_connections = std::num::NonZeroU16::new(1).unwrap();
    })
    .await;
    let customers: Vec<_> =
        (0..50).map(|i| wish(customer("Ada", &format!("ada{i}@example.org")))).collect();
    world.publish(&customers).await;
    world.counted(SENT, 50).await;
    mailbox.clear();
    mailbox.set_fault(Fault::RefuseConnections);
    announce(&world, "Offers").await;
    world.counted("select count(*) from email.mail where kind = 'promotion'", 50).await;
    let important: Vec<_> = (0..10).map(|_| order(ada())).collect();
    world.publish(&important).await;
    world.counted(QUEUED, 60).await;
    mailbox.clear_faults();

    let mails = received(&mailbox, 60).await;
    let place = |mail: &Mail| mails.iter().position(|one| one.id == mail.id).unwrap();
    let important = mails.iter().filter(|mail| mail.subject.starts_with("We received"));
    let last = important.map(|mail| place(mail)).max().unwrap();
    // The one or two that were in hand when the server failed come when their time comes.
    assert!(last <= 12, "the last important mail came as number {last}");
    world.stop().await;
}

#[actix_rt::test]
async fn within_a_priority_first_in_is_first_out() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world_with(&mailbox.smtp_url(), |settings| {
        settings.mail_connections = std::num::NonZeroU16::new(1).unwrap();
    })
    .await;
    // One key, so one partition, so one order.
    let id = Uuid::now_v7();
    let orders: Vec<_> = (0..40)
        .map(|i| OrderPlaced {
            order_id: id,
            ..order(customer("Ada", &format!("a{i:02}@example.org")))
        })
        .collect();
    world.publish(&orders).await;
    world.counted(SENT, 40).await;
    let to: Vec<_> = mailbox.messages().iter().map(|mail| mail.envelope.to[0].clone()).collect();
    assert!(to.is_sorted(), "{to:?}");
    world.stop().await;
}

#[actix_rt::test]
async fn a_promotion_is_announced_to_everybody_who_listens() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world(&mailbox.smtp_url()).await;
    let id = announce(&world, "Spring").await;
    let records = world.records("promotion", 1).await;
    let event: PromotionAnnounced = serde_json::from_value(records[0].1.clone()).unwrap();
    assert_eq!((event.promotion_id, event.subject.as_str()), (id, "Spring"));
    world.counted("select count(*) from email.promotion", 1).await;
    assert!(mailbox.messages().is_empty(), "nobody asked for it");
    world.stop().await;
}

#[actix_rt::test]
async fn a_promotion_that_is_wrong_names_what_is_wrong() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    let world = world(&mailbox.smtp_url()).await;
    let many = vec!["x"; 21];
    let long = "x".repeat(201);
    for (body, status, told) in [
        ("{".to_owned(), 400, "not valid"),
        ("[]".to_owned(), 422, "not valid"),
        (json!({"subject": "x"}).to_string(), 422, "paragraphs"),
        (json!({"subject": "x", "paragraphs": ["y"], "to": "all"}).to_string(), 422, "to"),
        (json!({"subject": " ", "paragraphs": ["y"]}).to_string(), 422, "/subject"),
        (json!({"subject": "x\r\nBcc: a@b", "paragraphs": ["y"]}).to_string(), 422, "/subject"),
        (json!({"subject": "x", "paragraphs": []}).to_string(), 422, "/paragraphs"),
        (json!({"subject": "x", "paragraphs": many}).to_string(), 422, "1 to 20"),
        (json!({"subject": "x", "paragraphs": ["y", long]}).to_string(), 422, "/paragraphs/1"),
        (json!({"subject": "x".repeat(70_000), "paragraphs": ["y"]}).to_string(), 413, "bytes"),
    ] {
        let answer = world.post("/promotions", JSON, &body).await;
        assert_eq!((answer.status, &*answer.content_type), (status, "application/problem+json"));
        assert!(answer.text.contains(told), "{told}: {}", answer.text);
    }
    assert_eq!(world.post("/promotions", "text/plain", "{}").await.status, 415);
    let allow = world.get("/promotions").await;
    assert_eq!((allow.status, &*allow.content_type), (405, "application/problem+json"));
    assert_eq!(world.count("select count(*) from log.record").await, 0);
    assert_eq!(Value::Null, world.get("/nothing").await.json()["pointer"]);
    world.stop().await;
}
