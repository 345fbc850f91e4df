//! How things are written on pages.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::{Error, Place};
use chassis::Problem;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use crate::http::State;
use crate::pages::assets;

const MAX_VALUE_CHARS: usize = 6000;
const MAX_STRING_CHARS: usize = 300;

/// What every page has around its content.
pub struct Layout {
    /// The part of the site that it is in.
    pub nav: &'static str,
    /// For its forms; `None` where its reader may only read.
    pub form_token: Option<String>,
    /// Whether there is a page to break things.
    pub breaks: bool,
}

impl Layout {
    pub fn new(nav: &'static str, state: &State, request: &HttpRequest) -> Layout {
        let form_token = state.access.form_token(request);
        Layout { nav, form_token, breaks: state.control.is_some() }
    }

    pub fn style(&self) -> &'static str {
        &assets::STYLE.address
    }

    pub fn script(&self) -> &'static str {
        &assets::SCRIPT.address
    }

    /// As `aria-current` says it.
    pub fn current(&self, nav: &str) -> &'static str {
        if self.nav == nav { "page" } else { "false" }
    }
}

/// Addresses of other services, for people.
#[derive(Clone)]
pub struct Links {
    invoice: String,
    mailbox: String,
}

impl Links {
    pub fn new(invoice: &Url, mailbox: &Url) -> Links {
        let base = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        Links { invoice: base(invoice), mailbox: base(mailbox) }
    }

    pub fn pdf(&self, order_id: Uuid, which: &str) -> String {
        format!("{}/invoices/{order_id}/{which}", self.invoice)
    }

    pub fn mailbox(&self) -> String {
        format!("{}/", self.mailbox)
    }

    /// One mail in the mailbox, which leads there from what every mailbox knows of it.
    pub fn mail(&self, message_id: &str) -> String {
        let wanted = format!("message-id:{}", message_id.trim_matches(['<', '>']));
        format!("{}/view/latest?{}", self.mailbox, query(&[("query", &wanted)]))
    }
}

/// An order's id, as people paste it.
///
/// # Errors
/// 400 for what is none.
pub fn order_id(text: &str) -> Result<Uuid, Problem> {
    text.trim().parse().map_err(|_| {
        Problem::bad_request(format!("{:?} is no order's id: it is a UUID", cut(text, 60)))
    })
}

/// An address's query; what is empty is left out.
pub fn query(fields: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields.iter().filter(|(_, value)| !value.is_empty()));
    query.finish()
}

pub fn page(page: &impl Template) -> Result<HttpResponse, Problem> {
    let html = page.render().map_err(|error| {
        tracing::error!("a page was not made: {error}");
        Problem::overloaded("the page cannot be made now", 1)
    })?;
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(html))
}

pub fn see_other(address: String) -> HttpResponse {
    HttpResponse::SeeOther().insert_header(("location", address)).finish()
}

/// What the log says against a request is its sender's to read.
pub fn refused(error: Error) -> Problem {
    match error {
        Error::UnknownTopic(topic) => Problem::not_found(format!("topic {topic:?} does not exist")),
        Error::Refused(detail) => Problem::bad_request(detail),
        Error::Forbidden { what, .. } => Problem::new(
            StatusCode::FORBIDDEN,
            format!("the dashboard's role may not do this to {what}"),
        ),
        error => error.into(),
    }
}

pub fn time(at: DateTime<Utc>) -> String {
    at.format("%H:%M:%S%.3f").to_string()
}

pub fn date_time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Minor units as people write them.
pub fn money(currency: &str, minor: i64) -> String {
    let sign = if minor < 0 { "−" } else { "" };
    let minor = minor.unsigned_abs();
    format!("{currency} {sign}{}.{:02}", minor / 100, minor % 100)
}

pub fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms => seconds(ms / 1000.0),
    }
}

pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

/// Of the oldest record that is not handled.
pub fn age(age: &Option<f64>) -> String {
    age.map_or_else(|| "—".to_owned(), seconds)
}

/// How long until places are caught up, together, if all goes on as in the last minute.
pub fn time_to_drain<'a>(places: impl Iterator<Item = &'a Place>) -> String {
    let (mut lag, mut gain) = (0, 0.0);
    for place in places {
        lag += place.lag;
        gain += place.consumed_per_second - place.produced_per_second;
    }
    match lag {
        0 => "drained".to_owned(),
        lag if gain > 0.0 => seconds(lag as f64 / gain),
        _ => "never, at this pace".to_owned(),
    }
}

/// A value as people read it: JSON indented, what is long cut short.
pub fn value(bytes: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(bytes) {
        Ok(mut value) => {
            shorten(&mut value);
            serde_json::to_string_pretty(&value).unwrap_or_default()
        }
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    };
    cut(&text, MAX_VALUE_CHARS)
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > MAX_STRING_CHARS => *text = cut(text, MAX_STRING_CHARS),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(values) => values.values_mut().for_each(shorten),
        _ => {}
    }
}

pub fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_times_read_well() {
        assert_eq!(money("EUR", 9782), "EUR 97.82");
        assert_eq!(money("EUR", -5), "EUR −0.05");
        assert_eq!((millis(0.44), millis(12345.0)), ("0.4 ms".to_owned(), "12 s".to_owned()));
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        let text = value(format!(r#"{{"pdf":"{}"}}"#, "ä".repeat(400)).as_bytes());
        assert!(text.contains("… (800 bytes in all)"), "{text}");
        assert_eq!(value(b"\xff no json"), "\u{fffd} no json");
    }
}
