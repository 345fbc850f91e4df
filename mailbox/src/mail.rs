//! One mail kept: its envelope, and what its headers say.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};

use crate::mime::{self, Attachment, Content};

/// What SMTP said of a mail, whatever the mail itself says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `MAIL FROM`; empty for the null reverse-path, that of bounces.
    pub from: String,
    /// Each `RCPT TO` that was accepted, in order.
    pub to: Vec<String>,
}

/// A name, which may be empty, and an address out of a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The display name.
    pub name: String,
    /// The address itself.
    pub address: String,
}

/// One mail kept.
///
/// Its summary is held in memory. Its bytes may be on disk, so all that needs
/// them can fail, which it does once the mail was dropped or deleted.
#[derive(Debug)]
pub struct Mail {
    /// Names the mail in URLs and, with `.eml`, in the folder; in order of
    /// arrival, ids are in the order of their text too.
    pub id: String,
    /// When it arrived; no two mails of a mailbox have the same time.
    pub received_at: DateTime<Utc>,
    /// Its sender and recipients as SMTP gave them.
    pub envelope: Envelope,
    /// Bytes, the lines that the server put before it included.
    pub size: u64,
    /// Message-ID without its brackets; empty if there is none.
    pub message_id: String,
    /// Subject, decoded; empty if there is none.
    pub subject: String,
    /// The first From address.
    pub from: Address,
    /// To addresses.
    pub to: Vec<Address>,
    /// Cc addresses.
    pub cc: Vec<Address>,
    /// Bcc addresses, and recipients that no header names.
    pub bcc: Vec<Address>,
    /// Reply-To addresses.
    pub reply_to: Vec<Address>,
    /// Number of attachments, inline ones left out.
    pub attachment_count: usize,
    /// The beginning of the text, in one line.
    pub snippet: String,
    pub(crate) read: AtomicBool,
    /// Length of the lines that the server put before the message.
    trace: usize,
    bytes: Bytes,
}

/// Where the bytes of a mail are.
#[derive(Debug)]
pub(crate) enum Bytes {
    Here(Vec<u8>),
    File(PathBuf),
}

impl Mail {
    /// Makes the summary of `raw`, which begins with a [`Trace`]'s lines.
    pub(crate) fn new(
        id: String,
        received_at: DateTime<Utc>,
        raw: &[u8],
        bytes: impl FnOnce() -> Bytes,
    ) -> Mail {
        let (envelope, trace) = Trace::read(raw);
        let mut summary = mime::summary(raw.get(trace..).unwrap_or_default());
        let named = |address: &String| {
            let lists = [&summary.to, &summary.cc, &summary.bcc];
            lists.into_iter().flatten().any(|a| a.address.eq_ignore_ascii_case(address))
        };
        let unnamed: Vec<_> = envelope.to.iter().filter(|to| !named(to)).cloned().collect();
        let unnamed = unnamed.into_iter().map(|address| Address { name: String::new(), address });
        summary.bcc.extend(unnamed);
        Mail {
            id,
            received_at,
            envelope,
            size: raw.len() as u64,
            message_id: summary.message_id,
            subject: summary.subject,
            from: summary.from,
            to: summary.to,
            cc: summary.cc,
            bcc: summary.bcc,
            reply_to: summary.reply_to,
            attachment_count: summary.attachments,
            snippet: summary.snippet,
            read: AtomicBool::new(false),
            trace,
            bytes: bytes(),
        }
    }

    pub(crate) fn with_bytes(self, bytes: Bytes) -> Mail {
        Mail { bytes, ..self }
    }

