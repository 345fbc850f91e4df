//! RFC 5321 over a bare connection, mistakes and tricks included.
#![allow(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

mod common;

use common::{Client, SOON, start};
use std::time::Duration;

#[tokio::test]
async fn a_plain_mail_is_kept_as_it_was_meant() {
    let mailbox = start(|_| {}).await;
    let mut client = Client::connect_for_data(&mailbox).await;
    // Dot-stuffed by the client, as every client must.
    let message = "Subject: Dots\r\nX-Folded: a\r\n\tb\r\n\r\n..\r\n..two\r\n. space\r\nend\r\n";
    client.send(format!("{message}.\r\n")).await;
    let reply = client.expect("250 2.0.0").await;
    client.say("QUIT", "221").await;
    assert_eq!(client.rest().await, "");

    let mails = mailbox.messages();
    let mail = &mails[0];
    assert!(reply.contains(&mail.id));
    assert_eq!(mail.envelope.from, "a@a.example");
    assert_eq!(mail.envelope.to, ["b@b.example"]);
    assert_eq!(mail.subject, "Dots");
    assert_eq!(mail.header("x-folded").unwrap().as_deref(), Some("a\tb"));
    let unstuffed = "Subject: Dots\r\nX-Folded: a\r\n\tb\r\n\r\n.\r\n.two\r\n space\r\nend\r\n";
    assert_eq!(String::from_utf8_lossy(&mail.message().unwrap()), unstuffed);
    let raw = String::from_utf8(mail.raw().unwrap().into_owned()).unwrap();
    assert!(raw.starts_with(
        "Return-Path: <a@a.example>\r\nX-Envelope-To: <b@b.example>\r\n\
         Received: from client.example ([127.0.0.1])\r\n\tby mailbox.localhost with ESMTP id "
    ));
    assert!(raw.ends_with(unstuffed));
    // A recipient that no header names is shown as Bcc.
    assert_eq!(mail.bcc[0].address, "b@b.example");
}

#[tokio::test]
async fn ehlo_lists_the_extensions_and_helo_none() {
    let mailbox = start(|_| {}).await;
    let mut client = Client::connect(&mailbox).await;
    let ehlo = client.say("EHLO client.example", "250-mailbox.localhost\r\n").await;
    for extension in ["SIZE 10485760", "8BITMIME", "SMTPUTF8", "PIPELINING", "ENHANCEDSTATUSCODES"]
    {
        assert!(ehlo.contains(extension), "{ehlo}");
    }
    assert_eq!(client.say("HELO client.example", "250").await, "250 mailbox.localhost\r\n");
}

#[tokio::test]
async fn commands_out_of_order_and_unknown_ones_are_told_apart() {
    let mailbox = start(|_| {}).await;
    let mut client = Client::connect(&mailbox).await;
    for (line, code) in [
        ("MAIL FROM:<a@a.example>", "503"),
        ("RCPT TO:<b@b.example>", "503"),
        ("DATA", "503"),
        ("VRFY postmaster", "252"),
        ("NOOP", "250"),
        ("RSET", "250"),
        ("EHLO a", "250"),
        ("RCPT TO:<b@b.example>", "503"),
        ("DATA", "503"),
        ("MAIL FROM:<a@a.example>", "250"),
        ("MAIL FROM:<c@c.example>", "503"),
        ("DATA", "503"),
        ("VRFY b", "252"),
        ("HELP", "214"),
        ("WHATEVER", "500"),
        ("STARTTLS", "502"),
        ("AUTH PLAIN", "502"),
        ("RCPT TO:nobody", "501"),
        ("RCPT TO:<b@b.example>", "250"),
        ("NOOP", "250"),
        // A second EHLO, and RSET, both end the transaction.
        ("EHLO again", "250"),
        ("DATA", "503"),
        ("MAIL FROM:<a@a.example>", "250"),
        ("RCPT TO:<b@b.example>", "250"),
        ("RSET", "250"),
        ("DATA", "503"),
        ("MAIL FROM:<a@a.example>", "250"),
        ("RCPT TO:<postmaster>", "250"),
        ("DATA", "354"),
    ] {
        client.say(line, code).await;
    }
    client.send("Subject: One\r\n\r\n.\r\n").await;
    client.expect("250").await;
    // And the next transaction on the same connection starts clean.
    client.say("DATA", "503").await;
    client.say("QUIT", "221").await;
    let mails = mailbox.messages();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].envelope.to, ["postmaster"]);
}

