//! The grammar of addresses in MAIL and RCPT (RFC 5321, 4.1.2; RFC 6531).

/// Most octets of a local part, a domain and a whole path (4.5.3.1).
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;
const MAX_PATH: usize = 256;

/// Reads one path off the front of `input`: its address, and what follows.
///
/// The address of the null path `<>` is empty. A source route is read and
/// left out, as the RFC asks. A local part without a domain is an address
/// here; who takes which is not grammar.
pub(crate) fn read(input: &str) -> Option<(&str, &str)> {
    let inner = input.strip_prefix('<')?;
    if let Some(rest) = inner.strip_prefix('>') {
        return Some(("", rest));
    }
    let mailbox = after_route(inner)?;
    let local = local_part(mailbox)?;
    let mut end = local;
    if let Some(rest) = mailbox[local..].strip_prefix('@') {
        end += 1 + domain(rest)?;
    }
    let rest = mailbox[end..].strip_prefix('>')?;
    (local <= MAX_LOCAL && end <= MAX_PATH - 2).then(|| (&mailbox[..end], rest))
}

/// The domain of an address that [`read`] gave, if it has one.
pub(crate) fn domain_of(address: &str) -> Option<&str> {
    // A local part may quote an `@`, a domain never has one.
    address.rsplit_once('@').map(|(_, domain)| domain).filter(|domain| !domain.ends_with('"'))
}

/// `@a.example,@b.example:user@c.example` without the part up to the colon.
fn after_route(input: &str) -> Option<&str> {
    let mut rest = input;
    while let Some(host) = rest.strip_prefix('@') {
        let host = &host[domain(host)?..];
        if let Some(mailbox) = host.strip_prefix(':') {
            return Some(mailbox);
        }
        rest = host.strip_prefix(',').filter(|rest| rest.starts_with('@'))?;
    }
    Some(rest)
}

/// Length of the local part at the front of `input`.
fn local_part(input: &str) -> Option<usize> {
    if input.starts_with('"') { quoted_string(input) } else { dotted(input, is_atext) }
}

/// Length of the domain or address literal at the front of `input`.
fn domain(input: &str) -> Option<usize> {
    let length = if let Some(literal) = input.strip_prefix('[') {
        let end = literal.find(|c: char| !c.is_ascii_graphic() || "[]\\".contains(c))?;
        (end > 0 && literal[end..].starts_with(']')).then_some(end + 2)?
    } else {
        // Underscores are no host name's, and in use all the same.
        dotted(input, |c| c.is_alphanumeric() || c == '-' || c == '_')?
    };
    (length <= MAX_DOMAIN).then_some(length)
}

/// Length of `word.word.word` at the front of `input`, no word being empty.
fn dotted(input: &str, is_word: impl Fn(char) -> bool) -> Option<usize> {
    let end = input.find(|c| c != '.' && !is_word(c)).unwrap_or(input.len());
    input[..end].split('.').all(|word| !word.is_empty()).then_some(end)
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control())
}

/// Length of `"…"`, in which a backslash quotes the character after it.
fn quoted_string(input: &str) -> Option<usize> {
    let mut quoted = false;
    for (at, c) in input.char_indices().skip(1) {
        match c {
            _ if c.is_control() => return None,
            _ if quoted => quoted = false,
            '\\' => quoted = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_rfc_allows() {
        for (input, address) in [
            ("<>", ""),
            ("<postmaster>", "postmaster"),
            ("<a@b.example>", "a@b.example"),
            ("<first.last+tag@b-c.example>", "first.last+tag@b-c.example"),
            ("<\"a b\"@c.example>", "\"a b\"@c.example"),
            ("<\"a@\\\">\"@c.example>", "\"a@\\\">\"@c.example"),
            ("<@r1.example,@r2.example:u@c.example>", "u@c.example"),
            ("<@r1.example:u@c.example>", "u@c.example"),
            ("<u@[127.0.0.1]>", "u@[127.0.0.1]"),
            ("<u@[IPv6:::1]>", "u@[IPv6:::1]"),
            ("<björn@bücher.example>", "björn@bücher.example"),
        ] {
            assert_eq!(read(&format!("{input} SIZE=1")), Some((address, " SIZE=1")), "{input}");
        }
    }

    #[test]
    fn refuses_what_it_does_not() {
        let long_local = format!("<{}@b.example>", "a".repeat(65));
        let long_path = format!("<a@{}example>", "b.".repeat(130));
        for input in [
            "",
            "a@b",
            "<a@b",
            "<a b@c>",
            "<a@>",
            "<@b>",
            "<a..b@c>",
            "<.a@c>",
            "<a.@c>",
            "<a@b..c>",
            "<a@.b>",
            "<\"a@b>",
            "<a@[]>",
            "<a@[b>",
            "<@r:>",
            "<@r,u@c>",
            "<<a@b>>",
            "<a@b@c>",
            "<a\u{7f}@b>",
            &long_local,
            &long_path,
        ] {
            assert_eq!(read(input), None, "{input}");
        }
    }

    #[test]
    fn finds_the_domain() {
        assert_eq!(domain_of("a@b.example"), Some("b.example"));
        assert_eq!(domain_of("\"a@b\"@c.example"), Some("c.example"));
        assert_eq!(domain_of("\"a@b\""), None);
        assert_eq!(domain_of("postmaster"), None);
    }
}
