//! Misbehaviour on demand, as a sender sees it.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod common;

use common::{Client, SOON, start};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::{AsyncTransport, Message, Tokio1Executor};
use mailbox::{Fault, Mailbox};
use std::time::{Duration, Instant};

fn transport(mailbox: &Mailbox) -> AsyncSmtpTransport<Tokio1Executor> {
    AsyncSmtpTransport::<Tokio1Executor>::from_url(&mailbox.smtp_url()).unwrap().build()
}

fn mail(to: &str) -> Message {
    Message::builder()
        .from("Shop <shop@shop.example>".parse().unwrap())
        .to(to.parse().unwrap())
        .message_id(Some("<one@shop.example>".into()))
        .subject("Hello")
        .body("Hello".to_owned())
        .unwrap()
}

#[tokio::test]
async fn temporary_and_lasting_refusals_are_told_apart() {
    let mailbox = start(|options| options.reject_domain = Some("bounce.invalid".into())).await;
    let transport = transport(&mailbox);
    let send = async |to| transport.send(mail(to)).await;

    mailbox.set_fault(Fault::TempFailAll.times(2));
    let events = mailbox.subscribe();
    let before = *events.borrow();
    assert!(send("a@b.example").await.unwrap_err().is_transient());
    assert!(send("a@b.example").await.unwrap_err().is_transient());
    send("a@b.example").await.unwrap();
    assert_eq!(mailbox.stats().faults, 2);
    assert!(*events.borrow() > before + 2);

    mailbox.set_fault(Fault::RejectRecipient("b@".into()));
    mailbox.add_fault(Fault::TempFailRecipient("c@".into()));
    assert!(send("b@b.example").await.unwrap_err().is_permanent());
    assert!(send("c@b.example").await.unwrap_err().is_transient());
    send("d@b.example").await.unwrap();
    assert!(mailbox.has_faults());
    mailbox.clear_faults();
    assert!(!mailbox.has_faults());
    send("b@b.example").await.unwrap();

    assert!(send("x@bounce.invalid").await.unwrap_err().is_permanent());
    assert!(send("x@sub.BOUNCE.invalid").await.unwrap_err().is_permanent());
    send("x@nobounce.invalid").await.unwrap();
    assert_eq!(mailbox.messages().len(), 4);
}

#[tokio::test]
async fn a_mail_whose_reply_is_lost_comes_twice_under_one_message_id() {
    let mailbox = start(|_| {}).await;
    let transport = transport(&mailbox);
    mailbox.set_fault(Fault::DropAfterData.times(1));
    let error = transport.send(mail("a@b.example")).await.unwrap_err();
    assert!(!error.is_permanent() && !error.is_transient(), "no reply at all: {error}");
    transport.send(mail("a@b.example")).await.unwrap();
    let mails = mailbox.wait_for(|mails| mails.len() == 2, SOON).await.unwrap();
    assert!(mails.iter().all(|mail| mail.message_id == "one@shop.example"));
}

#[tokio::test]
async fn connections_are_refused_new_and_open() {
    let mailbox = start(|_| {}).await;
    let mut open = Client::connect(&mailbox).await;
    mailbox.set_fault(Fault::RefuseConnections);
    let mut new = Client::connect_raw(&mailbox).await;
    assert!(new.rest().await.starts_with("421 4.3.2"));
    open.say("EHLO a", "421 4.3.2").await;
    assert_eq!(open.rest().await, "");
    mailbox.clear_faults();
    Client::connect(&mailbox).await;
}

#[tokio::test]
async fn replies_can_be_slow() {
    let mailbox = start(|_| {}).await;
    let mut client = Client::connect(&mailbox).await;
    let delay = Duration::from_millis(100);
    mailbox.set_fault(Fault::Slow(delay));
    let before = Instant::now();
    client.say("NOOP", "250").await;
    assert!(before.elapsed() >= delay);
}
