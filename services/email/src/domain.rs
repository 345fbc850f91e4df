//! The rules of mail, without a database and without a server.

use std::sync::Arc;
use std::time::Duration;

use broker::HandlerError;
use chassis::Received;
use contracts::{MailKind, Text};
use rand::Rng;
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

/// The longest that a mail waits for its next attempt.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
const SHORTEST_DELAY: Duration = Duration::from_millis(500);

/// How long a mail waits after so many attempts, at least one: exponential, with jitter, so
/// that mails which failed together do not come back together.
pub fn delay_after(attempts: u32) -> Duration {
    backoff(attempts.saturating_sub(1), SHORTEST_DELAY, LONGEST_DELAY)
}

/// `shortest * 2^failures`, at most `longest`, of which up to half is left out by chance.
pub fn backoff(failures: u32, shortest: Duration, longest: Duration) -> Duration {
    let ceiling = shortest.saturating_mul(1 << failures.min(20)).min(longest);
    ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// What an unsubscribe link is made of: 256 random bits that fit into a URL.
pub fn token() -> String {
    let bits: [u64; 4] = rand::rng().random();
    bits.iter().map(|bits| format!("{bits:016x}")).collect()
}

/// Whether a text has the form of a token: whatever else stands in a link is nobody's.
pub fn is_token(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The queue's lane: 0 is important, 1 promotional.
pub fn priority(kind: MailKind) -> i16 {
    i16::from(kind == MailKind::Promotion)
}

/// A kind from the word that it is stored by.
pub fn kind(word: &str) -> Option<MailKind> {
    MailKind::deserialize(StrDeserializer::<ValueError>::new(word)).ok()
}

/// An amount in minor units as people read it: `EUR 1,234.56`.
pub fn money(minor: i64, currency: &str) -> String {
    let decimals = match currency {
        "JPY" | "KRW" | "ISK" | "CLP" | "VND" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    };
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = decimals + 1);
    let (whole, fraction) = digits.split_at(digits.len() - decimals);
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if minor < 0 { "-" } else { "" };
    let point = if decimals > 0 { "." } else { "" };
    format!("{currency} {sign}{grouped}{point}{fraction}")
}

/// A tax rate of basis points as `19 %` or `7.5 %`.
pub fn percent(basis_points: u32) -> String {
    let text = format!("{}.{:02}", basis_points / 100, basis_points % 100);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A field that goes into a subject, as one line of text; the record is refused where it is
/// none.
pub fn line_of<E>(received: &Received<E>, field: &str, value: &str) -> Result<Text, HandlerError> {
    value
        .parse()
        .map_err(|error| HandlerError::reject(format!("{field} {error}")).at(&received.record))
}

/// The name of the file that a document of this number is attached as.
pub fn pdf_name(number: &Text) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    format!("{}.pdf", number.as_str().chars().map(safe).collect::<String>())
}

/// What a server said, fit to be stored and shown: one line, no control characters, bounded.
pub fn one_line(words: &str) -> String {
    const LONGEST: usize = 300;
    let words = words.replace(|c: char| c.is_control() || c == '\u{fffd}', " ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

/// The right side of a Message-ID: a domain that is ours, so that nobody else makes the same.
#[derive(Debug, Clone)]
pub struct MailDomain(Arc<str>);

impl std::str::FromStr for MailDomain {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        match text.len() <= 200 && text.split('.').all(label) {
            true => Ok(MailDomain(text.into())),
            false => Err("must be a domain such as waybill.example"),
        }
    }
}

impl std::fmt::Display for MailDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where customers reach this service, for the links in mails.
#[derive(Debug, Clone)]
pub struct PublicUrl(Arc<str>);

impl PublicUrl {
    /// The link by which the holder of this token unsubscribes.
    pub fn unsubscribe(&self, token: &str) -> String {
        format!("{}/unsubscribe/{token}", self.0)
    }
}

impl std::str::FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        // It stands in a header between angle brackets.
        let fits = |byte: u8| byte.is_ascii_graphic() && !b"<>\"?#".contains(&byte);
        match host {
            Some(host) if !host.is_empty() && text.len() <= 500 && text.bytes().all(fits) => {
                Ok(PublicUrl(text.trim_end_matches('/').into()))
            }
            _ => Err("must be a URL such as https://mail.example.org, without ? and #"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_in_its_currency() {
        for (minor, currency, text) in [
            (0, "EUR", "EUR 0.00"),
            (5, "EUR", "EUR 0.05"),
            (123_456, "EUR", "EUR 1,234.56"),
            (100_000_000, "USD", "USD 1,000,000.00"),
            (-123_456, "EUR", "EUR -1,234.56"),
            (1_500, "JPY", "JPY 1,500"),
            (1_500, "KWD", "KWD 1.500"),
            (i64::MIN, "EUR", "EUR -92,233,720,368,547,758.08"),
        ] {
            assert_eq!(money(minor, currency), text);
        }
        assert_eq!(
            (percent(1900), percent(750), percent(0)),
            ("19 %".into(), "7.5 %".into(), "0 %".into())
        );
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        for (attempts, most) in [(0, 500), (1, 500), (2, 1_000), (8, 60_000), (u32::MAX, 60_000)] {
            let delay = delay_after(attempts).as_millis();
            assert!((most / 2..=most).contains(&delay), "{attempts}: {delay}");
        }
    }

    #[test]
    fn every_kind_is_found_by_its_word() {
        for word in
            ["confirmation", "dispatched", "delivered", "cancellation", "invoice", "credit_note"]
        {
            let kind = kind(word).unwrap();
            assert_eq!((kind.as_str(), priority(kind)), (word, 0));
        }
        assert_eq!(priority(kind("promotion").unwrap()), 1);
        assert_eq!(kind("poem"), None);
    }

    #[test]
    fn what_a_server_said_is_one_bounded_line() {
        assert_eq!(one_line(" no\r\n\tsuch\0 user\u{1b}[31m "), "no such user [31m");
        assert_eq!(one_line(&"é".repeat(1000)).chars().count(), 301);
    }

    #[test]
    fn a_token_is_known_by_its_form() {
        let (one, other) = (token(), token());
        assert!(is_token(&one) && is_token(&other) && one != other);
        for text in ["", "0", "\0", &"G".repeat(64), &format!("{one}0")] {
            assert!(!is_token(text), "{text:?}");
        }
    }

    #[test]
    fn a_file_name_is_only_a_name() {
        let name = |text: &str| pdf_name(&text.parse().unwrap());
        assert_eq!(name("RE-2026-000042"), "RE-2026-000042.pdf");
        assert_eq!(name("../a\" b"), "___a__b.pdf");
    }

    #[test]
    fn what_could_break_out_of_a_header_is_refused() {
        for text in ["", "a..b", "a b", "a>b", "ä.example"] {
            assert!(text.parse::<MailDomain>().is_err(), "{text}");
        }
        for text in
            ["", "http://", "ftp://a", "a.example", "http://a>b", "http://a\r\nb", "http://a?b"]
        {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
        let url: PublicUrl = "https://a.example/mail/".parse().unwrap();
        assert_eq!(url.unsubscribe("t"), "https://a.example/mail/unsubscribe/t");
    }
}
