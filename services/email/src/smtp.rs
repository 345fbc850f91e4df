//! The way to the mail server: one attempt at a time, and what its answer means.

#[cfg(test)]
mod tests;
mod verdict;

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use lettre::address::Envelope;
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::time::timeout;

use crate::domain::one_line;
use verdict::{Verdict, judge};

/// How long one attempt may take; lettre itself would wait for ever for a server that took
/// the connection and says nothing.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(60);
const LONGEST_WELCOME: Duration = Duration::from_secs(15);

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// What became of an attempt, with the server's words.
#[derive(Debug)]
pub enum Answer {
    /// The server has it.
    Taken,
    /// The server will never take it.
    Refused(String),
    /// The server does not take this mail now.
    NotNow(String),
    /// The server takes no mail now: not reached, not willing, or not on terms with us.
    NoServer(String),
}

/// A pool of connections to the server.
pub struct Smtp {
    builder: AsyncSmtpTransportBuilder,
    current: Mutex<Transport>,
    longest_attempt: Duration,
}

impl Smtp {
    /// Connects to nothing yet.
    pub fn new(url: &str, connections: u32) -> anyhow::Result<Smtp> {
        let builder = Transport::from_url(url)
            // Names the URL's form rather than the URL: it may hold a password.
            .context("SMTP_URL is no URL like smtp://host:25 or smtps://user:password@host")?
            .timeout(Some(LONGEST_WELCOME))
            .pool_config(PoolConfig::new().max_size(connections));
        let current = Mutex::new(builder.clone().build());
        Ok(Smtp { builder, current, longest_attempt: LONGEST_ATTEMPT })
    }

    /// Tries to hand over a message.
    pub async fn send(&self, envelope: &Envelope, message: &[u8]) -> Answer {
        let transport = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut sending = std::pin::pin!(transport.send_raw(envelope, message));
        let error = match timeout(self.longest_attempt, &mut sending).await {
            Ok(Ok(_)) => return Answer::Taken,
            Ok(Err(error)) => error,
            Err(_) => {
                // Before the attempt is dropped: its connection would go back to the pool,
                // and the next mail would read the late answer to this one as its own.
                self.renew().await;
                let waited = self.longest_attempt;
                return Answer::NoServer(format!("no answer within {waited:?}"));
            }
        };
        let words = words(&error);
        match judge(error.status().map(u16::from), &words) {
            Verdict::NotNow => Answer::NotNow(words),
            Verdict::NoServer => Answer::NoServer(words),
            Verdict::Refused => Answer::Refused(words),
            // The same code may be the greeting of a server that serves nobody today. A new
            // connection tells which: such a one is not welcomed.
            Verdict::RefusedUnlessClosed => match self.welcome().await {
                Ok(()) => Answer::Refused(words),
                Err(_) => Answer::NoServer(words),
            },
        }
    }

    /// Whether the server takes a new connection and lets us in.
    pub async fn welcome(&self) -> Result<(), String> {
        // None of the pool's, which may be of better days.
        let transport: Transport = self.builder.clone().build();
        let welcome = timeout(LONGEST_WELCOME, transport.test_connection()).await;
        // Its farewell need not be waited for.
        tokio::spawn(async move { timeout(LONGEST_WELCOME, transport.shutdown()).await });
        match welcome {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err("the server took the connection and then failed".to_owned()),
            Ok(Err(error)) => Err(words(&error)),
            Err(_) => Err(format!("no greeting within {LONGEST_WELCOME:?}")),
        }
    }

    /// Leaves every connection: to be called where an attempt did not come to its end.
    pub async fn renew(&self) {
        let old = {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, self.builder.clone().build())
        };
        // The pool is closed at once; its farewells may take as long as the server likes.
        let _ = timeout(Duration::from_secs(1), old.shutdown()).await;
    }

    /// Says goodbye.
    pub async fn close(&self) {
        let transport = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let _ = timeout(Duration::from_secs(1), transport.shutdown()).await;
    }
}

/// The server's words where it said some, as `550 5.1.1 no such user`; else what went wrong.
fn words(error: &Error) -> String {
    one_line(&match (error.status(), error.source()) {
        (Some(code), Some(words)) => format!("{code} {words}"),
        _ => error.to_string(),
    })
}