#[tokio::test]
async fn addresses_of_every_kind() {
    let mailbox = start(|_| {}).await;
    let mut client = Client::connect(&mailbox).await;
    client.say("EHLO client.example", "250").await;
    client.say("MAIL FROM:<> BODY=8BITMIME SIZE=100", "250").await;
    client.say("RCPT TO:<\"quoted @ local\"@b.example>", "250").await;
    client.say("RCPT TO:<@route.example:c@c.example>", "250").await;
    client.say("RCPT TO:<d@[127.0.0.1]>", "250").await;
    client.say("RCPT TO:<ü@e.example>", "553").await;
    client.say("DATA", "354").await;
    client.send("\r\nA bounce: ü\r\n.\r\n").await;
    client.expect("250").await;
    client.say("MAIL FROM:<ä@a.example> SMTPUTF8", "250").await;
    client.say("RCPT TO:<ü@e.example>", "250").await;

    let mail = &mailbox.messages()[0];
    assert_eq!(mail.envelope.from, "");
    let to = ["\"quoted @ local\"@b.example", "c@c.example", "d@[127.0.0.1]"];
    assert_eq!(mail.envelope.to, to);
    assert!(mail.message().unwrap().ends_with("A bounce: ü\r\n".as_bytes()));
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let mailbox = start(|_| {}).await;
    let mut client = Client::connect(&mailbox).await;
    client
        .send("EHLO a\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nRCPT TO:<bad>\r\nDATA\r\n")
        .await;
    for code in ["250-", "250 2.1.0", "250 2.1.5", "501", "354"] {
        client.expect(code).await;
    }
    client.send("Subject: P\r\n\r\n.\r\nMAIL FROM:<a@a.example>\r\nRSET\r\nQUIT\r\n").await;
    for code in ["250 2.0.0 Kept", "250 2.1.0", "250", "221"] {
        client.expect(code).await;
    }
}

#[tokio::test]
async fn a_lone_lf_or_cr_never_ends_a_message() {
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r\n\0.\r\n", "\r.\r\n"] {
        let mailbox = start(|_| {}).await;
        let mut client = Client::connect_for_data(&mailbox).await;
        let smuggled =
            "MAIL FROM:<evil@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nSmuggled\r\n";
        client.send(format!("Subject: Outer\r\n\r\ntext{end}{smuggled}.\r\n")).await;
        let reply = client.reply().await;
        // One message, so one reply; the commands within were its text.
        client.say("NOOP", "250 2.0.0 OK").await;
        if end == "\r\n\0.\r\n" {
            assert!(reply.starts_with("250"), "{end:?}: {reply}");
            assert!(mailbox.messages()[0].message().unwrap().ends_with(b"Smuggled\r\n"));
        } else {
            assert!(reply.starts_with("554 5.6.0"), "{end:?}: {reply}");
            assert_eq!(mailbox.messages().len(), 0);
        }
    }
}

#[tokio::test]
async fn a_command_line_without_cr_is_not_a_command() {
    let mailbox = start(|_| {}).await;
    let mut client = Client::connect(&mailbox).await;
    client.send("EHLO a\n").await;
    client.expect("500 5.5.2").await;
    client.send(format!("NOOP {}\r\nNOOP\r\n", "x".repeat(100_000))).await;
    client.expect("500 5.5.2").await;
    client.expect("250").await;
}

