//! What a caller can choose, with defaults for all of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where a [`Mailbox`](crate::Mailbox) listens and what it keeps.
///
/// The default listens for SMTP on a free loopback port, serves no HTTP and
/// keeps mails in memory: what a test wants.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address of the SMTP server; port 0 takes a free one.
    pub smtp: SocketAddr,
    /// Address of the web page and API; none is served without it.
    pub http: Option<SocketAddr>,
    /// Folder that mails are kept in, made if missing. Without it they are
    /// kept in memory and gone at the stop. One process at a time may use it.
    pub folder: Option<PathBuf>,
    /// Name in the greeting and in `Received` headers.
    pub name: String,
    /// Recipients at this domain, or below it, are refused with `550 5.1.1`:
    /// a bounce that needs no code, `anyone@bounce.invalid`.
    pub reject_domain: Option<String>,
    /// The bounds on all that is held.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            smtp: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            http: None,
            folder: None,
            name: "mailbox.localhost".to_owned(),
            reject_domain: None,
            limits: Limits::default(),
        }
    }
}

/// The bounds: nothing that a client sends can make the server hold more.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Size of one message in bytes; a larger one gets `552`.
    pub message_bytes: usize,
    /// Recipients of one message; further ones get `452`.
    pub recipients: usize,
    /// SMTP connections at once; further ones get `421`.
    pub connections: usize,
    /// Bytes of messages being received at once over all connections; a
    /// message that finds no room gets `452`.
    pub receiving_bytes: usize,
    /// How long a client may be silent, or not read, before `421`.
    pub idle: Duration,
    /// Mails kept; beyond it the oldest is dropped, and counted.
    pub kept_mails: usize,
    /// Bytes of mails kept (in memory, or in the folder if there is one) and
    /// of their summaries; beyond it the oldest is dropped, and counted. The
    /// newest always stays.
    pub kept_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Limits {
            message_bytes: 10 * MIB,
            recipients: 100,
            connections: 200,
            receiving_bytes: 128 * MIB,
            idle: Duration::from_secs(300),
            kept_mails: 20_000,
            kept_bytes: 512 * MIB as u64,
        }
    }
}
