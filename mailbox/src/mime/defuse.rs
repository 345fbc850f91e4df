//! Keeps the MIME parser from three things that hostile mails do to it.
//!
//! `mail-parser` 0.11 makes a nested `Message` of each mail within a mail, to
//! any depth, and drops them recursively: ten megabytes of `Content-Type:
//! message/rfc822` would overflow the stack. A nested mail is an attachment
//! here anyway, so its type is renamed to one that the parser leaves be.
//!
//! It looks through all that is left of a mail for each multipart's first
//! boundary: a hundred thousand multiparts that never begin take it an hour.
//! So only the first of them may be multiparts.
//!
//! And it compares each parameter of a field with all before it: a field of a
//! million is renamed whole.
//!
//! Every new name is as long as the old, so offsets hold in the original.

use std::borrow::Cow;

/// Subtypes that make the parser descend, and what they are renamed to.
const RENAMED: [(&str, &str); 3] =
    [("rfc822", "rfc82x"), ("global", "globax"), ("digest", "digesx")];

/// Multiparts that a mail may have; those of people have three or four.
const MAX_MULTIPARTS: usize = 100;
const MULTIPART: (&str, &str) = ("multipart", "multiparx");

/// Longest field with parameters, in bytes.
const MAX_FIELD: usize = 16 * 1024;
const FIELDS: [&str; 2] = ["content-type", "content-disposition"];

/// `raw` with what is dangerous renamed, byte for byte as long.
pub(super) fn defuse(raw: &[u8]) -> Cow<'_, [u8]> {
    let mut raw = Cow::Borrowed(raw);
    let mut at = 0;
    let mut multiparts = 0;
    while at < raw.len() {
        let Some((name, value)) = field(&raw, at) else {
            at = line_end(&raw, at);
            continue;
        };
        let end = value_end(&raw, value);
        if end - value > MAX_FIELD {
            overwrite(&mut raw, name, "x");
        }
        // The same words may be part of a boundary, after the type.
        let kind = value..position(&raw[value..end], b';').map_or(end, |length| value + length);
        for (name, renamed) in RENAMED {
            if let Some(found) = find(&raw[kind.clone()], name) {
                overwrite(&mut raw, value + found, renamed);
            }
        }
        if let Some(found) = find(&raw[kind], MULTIPART.0) {
            multiparts += 1;
            if multiparts > MAX_MULTIPARTS {
                overwrite(&mut raw, value + found, MULTIPART.1);
            }
        }
        at = end;
    }
    raw
}

/// The name that `content_type` had before [`defuse`].
pub(super) fn restore(content_type: &str) -> String {
    let restored = RENAMED.iter().find_map(|(name, renamed)| {
        content_type.strip_suffix(renamed).map(|head| format!("{head}{name}"))
    });
    restored.unwrap_or_else(|| content_type.to_owned())
}

/// Where name and value begin, if the line at `at` is one of those fields.
fn field(raw: &[u8], at: usize) -> Option<(usize, usize)> {
    let blanks = |at: usize| {
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        raw.get(at..).unwrap_or_default().iter().take_while(is_blank).count()
    };
    let start = at + blanks(at);
    let is_named = |name: &&&str| {
        let found = raw.get(start..start + name.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
    };
    let end = start + FIELDS.iter().find(is_named)?.len();
    let colon = end + blanks(end);
    (raw.get(colon) == Some(&b':')).then_some((start, colon + 1))
}

/// Where the value at `start` ends, the lines that it is folded onto included.
fn value_end(raw: &[u8], start: usize) -> usize {
    let mut end = line_end(raw, start);
    while matches!(raw.get(end), Some(b' ' | b'\t')) {
        end = line_end(raw, end);
    }
    end
}

fn line_end(raw: &[u8], at: usize) -> usize {
    position(&raw[at..], b'\n').map_or(raw.len(), |length| at + length + 1)
}

fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

fn find(value: &[u8], name: &str) -> Option<usize> {
    value.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name.as_bytes()))
}

fn overwrite(raw: &mut Cow<'_, [u8]>, at: usize, name: &str) {
    raw.to_mut()[at..at + name.len()].copy_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_types_and_nothing_else() {
        let raw =
            b"Subject: message/rfc822\r\ncontent-type:\r\n Multipart/Digest; boundary=digest\r\n";
        let defused = String::from_utf8(defuse(raw).into_owned()).unwrap();
        assert_eq!(
            defused,
            "Subject: message/rfc822\r\ncontent-type:\r\n Multipart/digesx; boundary=digest\r\n"
        );
        assert!(matches!(defuse(b"Content-Type: text/plain\r\n\r\nrfc822"), Cow::Borrowed(_)));
        assert_eq!(restore("message/rfc82x"), "message/rfc822");
        assert_eq!(restore("text/plain"), "text/plain");
    }

    #[test]
    fn neither_depth_nor_number_is_a_danger() {
        let line = b"Content-Type: message/rfc822\r\n\r\n";
        super::super::summary(&line.repeat(200_000));
        let digest = b"Content-Type: multipart/digest; boundary=a\r\n\r\n--a\r\n\r\n";
        super::super::summary(&digest.repeat(20_000));
        let lost = b"--a\r\nContent-Type: multipart/mixed; boundary=lost\r\n\r\n";
        let lost =
            [&b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"[..], &lost.repeat(20_000)];
        super::super::summary(&lost.concat());
        let field = [&b"Content-Disposition: a"[..], &b"; a*1*=x".repeat(400_000)];
        super::super::summary(&field.concat());
    }
}