#[tokio::test]
async fn a_message_may_have_lines_of_any_length() {
    let mailbox = start(|_| {}).await;
    for length in [998, 4094, 4095, 4096, 4097, 8192, 300_000] {
        let mut client = Client::connect_for_data(&mailbox).await;
        // A dot where a piece may begin is no dot at the start of a line.
        let line = ".".repeat(length);
        client.send(format!("\r\n.{line}\r\n.\r\n")).await;
        client.expect("250").await;
        let mails = mailbox.messages();
        let message = mails.last().unwrap().message().unwrap();
        assert_eq!(message.len(), length + 4);
    }
}

#[tokio::test]
async fn too_big_is_said_before_and_after_the_message() {
    let mailbox = start(|options| options.limits.message_bytes = 1000).await;
    let mut client = Client::connect(&mailbox).await;
    client.say("EHLO client.example", "250").await;
    client.say("MAIL FROM:<a@a.example> SIZE=1001", "552").await;
    client.say("MAIL FROM:<a@a.example> SIZE=1000", "250").await;
    client.say("RCPT TO:<b@b.example>", "250").await;
    client.say("DATA", "354").await;
    client.send(format!("{}\r\n.\r\n", "line\r\n".repeat(1000))).await;
    client.expect("552 5.3.4").await;
    // The connection goes on, with the transaction over.
    client.say("DATA", "503").await;
    client.say("MAIL FROM:<a@a.example>", "250").await;
    client.say("RCPT TO:<b@b.example>", "250").await;
    client.say("DATA", "354").await;
    client.send(format!("{}\r\n.\r\n", "x".repeat(998))).await;
    client.expect("250").await;
    assert_eq!(mailbox.messages().len(), 1);
}

#[tokio::test]
async fn recipients_connections_memory_and_silence_have_bounds() {
    let mailbox = start(|options| {
        options.limits.recipients = 2;
        options.limits.connections = 2;
        options.limits.receiving_bytes = 100;
    })
    .await;
    let mut client = Client::connect(&mailbox).await;
    client.say("EHLO client.example", "250").await;
    client.say("MAIL FROM:<a@a.example>", "250").await;
    client.say("RCPT TO:<b@b.example>", "250").await;
    client.say("RCPT TO:<c@b.example>", "250").await;
    client.say("RCPT TO:<d@b.example>", "452 4.5.3").await;
    let mut second = Client::connect_for_data(&mailbox).await;
    let mut third = Client::connect_raw(&mailbox).await;
    assert!(third.rest().await.starts_with("421"));
    second.send(format!("{}\r\n.\r\n", "x".repeat(200))).await;
    second.expect("452 4.3.1").await;
    // What was refused takes no room any more.
    client.say("DATA", "354").await;
    client.send("Subject: Fits\r\n\r\n.\r\n").await;
    client.expect("250").await;

    let mailbox = start(|options| options.limits.idle = Duration::from_millis(50)).await;
    let mut silent = Client::connect(&mailbox).await;
    assert!(silent.rest().await.starts_with("421 4.4.2"));
}

#[tokio::test]
async fn a_client_that_only_errs_is_sent_away() {
    let mailbox = start(|_| {}).await;
    let mut client = Client::connect(&mailbox).await;
    client.send("GET / HTTP/1.1\r\n".repeat(101)).await;
    assert!(client.rest().await.ends_with("421 4.7.0 Too many errors\r\n"));
}

#[tokio::test]
async fn a_message_cut_off_is_not_kept() {
    let mailbox = start(|_| {}).await;
    let mut client = Client::connect_for_data(&mailbox).await;
    client.send("Subject: Half\r\n\r\nand th").await;
    drop(client);
    let mut other = Client::connect_for_data(&mailbox).await;
    other.send("Subject: Whole\r\n\r\n.\r\n").await;
    other.expect("250").await;
    let mails = mailbox.wait_for(|mails| !mails.is_empty(), SOON).await.unwrap();
    assert_eq!(mails[0].subject, "Whole");
    assert_eq!(mails.len(), 1);
}
