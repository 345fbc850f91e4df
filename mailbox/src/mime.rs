//! What is inside a mail, by way of `mail-parser`.

mod defuse;

use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::{DateTime, Utc};
use mail_parser::decoders::html::html_to_text;
use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};

use crate::mail::Address;

/// Longest snippet in bytes; Mailpit's.
const SNIPPET: usize = 200;

/// Addresses of one header that are looked at; a hostile mail has a million.
const MAX_ADDRESSES: usize = 1000;

/// A mail taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Headers in order, unfolded, as they were written.
    pub headers: Vec<(String, String)>,
    /// The Date header, if there is one that can be read.
    pub date: Option<DateTime<Utc>>,
    /// The plain text.
    pub text: Option<String>,
    /// The HTML: hostile until proven otherwise.
    pub html: Option<String>,
    /// All else. A mail within a mail is one attachment.
    pub attachments: Vec<Attachment>,
}

/// A part that is neither the text nor the HTML of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The part's place in the mail: `2`, or `1.2` in a multipart.
    pub part_id: String,
    /// Its name; empty if it has none.
    pub file_name: String,
    /// Its type without parameters, such as `application/pdf`.
    pub content_type: String,
    /// Content-ID without its brackets; empty if it has none.
    pub content_id: String,
    /// True if it is meant to be shown within the text.
    pub inline: bool,
    /// The bytes, decoded; those of a text are UTF-8.
    pub bytes: Vec<u8>,
}

impl Content {
    pub(crate) fn parse(raw: &[u8]) -> Content {
        with_message(raw, |message| Content {
            headers: headers(message, raw),
            date: message.date().and_then(|date| DateTime::from_timestamp(date.to_timestamp(), 0)),
            text: text(message),
            html: html(message),
            attachments: attachments(message),
        })
        .unwrap_or_default()
    }
}

impl Attachment {
    /// A name to show and to save it by, whatever the mail says.
    pub(crate) fn display_name(&self) -> String {
        let given = [&self.file_name, &self.content_id].into_iter().find(|name| !name.is_empty());
        given.cloned().unwrap_or_else(|| format!("part-{}", self.part_id))
    }
}

/// What is kept in memory of a mail's headers and text.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) message_id: String,
    pub(crate) subject: String,
    pub(crate) from: Address,
    pub(crate) to: Vec<Address>,
    pub(crate) cc: Vec<Address>,
    pub(crate) bcc: Vec<Address>,
    pub(crate) reply_to: Vec<Address>,
    pub(crate) attachments: usize,
    pub(crate) snippet: String,
}

pub(crate) fn summary(raw: &[u8]) -> Summary {
    with_message(raw, |message| Summary {
        message_id: message.message_id().unwrap_or_default().to_owned(),
        subject: message.subject().unwrap_or_default().to_owned(),
        from: addresses(message.from()).into_iter().next().unwrap_or_default(),
        to: addresses(message.to()),
        cc: addresses(message.cc()),
        bcc: addresses(message.bcc()),
        reply_to: addresses(message.reply_to()),
        attachments: message.attachments().filter(|part| !is_inline(part)).count(),
        snippet: snippet(message),
    })
    .unwrap_or_default()
}

/// Parses `raw` for `read`. None if there is nothing to parse.
///
/// The parser is said never to panic. Should it, then one mail is shown empty;
/// without this, that mail in the folder would stop every later start.
fn with_message<T>(raw: &[u8], read: impl FnOnce(&Message<'_>) -> T) -> Option<T> {
    let parse = || MessageParser::default().parse(&defuse::defuse(raw)).map(|m| read(&m));
    catch_unwind(AssertUnwindSafe(parse)).unwrap_or_else(|_| {
        tracing::error!("the MIME parser panicked; the mail is shown empty");
        None
    })
}

fn addresses(list: Option<&mail_parser::Address<'_>>) -> Vec<Address> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    list.into_iter()
        .flat_map(mail_parser::Address::iter)
        .take(MAX_ADDRESSES)
        .map(|one| Address { name: text(one.name()), address: text(one.address()) })
        .collect()
}

fn headers(message: &Message<'_>, raw: &[u8]) -> Vec<(String, String)> {
    let value = |header: &mail_parser::Header<'_>| {
        let range = header.offset_start() as usize..header.offset_end() as usize;
        let value = String::from_utf8_lossy(raw.get(range).unwrap_or_default());
        value.replace(['\r', '\n'], "").trim().to_owned()
    };
    message.headers().iter().map(|header| (header.name().to_owned(), value(header))).collect()
}

fn text(message: &Message<'_>) -> Option<String> {
    join(message.text_bodies().filter_map(|part| match &part.body {
        PartType::Text(text) => Some(text.as_ref()),
        _ => None,
    }))
}

fn html(message: &Message<'_>) -> Option<String> {
    join(message.html_bodies().filter_map(|part| match &part.body {
        PartType::Html(html) => Some(html.as_ref()),
        _ => None,
    }))
}

