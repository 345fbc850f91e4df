//! What happens to mail when the server does not take it.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::num::NonZeroU16;
use std::time::Duration;

use common::{QUEUED, SENT, ada, customer, order, received, world, world_with};
use contracts::OrderPlaced;
use mailbox::{Fault, Mailbox, Options};
use serde_json::json;
use test_support::{Database, eventually};

async fn message_ids(database: &Database) -> BTreeSet<String> {
    let ids: Vec<String> = sqlx::query_scalar("select btrim(message_id, '<>') from email.mail")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    ids.into_iter().collect()
}

fn orders(count: usize) -> Vec<OrderPlaced> {
    (0..count).map(|_| order(ada())).collect()
}

#[actix_rt::test]
async fn a_server_that_is_not_there_delays_mail_and_loses_none() {
    // A port that was free a moment ago: nobody listens.
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = world(&format!("smtp://{addr}")).await;
    let orders = orders(30);
    world.publish(&orders).await;
    let tried = world.mail(orders[0].order_id, |mail| !mail["last_error"].is_null());
    let first = tokio::select! {
        first = tried => first,
        // Whichever mail was first in the queue.
        () = world.counted("select least(count(*), 1) from email.mail where last_error is not null", 1) => json!({"status": "queued"}),
    };
    assert_eq!(first["status"], "queued");
    world.counted(QUEUED, 30).await;
    let before = message_ids(&world.database).await;
    let tried = "select count(*) from email.mail where attempts > 0";
    assert!(world.count(tried).await <= 3, "an outage does not burn through the queue");

    let mailbox = Mailbox::start(Options { smtp: addr, ..Options::default() }).await.unwrap();
    world.counted(SENT, 30).await;
    let mails = mailbox.messages();
    let after: BTreeSet<_> = mails.iter().map(|mail| mail.message_id.clone()).collect();
    assert_eq!((mails.len(), after), (30, before), "each once, under its Message-ID");
    world.records("mail", 30).await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_server_that_turns_all_away_delays_mail_and_loses_none() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    mailbox.set_fault(Fault::RefuseConnections);
    let world = world(&mailbox.smtp_url()).await;
    world.publish(&orders(30)).await;
    let mut changed = mailbox.subscribe();
    changed.wait_for(|_| mailbox.stats().faults >= 4).await.unwrap();
    world.counted(QUEUED, 30).await;
    mailbox.clear_faults();
    world.counted(SENT, 30).await;
    assert_eq!(mailbox.messages().len(), 30);
    world.records("mail", 30).await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_mail_that_is_not_taken_now_is_taken_later() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    mailbox.set_fault(Fault::TempFailAll.times(2));
    mailbox.add_fault(Fault::TempFailRecipient("busy".to_owned()).times(1));
    let world = world(&mailbox.smtp_url()).await;
    let busy = order(customer("Busy", "busy@example.org"));
    world.publish(std::slice::from_ref(&busy)).await;
    world.publish(&orders(20)).await;
    world.counted(SENT, 21).await;
    assert_eq!(mailbox.messages().len(), 21);
    let mail = world.mail(busy.order_id, |_| true).await;
    assert!(mail["attempts"].as_i64().unwrap() >= 2, "{mail}");
    let attempts = "select sum(attempts)::bigint from email.mail";
    assert_eq!(world.count(attempts).await, 21 + 3);
    world.stop().await;
}

#[actix_rt::test]
async fn an_address_that_is_refused_for_good_bounces_alone() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    mailbox.set_fault(Fault::RejectRecipient("gone".to_owned()));
    let world = world(&mailbox.smtp_url()).await;
    let gone = order(customer("Gone", "gone@example.org"));
    // No server is asked about an address that has no such form.
    let odd = order(customer("Odd", "a..b@example.org"));
    let mut all = vec![gone.clone(), odd.clone()];
    all.extend(orders(10));
    world.publish(&all).await;
    world.counted(SENT, 10).await;
    let events = world.records("mail", 12).await;
    let bounced: Vec<_> = events
        .iter()
        .filter(|(headers, _)| headers["ce_type"] == "waybill.MailBounced.v1")
        .collect();
    assert_eq!(bounced.len(), 2, "{events:?}");
    let of = |order: &OrderPlaced| {
        let id = json!(order.order_id);
        &bounced.iter().find(|(_, event)| event["subject_id"] == id).unwrap().1
    };
    assert_eq!(of(&gone)["to"], "gone@example.org");
    assert!(of(&gone)["reason"].as_str().unwrap().starts_with("550 5.1.1"), "{}", of(&gone));
    assert!(of(&odd)["reason"].as_str().unwrap().contains("address"), "{}", of(&odd));
    let mail = world.mail(gone.order_id, |mail| mail["status"] == "bounced").await;
    assert_eq!((&mail["attempts"], &mail["last_error"]), (&json!(1), &of(&gone)["reason"]));
    assert_eq!(mailbox.messages().len(), 10);
    world.stop().await;
}

#[actix_rt::test]
async fn an_answer_that_was_lost_means_the_same_mail_again() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    mailbox.set_fault(Fault::DropAfterData.times(1));
    let world = world(&mailbox.smtp_url()).await;
    world.publish(&orders(1)).await;
    world.counted(SENT, 1).await;
    let mails = received(&mailbox, 2).await;
    assert_eq!((mails.len(), &mails[0].message_id), (2, &mails[1].message_id));
    assert_eq!(mails[0].header("Date").unwrap(), mails[1].header("Date").unwrap());
    // Twice as mail, once as an event.
    world.records("mail", 1).await;
    world.stop().await;
}

/// A sender that died with a mail in hand: the lease ends, the mail goes out.
#[actix_rt::test]
async fn a_lease_that_ends_gives_its_mail_back() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    mailbox.set_fault(Fault::TempFailAll);
    let world = world(&mailbox.smtp_url()).await;
    let order = order(ada());
    world.publish(std::slice::from_ref(&order)).await;
    world.mail(order.order_id, |mail| !mail["last_error"].is_null()).await;
    let set = |until: &'static str| sqlx::query(until).execute(&world.database.pool);
    set("update email.mail set attempts = attempts + 1, next_attempt_at = now() + interval '1 hour'")
        .await
        .unwrap();
    mailbox.clear_faults();
    // Another's mail is not waited for, and this one not touched.
    world.publish(&orders(1)).await;
    world.counted(SENT, 1).await;
    assert_eq!(world.mail(order.order_id, |_| true).await["status"], "queued");
    set("update email.mail set next_attempt_at = now() where status = 'queued'").await.unwrap();
    world.counted(SENT, 2).await;
    world.stop().await;
}

#[actix_rt::test]
async fn a_mail_under_way_is_finished_before_the_service_stops() {
    let mailbox = Mailbox::start(Options::default()).await.unwrap();
    mailbox.set_fault(Fault::Slow(Duration::from_millis(300)));
    let world = world_with(&mailbox.smtp_url(), |settings| {
        settings.mail_connections = NonZeroU16::new(1).unwrap();
    })
    .await;
    world.publish(&orders(20)).await;
    eventually("one under way", || async {
        (world.count("select count(*) from email.mail where attempts > 0").await > 0).then_some(())
    })
    .await;
    let pool = world.database.pool.clone();
    world.stop().await;
    let (sent, in_hand): (i64, i64) = sqlx::query_as(
        "select count(*) filter (where status = 'sent'), count(*) filter (where status = 'queued' and attempts > 0)
           from email.mail",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((mailbox.messages().len() as i64, in_hand), (sent, 0));
    assert!(sent < 20, "it stopped in the middle");
}
