//! A mail as RFC 5322 and MIME want it.

use std::time::SystemTime;

use lettre::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, Message, MultiPart};

use crate::domain::PublicUrl;
use crate::letter;
use crate::queue::{Body, Mail};

/// Composes a mail. The same mail is the same at every attempt, its Message-ID and its date
/// included.
///
/// # Errors
/// Says why no message can be made of it; another attempt would not help.
pub fn compose(mail: &Mail, from: &Mailbox, public: &PublicUrl) -> Result<Message, String> {
    let address: Address = mail
        .to
        .as_str()
        .parse()
        .map_err(|error| format!("the address cannot be written to: {error}"))?;
    let to = Mailbox::new(Some(mail.to_name.clone()), address);
    let builder = Message::builder()
        .from(from.clone())
        .to(to)
        .subject(&mail.subject)
        .date(SystemTime::from(mail.created_at))
        .message_id(Some(mail.message_id.clone()));
    let message = match &mail.body {
        Body::Written { text, html, attachment } => {
            let bodies = MultiPart::alternative_plain_html(text.clone(), html.clone());
            // An out-of-office reply to a receipt helps nobody (RFC 3834).
            let builder = builder.raw_header(header("Auto-Submitted", "auto-generated"));
            match attachment {
                None => builder.multipart(bodies),
                Some((name, pdf)) => {
                    let kind = ContentType::parse("application/pdf").map_err(|e| e.to_string())?;
                    let pdf = Attachment::new(name.clone()).body(pdf.clone(), kind);
                    builder.multipart(MultiPart::mixed().multipart(bodies).singlepart(pdf))
                }
            }
        }
        Body::Promotion { paragraphs, token } => {
            let link = public.unsubscribe(token);
            let letter = letter::promotion(&mail.to_name, &mail.subject, paragraphs, &link)
                .map_err(|error| error.to_string())?;
            builder
                // RFC 8058: the reader's mail program unsubscribes with one POST. The relay
                // that signs the mail has to sign these two as well.
                .raw_header(header("List-Unsubscribe", &format!("<{link}>")))
                .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
                .raw_header(header("Precedence", "bulk"))
                .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))
        }
    };
    message.map_err(|error| format!("no message can be made of it: {error}"))
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}