    /// The mail as it is kept: `Return-Path`, an `X-Envelope-To` for each
    /// recipient and `Received`, then the message.
    pub fn raw(&self) -> io::Result<Cow<'_, [u8]>> {
        match &self.bytes {
            Bytes::Here(bytes) => Ok(Cow::Borrowed(bytes)),
            Bytes::File(path) => std::fs::read(path).map(Cow::Owned),
        }
    }

    /// The message byte for byte as its sender meant it, unstuffed.
    pub fn message(&self) -> io::Result<Cow<'_, [u8]>> {
        Ok(match self.raw()? {
            Cow::Borrowed(raw) => Cow::Borrowed(raw.get(self.trace..).unwrap_or_default()),
            Cow::Owned(mut raw) => {
                raw.drain(..self.trace.min(raw.len()));
                Cow::Owned(raw)
            }
        })
    }

    /// The whole mail, parsed; for more than one of the parts below.
    pub fn content(&self) -> io::Result<Content> {
        self.raw().map(|raw| Content::parse(&raw))
    }

    /// The plain text, if it has some.
    pub fn text(&self) -> io::Result<Option<String>> {
        self.content().map(|content| content.text)
    }

    /// The HTML, if it has some.
    pub fn html(&self) -> io::Result<Option<String>> {
        self.content().map(|content| content.html)
    }

    /// The attachments, inline ones too.
    pub fn attachments(&self) -> io::Result<Vec<Attachment>> {
        self.content().map(|content| content.attachments)
    }

    /// The message's first header of that name, unfolded, as it was written.
    pub fn header(&self, name: &str) -> io::Result<Option<String>> {
        let content = Content::parse(&self.message()?);
        let mut headers = content.headers.into_iter();
        Ok(headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }

    /// Bytes that it takes, those of its summary included: of an address of
    /// three letters more than the mail itself has.
    pub(crate) fn weight(&self) -> u64 {
        const BLOCK: usize = 64;
        let address = |one: &Address| BLOCK + one.name.len() + one.address.len();
        let headers = [&self.to, &self.cc, &self.bcc, &self.reply_to];
        let addresses: usize = headers.into_iter().flatten().map(address).sum();
        let envelope: usize = self.envelope.to.iter().map(|to| BLOCK + to.len()).sum();
        let texts = self.subject.len() + self.message_id.len() + self.snippet.len();
        self.size + (8 * BLOCK + address(&self.from) + addresses + envelope + texts) as u64
    }

    /// True once somebody has looked at it over HTTP.
    pub fn is_read(&self) -> bool {
        self.read.load(Ordering::Relaxed)
    }
}

/// Where a mail came from: the lines that a server puts before it.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) helo: String,
    pub(crate) peer: IpAddr,
    pub(crate) protocol: &'static str,
    pub(crate) by: String,
}

const RETURN_PATH: &str = "Return-Path: <";
const ENVELOPE_TO: &str = "X-Envelope-To: <";
const RECEIVED: &str = "Received: from ";

impl Trace {
    /// The lines, from which [`read`](Self::read) gets the envelope back.
    pub(crate) fn write(&self, envelope: &Envelope, id: &str, at: DateTime<Utc>) -> String {
        let mut lines = format!("{RETURN_PATH}{}>\r\n", envelope.from);
        for to in &envelope.to {
            lines.push_str(&format!("{ENVELOPE_TO}{to}>\r\n"));
        }
        let Trace { helo, protocol, by, .. } = self;
        let peer = match self.peer {
            IpAddr::V4(peer) => format!("[{peer}]"),
            IpAddr::V6(peer) => format!("[IPv6:{peer}]"),
        };
        let at = at.to_rfc2822();
        lines.push_str(&format!(
            "{RECEIVED}{helo} ({peer})\r\n\tby {by} with {protocol} id {id};\r\n\t{at}\r\n"
        ));
        lines
    }

    /// The envelope in the lines at the front of `raw`, and their length. A
    /// file that another program put into the folder has neither.
    fn read(raw: &[u8]) -> (Envelope, usize) {
        let mut envelope = Envelope::default();
        let (mut length, mut received) = (0, false);
        for (at, line) in raw.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let Ok(line) = std::str::from_utf8(line) else { break };
            let address = |prefix| line.strip_prefix(prefix)?.strip_suffix(">\r\n");
            match (at, address(RETURN_PATH), address(ENVELOPE_TO)) {
                (0, Some(from), _) => envelope.from = from.to_owned(),
                (0, None, _) => break,
                (_, _, Some(to)) if !received => envelope.to.push(to.to_owned()),
                _ if !received && line.starts_with(RECEIVED) => received = true,
                _ if received && line.starts_with('\t') => {}
                _ => break,
            }
            length += line.len();
        }
        if received { (envelope, length) } else { (Envelope::default(), 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_comes_back_out_of_the_trace() {
        let trace = Trace {
            helo: "client".into(),
            peer: IpAddr::from([127, 0, 0, 1]),
            protocol: "ESMTP",
            by: "here".into(),
        };
        let to = vec!["\"a>\"@b.example".to_owned(), "c@d.example".to_owned()];
        let envelope = Envelope { from: String::new(), to };
        let lines = trace.write(&envelope, "1", Utc::now());
        let raw = format!("{lines}X-Envelope-To: <forged@x.example>\r\n\r\nHello");
        assert_eq!(Trace::read(raw.as_bytes()), (envelope, lines.len()));
        let foreign = b"Return-Path: <a@b>\r\nSubject: x\r\n\r\n";
        assert_eq!(Trace::read(foreign), (Envelope::default(), 0));
    }
}
