//! The JSON of Mailpit's API, version 1.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::mail::{self, Mail};
use crate::mime::{self, Content};
use mail_parser::decoders::html::html_to_text;

#[derive(Serialize)]
pub(super) struct Messages {
    pub(super) total: usize,
    pub(super) unread: usize,
    /// Mails in this answer; Mailpit keeps it for its older clients.
    pub(super) count: usize,
    /// Mails that match, over all pages.
    pub(super) messages_count: usize,
    pub(super) messages_unread: usize,
    pub(super) start: usize,
    pub(super) tags: [String; 0],
    pub(super) messages: Vec<MessageSummary>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Address {
    name: String,
    address: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MessageSummary {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MessageID")]
    message_id: String,
    read: bool,
    from: Address,
    to: Vec<Address>,
    cc: Vec<Address>,
    bcc: Vec<Address>,
    reply_to: Vec<Address>,
    subject: String,
    created: String,
    username: &'static str,
    tags: [String; 0],
    size: u64,
    attachments: usize,
    snippet: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Message {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MessageID")]
    message_id: String,
    from: Address,
    to: Vec<Address>,
    cc: Vec<Address>,
    bcc: Vec<Address>,
    reply_to: Vec<Address>,
    return_path: String,
    subject: String,
    list_unsubscribe: ListUnsubscribe,
    date: String,
    tags: [String; 0],
    username: &'static str,
    text: String,
    #[serde(rename = "HTML")]
    html: String,
    size: u64,
    inline: Vec<Attachment>,
    attachments: Vec<Attachment>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUnsubscribe {
    header: String,
    links: Vec<String>,
    errors: String,
    header_post: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attachment {
    #[serde(rename = "PartID")]
    part_id: String,
    file_name: String,
    content_type: String,
    #[serde(rename = "ContentID")]
    content_id: String,
    size: usize,
}

impl MessageSummary {
    pub(super) fn new(mail: &Mail) -> Self {
        MessageSummary {
            id: mail.id.clone(),
            message_id: mail.message_id.clone(),
            read: mail.is_read(),
            from: address(&mail.from),
            to: addresses(&mail.to),
            cc: addresses(&mail.cc),
            bcc: addresses(&mail.bcc),
            reply_to: addresses(&mail.reply_to),
            subject: mail.subject.clone(),
            created: time(mail.received_at),
            username: "",
            tags: [],
            size: mail.size,
            attachments: mail.attachment_count,
            snippet: mail.snippet.clone(),
        }
    }
}

impl Message {
    pub(super) fn new(mail: &Mail, content: Content) -> Self {
        let list_unsubscribe = ListUnsubscribe::new(&content);
        // As in Mailpit: a mail of HTML alone has that as its text.
        let as_text = || content.html.as_deref().map(html_to_text);
        let text = content.text.clone().or_else(as_text).unwrap_or_default();
        let (inline, attachments) =
            content.attachments.iter().partition::<Vec<_>, _>(|attachment| attachment.inline);
        let list = |parts: Vec<&mime::Attachment>| parts.into_iter().map(Attachment::new).collect();
        Message {
            id: mail.id.clone(),
            message_id: mail.message_id.clone(),
            from: address(&mail.from),
            to: addresses(&mail.to),
            cc: addresses(&mail.cc),
            bcc: addresses(&mail.bcc),
            reply_to: addresses(&mail.reply_to),
            return_path: mail.envelope.from.clone(),
            subject: mail.subject.clone(),
            list_unsubscribe,
            date: time(content.date.unwrap_or(mail.received_at)),
            tags: [],
            username: "",
            text,
            size: mail.size,
            inline: list(inline),
            attachments: list(attachments),
            html: content.html.unwrap_or_default(),
        }
    }
}

impl ListUnsubscribe {
    fn new(content: &Content) -> Self {
        let header = |name: &str| {
            let mut found =
                content.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.clone())
        };
        let Some(value) = header("List-Unsubscribe") else { return ListUnsubscribe::default() };
        let mut links = Vec::new();
        let mut errors = Vec::new();
        for entry in value.split(',').map(str::trim) {
            match entry.strip_prefix('<').and_then(|entry| entry.strip_suffix('>')) {
                Some(link) if is_link(link) => links.push(link.to_owned()),
                _ => errors.push(format!("{entry:?} is not a mailto: or http(s): link in <>")),
            }
        }
        let header_post = header("List-Unsubscribe-Post").unwrap_or_default();
        ListUnsubscribe { header: value, links, errors: errors.join(", "), header_post }
    }
}

fn is_link(link: &str) -> bool {
    let scheme = |scheme: &str| {
        link.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))
            && link.len() > scheme.len()
    };
    let known = ["mailto:", "http://", "https://"].into_iter().any(scheme);
    known && !link.contains(char::is_whitespace)
}

impl Attachment {
    fn new(attachment: &mime::Attachment) -> Self {
        Attachment {
            part_id: attachment.part_id.clone(),
            file_name: attachment.display_name(),
            content_type: attachment.content_type.clone(),
            content_id: attachment.content_id.clone(),
            size: attachment.bytes.len(),
        }
    }
}

/// Headers by name, spelt as Go's library spells them, in alphabetical order.
pub(super) fn headers(content: Content) -> BTreeMap<String, Vec<String>> {
    let mut headers = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in content.headers {
        let words = name.split('-').map(|word| {
            let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
            first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
        });
        headers.entry(words.collect::<Vec<_>>().join("-")).or_default().push(value);
    }
    headers
}

fn address(one: &mail::Address) -> Address {
    Address { name: one.name.clone(), address: one.address.clone() }
}

fn addresses(all: &[mail::Address]) -> Vec<Address> {
    all.iter().map(address).collect()
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
