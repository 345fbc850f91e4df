//! A client that says exactly what it is told to.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::time::Duration;

use mailbox::{Mailbox, Options};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Long enough for a slow machine; no test waits for all of it.
pub const SOON: Duration = Duration::from_secs(20);

pub async fn start(change: impl FnOnce(&mut Options)) -> Mailbox {
    let mut options = Options::default();
    change(&mut options);
    Mailbox::start(options).await.unwrap()
}

pub struct Client {
    input: BufReader<OwnedReadHalf>,
    output: OwnedWriteHalf,
}

impl Client {
    /// Connects and reads the greeting.
    pub async fn connect(mailbox: &Mailbox) -> Client {
        let mut client = Client::connect_raw(mailbox).await;
        client.expect("220").await;
        client
    }

    pub async fn connect_raw(mailbox: &Mailbox) -> Client {
        let stream = TcpStream::connect(mailbox.smtp_addr()).await.unwrap();
        let (input, output) = stream.into_split();
        Client { input: BufReader::new(input), output }
    }

    /// Connects and gets as far as a message's first line.
    pub async fn connect_for_data(mailbox: &Mailbox) -> Client {
        let mut client = Client::connect(mailbox).await;
        for (command, code) in [
            ("EHLO client.example", "250"),
            ("MAIL FROM:<a@a.example>", "250"),
            ("RCPT TO:<b@b.example>", "250"),
            ("DATA", "354"),
        ] {
            client.say(command, code).await;
        }
        client
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.output.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads one reply of any number of lines.
    pub async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let start = reply.len();
            let read = self.input.read_line(&mut reply);
            let length = tokio::time::timeout(SOON, read).await.expect("a reply").unwrap();
            assert!(length > 0, "closed after {reply:?}");
            if reply.as_bytes().get(start + 3) != Some(&b'-') {
                return reply;
            }
        }
    }

    pub async fn expect(&mut self, code: &str) -> String {
        let reply = self.reply().await;
        assert!(reply.starts_with(code), "expected {code}, got {reply:?}");
        reply
    }

    pub async fn say(&mut self, line: &str, code: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        let reply = self.reply().await;
        assert!(reply.starts_with(code), "{line:?}: expected {code}, got {reply:?}");
        reply
    }

    /// What comes until the server closes.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = self.input.read_to_end(&mut rest);
        // A reset ends it as well as a close does.
        _ = tokio::time::timeout(SOON, read).await.expect("the server closes");
        String::from_utf8(rest).unwrap()
    }
}