fn join<'a>(texts: impl Iterator<Item = &'a str>) -> Option<String> {
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

fn snippet(message: &Message<'_>) -> String {
    let as_text = || html(message).map(|html| html_to_text(&html));
    let text = text(message).or_else(as_text).unwrap_or_default();
    let mut snippet = String::new();
    for word in text.split_whitespace() {
        if snippet.len() + word.len() > SNIPPET {
            let room = SNIPPET.saturating_sub(snippet.len());
            snippet.push_str(&word[..word.floor_char_boundary(room)]);
            snippet.push_str("...");
            break;
        }
        snippet.push_str(word);
        snippet.push(' ');
    }
    snippet.trim_end().to_owned()
}

fn attachments(message: &Message<'_>) -> Vec<Attachment> {
    let ids = part_ids(message);
    let attachment = |id: &u32| {
        let part = message.part(*id)?;
        let content_type = match part.content_type() {
            Some(kind) => {
                let subtype = kind.subtype().unwrap_or("octet-stream");
                defuse::restore(&format!("{}/{subtype}", kind.ctype()).to_lowercase())
            }
            None if part.is_text() => "text/plain".to_owned(),
            None => "application/octet-stream".to_owned(),
        };
        Some(Attachment {
            part_id: ids.get(*id as usize).cloned().unwrap_or_default(),
            file_name: part.attachment_name().unwrap_or_default().to_owned(),
            content_type,
            content_id: part.content_id().unwrap_or_default().to_owned(),
            inline: is_inline(part),
            bytes: part.contents().to_vec(),
        })
    };
    message.attachments.iter().filter_map(attachment).collect()
}

fn is_inline(part: &MessagePart<'_>) -> bool {
    match part.content_disposition() {
        Some(disposition) => disposition.is_inline(),
        None => part.content_id().is_some(),
    }
}

/// Each part's place, by its index: `0` for a lone part, else as in Mailpit.
fn part_ids(message: &Message<'_>) -> Vec<String> {
    let mut ids = vec!["0".to_owned(); message.parts.len()];
    // Parents come before their children, so one pass sees them in order.
    for (index, part) in message.parts.iter().enumerate() {
        let prefix = if index == 0 { String::new() } else { format!("{}.", ids[index]) };
        for (place, child) in part.sub_parts().unwrap_or_default().iter().enumerate() {
            if let Some(id) = ids.get_mut(*child as usize) {
                *id = format!("{prefix}{}", place + 1);
            }
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &[u8] = b"From: \"Ann\" <ann@a.example>\r\n\
        To: Bob <bob@b.example>, cy@c.example\r\n\
        Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
        Message-ID: <1@a.example>\r\nDate: Tue, 24 Nov 2026 09:00:00 +0100\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
        --x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n\
        --y\r\nContent-Type: text/plain\r\n\r\nHello  there\r\n\
        --y\r\nContent-Type: text/html\r\n\r\n<p>Hello <b>there</b></p>\r\n--y--\r\n\
        --x\r\nContent-Type: application/pdf; name=a.pdf\r\n\
        Content-Disposition: attachment; filename=a.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n\
        --x\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nin\r\n--x--\r\n";

    #[test]
    fn takes_a_mail_apart() {
        let content = Content::parse(MAIL);
        assert_eq!(content.text.as_deref(), Some("Hello  there"));
        assert_eq!(content.html.as_deref(), Some("<p>Hello <b>there</b></p>"));
        assert_eq!(content.date.unwrap().to_rfc3339(), "2026-11-24T08:00:00+00:00");
        let pdf = &content.attachments[0];
        assert_eq!((&*pdf.part_id, &*pdf.file_name, &*pdf.bytes), ("2", "a.pdf", &b"%PDF"[..]));
        let inner = &content.attachments[1];
        assert_eq!((&*inner.part_id, &*inner.content_type), ("3", "message/rfc822"));
        assert_eq!(inner.bytes, b"Subject: inner\r\n\r\nin");
        let kind = content.headers.iter().find(|(name, _)| name == "Content-Type").unwrap();
        assert_eq!(kind.1, "multipart/mixed; boundary=x");
    }

    #[test]
    fn sums_it_up() {
        let summary = summary(MAIL);
        assert_eq!(summary.subject, "Grüße");
        assert_eq!(summary.message_id, "1@a.example");
        assert_eq!(summary.from.name, "Ann");
        assert_eq!(summary.to[1].address, "cy@c.example");
        assert_eq!((summary.attachments, &*summary.snippet), (2, "Hello there"));
    }

    #[test]
    fn a_lone_part_and_no_mail_at_all_are_fine() {
        let lone = b"Content-Type: application/pdf\r\nSubject: x\r\n\r\n%PDF";
        assert_eq!(Content::parse(lone).attachments[0].part_id, "0");
        for raw in [&b""[..], b"\r\n", b"\0\xff", b"no header", b"Content-Type: multipart/mixed"] {
            Content::parse(raw);
            summary(raw);
        }
    }
}
