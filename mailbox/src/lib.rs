//! A mail server for demos and tests: it accepts mail over SMTP, delivers
//! none of it onwards, and shows what it got on a web page, over Mailpit's
//! HTTP API and to the test that started it.
//!
//! ```
//! use std::time::Duration;
//! use mailbox::{Fault, Mailbox, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mailbox = Mailbox::start(Options::default()).await?; // a free port, in memory
//! mailbox.set_fault(Fault::TempFailAll.times(1)); // the first attempt gets a 451
//! println!("send to {}", mailbox.smtp_url());
//!
//! // ... the code under test sends, is turned away, and sends again ...
//! # let send = || -> Result<bool, Box<dyn std::error::Error>> {
//! #     use std::io::{BufRead, BufReader, Write};
//! #     let mut out = std::net::TcpStream::connect(mailbox.smtp_addr())?;
//! #     let mut lines = BufReader::new(out.try_clone()?).lines();
//! #     out.write_all(b"HELO a\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\n")?;
//! #     let replies: Vec<String> = lines.by_ref().take(5).collect::<Result<_, _>>()?;
//! #     if !replies[4].starts_with("354") { return Ok(false); }
//! #     out.write_all(b"Subject: Hello\r\n\r\nHi\r\n.\r\n")?;
//! #     Ok(lines.next().transpose()?.is_some_and(|l| l.starts_with("250")))
//! # };
//! # assert!(!send()?);
//! # assert!(send()?);
//!
//! let mails = mailbox.wait_for(|mails| !mails.is_empty(), Duration::from_secs(5)).await?;
//! assert_eq!(mails[0].subject, "Hello");
//! mailbox.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! In the order to read it:
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | [`Options`], [`Limits`]: addresses, folder, and every bound |
//! | `mailbox` | [`Mailbox`]: start, watch, break and stop the server |
//! | `mail` | [`Mail`]: one mail kept, its envelope and what its headers say |
//! | `mime` | [`Content`]: text, HTML and attachments, parsed when asked for |
//! | `store` | the mails kept, newest last, oldest dropped when full |
//! | `folder` | the same on disk: one `.eml` file a mail, safe before the `250` |
//! | `fault` | [`Fault`]: ways for this server to misbehave on purpose |
//! | `smtp` | the SMTP server around the `mailin` state machine |
//! | `http` | the web page and Mailpit's API |
//!
//! The server runs in a thread of its own, with a runtime of its own, so that
//! it serves a caller that blocks, one on a plain tokio runtime and one inside
//! an actix system alike. There is no TLS and no AUTH: bind it to loopback.
#![deny(missing_docs)]

mod error;
mod fault;
mod folder;
mod http;
mod mail;
mod mailbox;
mod mime;
mod options;
mod smtp;
mod store;

pub use error::{Error, WaitError};
pub use fault::{Fault, Rule};
pub use mail::{Address, Envelope, Mail};
pub use mailbox::Mailbox;
pub use mime::{Attachment, Content};
pub use options::{Limits, Options};
pub use store::Stats;
