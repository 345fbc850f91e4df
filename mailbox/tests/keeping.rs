//! What is kept, where, how much of it, and what a stop does.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod common;

use common::{Client, SOON, start};
use mailbox::{Error, Mailbox, Options};
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

async fn send(mailbox: &Mailbox, subject: &str) {
    let mut client = Client::connect_for_data(mailbox).await;
    client.send(format!("Subject: {subject}\r\n\r\nHello\r\n.\r\n")).await;
    client.expect("250").await;
}

fn subjects(mailbox: &Mailbox) -> Vec<String> {
    mailbox.messages().iter().map(|mail| mail.subject.clone()).collect()
}

#[tokio::test]
async fn a_folder_outlives_its_mailbox() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/if/missing");
    let mailbox = start(|options| options.folder = Some(path.clone())).await;
    for subject in ["one", "two", "three"] {
        send(&mailbox, subject).await;
    }
    let before = mailbox.messages();
    let second = Mailbox::start(Options { folder: Some(path.clone()), ..Options::default() }).await;
    assert!(matches!(second, Err(Error::FolderInUse { .. })));
    mailbox.stop().await;

    // What a crash in the middle of a mail leaves behind, and what is not ours.
    let half = path.join("20261124T090000000042Z.tmp");
    fs::write(&half, "Return-Path: <a@a.exam").unwrap();
    fs::write(path.join("notes.eml"), "Subject: not a mail of ours\r\n\r\n").unwrap();

    let mailbox = start(|options| options.folder = Some(path.clone())).await;
    let after = mailbox.messages();
    assert_eq!(subjects(&mailbox), ["one", "two", "three"]);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.id, after.id);
        assert_eq!(before.received_at, after.received_at);
        assert_eq!(before.envelope, after.envelope);
        assert_eq!(before.message().unwrap(), after.message().unwrap());
    }
    assert!(!half.exists());
    assert!(path.join("notes.eml").exists());

    // A mail that comes now comes after those, and deleting deletes files.
    send(&mailbox, "four").await;
    assert_eq!(subjects(&mailbox).last().unwrap(), "four");
    mailbox.clear();
    assert_eq!(subjects(&mailbox).len(), 0);
    let mails = fs::read_dir(&path)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("20"));
    assert_eq!(mails.count(), 0);
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    for path in [None, Some(folder.path().to_owned())] {
        let options = |options: &mut Options| {
            options.folder = path.clone();
            options.limits.kept_mails = 3;
        };
        let mailbox = start(options).await;
        for number in 0..5 {
            send(&mailbox, &number.to_string()).await;
        }
        assert_eq!(subjects(&mailbox), ["2", "3", "4"]);
        let stats = mailbox.stats();
        assert_eq!((stats.kept, stats.accepted, stats.dropped), (3, 5, 2));
        mailbox.stop().await;
        if path.is_some() {
            let mailbox = start(options).await;
            assert_eq!((subjects(&mailbox).len(), mailbox.stats().dropped), (3, 2));
        }
    }

    let mailbox = start(|options| options.limits.kept_bytes = 1).await;
    send(&mailbox, "old").await;
    send(&mailbox, "new").await;
    assert_eq!(subjects(&mailbox), ["new"], "the newest always stays");
}

#[tokio::test]
async fn mails_of_many_connections_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = start(|options| options.folder = Some(folder.path().to_owned())).await;
    let mailbox = Arc::new(mailbox);
    let mut senders = JoinSet::new();
    for number in 0..50 {
        let mailbox = Arc::clone(&mailbox);
        senders.spawn(async move { send(&mailbox, &number.to_string()).await });
    }
    senders.join_all().await;
    let mails = mailbox.wait_for(|mails| mails.len() == 50, SOON).await.unwrap();
    assert!(mails.is_sorted_by(|a, b| a.received_at < b.received_at && a.id < b.id));
}

#[tokio::test]
async fn what_cannot_work_is_named() {
    let mailbox = start(|_| {}).await;
    let taken = Options { smtp: mailbox.smtp_addr(), ..Options::default() };
    let error = Mailbox::start(taken).await.err().unwrap().to_string();
    assert!(error.contains(&mailbox.smtp_addr().to_string()), "{error}");

    let file = tempfile::NamedTempFile::new().unwrap();
    let folder = file.path().join("below-a-file");
    let unwritable = Options { folder: Some(folder.clone()), ..Options::default() };
    let error = Mailbox::start(unwritable).await.err().unwrap().to_string();
    assert!(error.contains(folder.to_str().unwrap()), "{error}");

    let named = Options { name: "a\r\nb".into(), ..Options::default() };
    assert!(matches!(Mailbox::start(named).await, Err(Error::Name { .. })));
}

#[tokio::test]
async fn a_wait_ends_with_its_time() {
    let mailbox = start(|_| {}).await;
    let late = mailbox.wait_for(|_| false, Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(late.to_string(), "not seen within 10ms; 0 mails are kept");
}

#[tokio::test]
async fn a_stop_frees_ports_and_folder_and_says_goodbye() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = start(|options| {
        options.http = Some(([127, 0, 0, 1], 0).into());
        options.folder = Some(folder.path().to_owned());
    })
    .await;
    let (smtp, http) = (mailbox.smtp_addr(), mailbox.http_addr());
    let mut client = Client::connect(&mailbox).await;
    mailbox.stop().await;
    assert!(client.rest().await.starts_with("421 4.3.2"));
    let folder = Some(folder.path().to_owned());
    let again = Options { smtp, http, folder, ..Options::default() };
    let again = Mailbox::start(again).await.unwrap();
    // And a drop stops it as well, if not at once.
    let mut client = Client::connect(&again).await;
    drop(again);
    assert!(client.rest().await.starts_with("421 4.3.2"));
}

#[test]
fn it_serves_an_actix_system_and_a_caller_that_blocks() {
    actix_web::rt::System::new().block_on(async {
        let mailbox = start(|_| {}).await;
        // The caller's one thread is blocked in here until the mail is kept.
        let mail = lettre::Message::builder()
            .from("a@a.example".parse().unwrap())
            .to("b@b.example".parse().unwrap())
            .body("Hello".to_owned())
            .unwrap();
        let transport = lettre::SmtpTransport::from_url(&mailbox.smtp_url()).unwrap().build();
        lettre::Transport::send(&transport, &mail).unwrap();
        assert_eq!(mailbox.messages().len(), 1);
        mailbox.stop().await;
    });
}
