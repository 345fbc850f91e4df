//! How values look, and how limits are written.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// Bytes on one line of a terminal: control characters, which could move its cursor or end
/// the line, are written out.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for char in String::from_utf8_lossy(bytes).chars() {
        match char.is_control() {
            true => text.extend(char.escape_default()),
            false => text.push(char),
        }
    }
    text
}

pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A span as people say it.
pub fn span(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 100.0 * 60.0 => format!("{:.1} min", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86400.0),
    }
}

pub fn plural(n: u64, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// A limit that may be lifted: `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit<T>(pub Option<T>);

/// `7d`, `12h`, `30m`, `10s` or `none`.
pub fn duration(text: &str) -> Result<Limit<Duration>, String> {
    const UNITS: [(&str, u64); 4] = [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)];
    let wrong = || format!("{text:?} is no span of time: 7d, 12h, 30m, 10s or none");
    limit(text, &UNITS).map(|seconds| Limit(seconds.map(Duration::from_secs))).ok_or_else(wrong)
}

/// `10GiB`, `500MB`, a number of bytes or `none`.
pub fn bytes(text: &str) -> Result<Limit<u64>, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("", 1),
    ];
    let wrong = || format!("{text:?} is no size: 10GiB, 500MB, a number of bytes or none");
    limit(text, &UNITS).map(Limit).ok_or_else(wrong)
}

fn limit(text: &str, units: &[(&str, u64)]) -> Option<Option<u64>> {
    if text == "none" {
        return Some(None);
    }
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some(Some(number.parse::<u64>().ok()?.checked_mul(*factor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        assert_eq!(duration("7d"), Ok(Limit(Some(Duration::from_secs(7 * 86400)))));
        assert_eq!(duration("none"), Ok(Limit(None)));
        assert_eq!(bytes("2MiB"), Ok(Limit(Some(2 << 20))));
        assert_eq!(bytes("17"), Ok(Limit(Some(17))));
        for text in ["", "d", "7", "-1d", "7 d", "99999999999999999999s", "7w"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(bytes("1.5GB").is_err());
    }

    #[test]
    fn a_value_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2J\nü".as_bytes()), "a\\u{1b}[2J\\nü");
        assert_eq!(printable(&[b'a', 0xff]), "a\u{fffd}");
    }

    #[test]
    fn spans_are_told() {
        for (seconds, told) in [(0.04, "0.0 s"), (90.0, "90.0 s"), (600.0, "10.0 min")] {
            assert_eq!(span(seconds), told);
        }
    }
}
