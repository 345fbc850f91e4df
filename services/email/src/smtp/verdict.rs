//! What a server's code means for a mail: RFC 5321's reply codes, and RFC 3463's enhanced
//! ones where the server gives them.

/// What to do about a mail that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// This mail's address or content will never do.
    Refused,
    /// The same, unless the server turns everybody away with that code.
    RefusedUnlessClosed,
    /// This mail not now.
    NotNow,
    /// No mail now: the trouble is the session's, as a log-in that failed. Were it taken for
    /// the mails', one wrong password would bounce all that is queued.
    NoServer,
}

/// `code` is missing where the server said nothing, or nothing to be understood.
pub fn judge(code: Option<u16>, words: &str) -> Verdict {
    let Some(code) = code else { return Verdict::NoServer };
    match (code, enhanced(words)) {
        // Shutting down; log-in or TLS is not to be had now.
        (421 | 432 | 454, _) => Verdict::NoServer,
        (400..500, _) => Verdict::NotNow,
        // We are not who may send here: TLS or a log-in is needed or failed, our own address
        // is not liked, a command is not known.
        (500 | 502..=504 | 521 | 523..=525 | 530 | 532 | 534 | 535 | 538, _) => Verdict::NoServer,
        (_, Some((1, 7 | 8))) => Verdict::NoServer,
        // The mail system itself, but for 5.3.4: the message is too large for it.
        (_, Some((3, detail))) if detail != 4 => Verdict::NoServer,
        (500..600, Some((1 | 2 | 6, _))) => Verdict::Refused,
        (500..600, _) => Verdict::RefusedUnlessClosed,
        _ => Verdict::NoServer,
    }
}

/// Subject and detail of an enhanced code of class 5 behind the code: of `550 5.1.1 no`, 1
/// and 1.
fn enhanced(words: &str) -> Option<(u16, u16)> {
    let mut numbers = words.split_whitespace().nth(1)?.split('.');
    let (class, subject, detail) = (numbers.next()?, numbers.next()?, numbers.next()?);
    (class == "5" && numbers.next().is_none())
        .then(|| Some((subject.parse().ok()?, detail.parse().ok()?)))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(words: &str) -> Verdict {
        judge(words.get(..3).and_then(|code| code.parse().ok()), words)
    }

    #[test]
    fn an_address_that_is_refused_for_good_is_the_mails_trouble() {
        for words in [
            "550 5.1.1 no such user",
            "553 5.1.3 bad address",
            "501 5.1.3 bad address",
            "552 5.2.2 mailbox full",
            "554 5.6.0 bad content",
        ] {
            assert_eq!(judged(words), Verdict::Refused, "{words}");
        }
        for words in [
            "550 no",
            "551 not local",
            "552 5.3.4 too big",
            "553 no",
            "554 no",
            "555 no",
            "556 no",
            "550 5.7.1 spam",
            "550 5.4.4 no route",
            "550 5.1 no",
        ] {
            assert_eq!(judged(words), Verdict::RefusedUnlessClosed, "{words}");
        }
    }

    #[test]
    fn what_is_only_now_is_not_for_good() {
        for words in ["450 4.2.1 busy", "451 greylisted", "452 full", "442 lost"] {
            assert_eq!(judged(words), Verdict::NotNow, "{words}");
        }
    }

    #[test]
    fn the_sessions_trouble_is_no_mails_fault() {
        for words in [
            "421 closing",
            "454 4.7.0 log-in not now",
            "500 what?",
            "503 bad sequence",
            "521 no mail here",
            "530 5.7.0 must issue STARTTLS first",
            "534 5.7.9 mechanism too weak",
            "535 5.7.8 wrong password",
            "538 5.7.11 encryption required",
            "550 5.1.8 bad sender domain",
            "550 5.3.2 not accepting mail",
            "network error: connection refused",
        ] {
            assert_eq!(judged(words), Verdict::NoServer, "{words}");
        }
    }
}
