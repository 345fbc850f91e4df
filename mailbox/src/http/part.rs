//! Parts of a mail as responses. Each is hostile input: whatever its sender
//! calls it, nothing of it runs in the origin of these pages.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY};

use crate::mime::Attachment;

/// For HTML within its frame, or opened by itself: no script, no form, no
/// load from anywhere, an origin of its own.
const HTML_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; \
    img-src data:; font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Types that a browser shows without running anything. (A `sandbox` would
/// keep it from showing a PDF.)
const SHOWN: [&str; 6] =
    ["application/pdf", "image/png", "image/jpeg", "image/gif", "image/webp", "text/plain"];
const SHOWN_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; \
    img-src 'self'; frame-ancestors 'self'";
const SAVED_POLICY: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";

pub(super) fn html(html: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_SECURITY_POLICY, HTML_POLICY))
        .content_type("text/html; charset=utf-8")
        .body(html)
}

pub(super) fn text(text: impl Into<Vec<u8>>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_SECURITY_POLICY, SHOWN_POLICY))
        .content_type("text/plain; charset=utf-8")
        .body(text.into())
}

/// Shows an attachment if that is safe, else has it saved.
pub(super) fn attachment(attachment: Attachment) -> HttpResponse {
    let kind = attachment.content_type.as_str();
    let shown = SHOWN.contains(&kind);
    let policy = if shown { SHOWN_POLICY } else { SAVED_POLICY };
    let disposition = if shown { "inline" } else { "attachment" };
    let name = percent_encoded(&attachment.display_name());
    let content_type = match kind.strip_prefix("text/") {
        Some(_) => format!("{kind}; charset=utf-8"),
        None => kind.to_owned(),
    };
    let is_type = |c: char| c.is_ascii_alphanumeric() || "/.+-_;= ".contains(c);
    HttpResponse::Ok()
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .insert_header((CONTENT_DISPOSITION, format!("{disposition}; filename*=UTF-8''{name}")))
        .content_type(match content_type.chars().all(is_type) {
            true => content_type,
            false => "application/octet-stream".to_owned(),
        })
        .body(attachment.bytes)
}

/// For `filename*` (RFC 8187), and for a URL's path.
pub(super) fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => (byte as char).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
