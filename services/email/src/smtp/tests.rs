//! The transport against servers that misbehave in ways that a mailbox does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;

/// A server that says what `reply` says to the command, on the connection of that number, or
/// nothing. Its greeting answers "".
async fn server(reply: fn(usize, &str) -> Option<&'static str>) -> (Smtp, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                loop {
                    let words = reply(connection, line.trim_end());
                    if let Some(words) = words {
                        let _ = stream.write_all(format!("{words}\r\n").as_bytes()).await;
                    }
                    if words.is_some_and(|words| words.starts_with("354")) {
                        // The message, up to its lone dot.
                        while line != ".\r\n" {
                            line.clear();
                            stream.read_line(&mut line).await.unwrap();
                        }
                        continue;
                    }
                    line.clear();
                    if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
            });
        }
    });
    (Smtp::new(&url, 2).unwrap(), connections)
}

fn polite(command: &str) -> Option<&'static str> {
    Some(match command.get(..4).unwrap_or(command) {
        "" => "220 here",
        "DATA" => "354 go on",
        _ => "250 fine",
    })
}

async fn send(smtp: &Smtp) -> Answer {
    let address = |text: &str| text.parse().unwrap();
    let envelope = Envelope::new(Some(address("a@a.example")), vec![address("b@b.example")]);
    smtp.send(&envelope.unwrap(), b"Subject: x\r\n\r\nx").await
}

#[tokio::test]
async fn a_wrong_url_names_its_setting_and_not_its_password() {
    for url in ["", "mail.example", "http://mail.example", "smtp://u:secret@h?tls=maybe"] {
        let error = format!("{:#}", Smtp::new(url, 1).err().unwrap());
        assert!(error.contains("SMTP_URL") && !error.contains("secret"), "{error}");
    }
    for url in ["smtp://h:25", "smtp://u:p@h:587?tls=required", "smtps://u:p@h"] {
        assert!(Smtp::new(url, 1).is_ok(), "{url}");
    }
}

#[tokio::test]
async fn a_code_for_one_address_is_not_a_closed_door() {
    let (smtp, _) = server(|_, command| match command.starts_with("RCPT") {
        true => Some("554 not him"),
        false => polite(command),
    })
    .await;
    assert!(matches!(send(&smtp).await, Answer::Refused(words) if words == "554 not him"));

    let (smtp, _) = server(|_, _| Some("554 we are closed")).await;
    assert!(matches!(send(&smtp).await, Answer::NoServer(words) if words == "554 we are closed"));
    assert_eq!(smtp.welcome().await, Err("554 we are closed".to_owned()));
}

/// The answer that comes too late must not be taken for the next mail's.
#[tokio::test]
async fn a_server_that_falls_silent_is_left() {
    let (mut smtp, connections) = server(|connection, command| match (connection, command) {
        (0, "MAIL FROM:<a@a.example>") => None,
        (0, "NOOP") => Some("250 the late answer\r\n250 and this one's"),
        (0, command) => polite(command),
        (_, command) if command.starts_with("RCPT") => Some("550 5.1.1 nobody"),
        (_, command) => polite(command),
    })
    .await;
    smtp.longest_attempt = Duration::from_millis(300);
    assert!(matches!(send(&smtp).await, Answer::NoServer(_)));
    // Time for what was left to find its way back into the pool, if there is one.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    smtp.longest_attempt = LONGEST_ATTEMPT;
    assert!(matches!(send(&smtp).await, Answer::Refused(words) if words == "550 5.1.1 nobody"));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_taken_shares_a_connection() {
    let (smtp, connections) = server(|_, command| polite(command)).await;
    for _ in 0..5 {
        assert!(matches!(send(&smtp).await, Answer::Taken));
        tokio::task::yield_now().await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    smtp.close().await;
}
