//! The grammar of command lines.
//!
//! `mailin` reads commands too, but not the null path, quoted local parts,
//! source routes or any parameter besides BODY, and it calls every mistake a
//! `500`. So lines are read here, and its state machine is given a plain form.

use super::path;
use super::reply::{self, Reply};

/// A command that is well formed; whether it may come now is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Helo(String),
    Ehlo(String),
    Mail(MailFrom),
    Rcpt(String),
    Data,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
}

/// `MAIL FROM` with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MailFrom {
    /// Empty for the null reverse-path, that of bounces.
    pub(crate) address: String,
    /// `SIZE=`: what the client says that it will send.
    pub(crate) size: Option<u64>,
    pub(crate) eight_bit: bool,
    pub(crate) utf8: bool,
}

/// Reads a command from a line without its CR LF.
pub(crate) fn parse(line: &[u8]) -> Result<Command, Reply> {
    let line = std::str::from_utf8(line).map_err(|_| reply::NOT_TEXT)?;
    if line.chars().any(char::is_control) {
        return Err(reply::NOT_TEXT);
    }
    let line = line.trim_end_matches(' ');
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim_start_matches(' ');
    let alone = |command| if argument.is_empty() { Ok(command) } else { Err(reply::NO_ARGUMENT) };
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => hello(argument).map(Command::Helo),
        "EHLO" => hello(argument).map(Command::Ehlo),
        "MAIL" => mail(argument).map(Command::Mail),
        "RCPT" => rcpt(argument).map(Command::Rcpt),
        "DATA" => alone(Command::Data),
        "RSET" => alone(Command::Rset),
        "QUIT" => alone(Command::Quit),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "HELP" => Ok(Command::Help),
        "EXPN" | "STARTTLS" | "AUTH" | "BDAT" | "TURN" | "ETRN" => Err(reply::NOT_OFFERED),
        _ => Err(reply::UNKNOWN_COMMAND),
    }
}

fn hello(argument: &str) -> Result<String, Reply> {
    // Clients give all kinds of names; one word is all that is asked of them.
    if argument.is_empty() || argument.contains(' ') || argument.len() > 255 {
        return Err(reply::HELLO_SYNTAX);
    }
    Ok(argument.to_owned())
}

fn mail(argument: &str) -> Result<MailFrom, Reply> {
    let input = after_keyword(argument, "FROM:").ok_or(reply::MAIL_SYNTAX)?;
    let (address, rest) = path::read(input).ok_or(reply::BAD_SENDER)?;
    if !address.is_empty() && path::domain_of(address).is_none() {
        return Err(reply::BAD_SENDER);
    }
    let mut mail = MailFrom { address: address.to_owned(), ..MailFrom::default() };
    for (key, value) in parameters(rest).ok_or(reply::MAIL_SYNTAX)? {
        match (key.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(value)) => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let size = value.parse().ok().filter(|_| digits);
                mail.size = Some(size.ok_or(reply::BAD_PARAMETER_VALUE)?);
            }
            ("BODY", Some(value)) => match value.to_ascii_uppercase().as_str() {
                "7BIT" => mail.eight_bit = false,
                "8BITMIME" => mail.eight_bit = true,
                _ => return Err(reply::BAD_PARAMETER_VALUE),
            },
            ("SMTPUTF8", None) => mail.utf8 = true,
            _ => return Err(reply::UNKNOWN_PARAMETER),
        }
    }
    if !mail.utf8 && !mail.address.is_ascii() {
        return Err(reply::NEEDS_UTF8);
    }
    Ok(mail)
}

fn rcpt(argument: &str) -> Result<String, Reply> {
    let input = after_keyword(argument, "TO:").ok_or(reply::RCPT_SYNTAX)?;
    let (address, rest) = path::read(input).ok_or(reply::BAD_RECIPIENT)?;
    // The one name that every server takes without a domain (4.1.1.3).
    if path::domain_of(address).is_none() && !address.eq_ignore_ascii_case("postmaster") {
        return Err(reply::BAD_RECIPIENT);
    }
    match parameters(rest).ok_or(reply::RCPT_SYNTAX)?.next() {
        None => Ok(address.to_owned()),
        Some(_) => Err(reply::UNKNOWN_PARAMETER),
    }
}

/// What follows `keyword`; a space after the colon is wrong, and common.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches(' '))
}

/// The `key=value` words after a path, which a space sets off.
fn parameters(rest: &str) -> Option<impl Iterator<Item = (&str, Option<&str>)>> {
    (rest.is_empty() || rest.starts_with(' ')).then(|| {
        rest.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_commands_in_any_case_with_parameters() {
        let mail =
            MailFrom { address: "a@b.example".into(), size: Some(12), eight_bit: true, utf8: true };
        assert_eq!(
            parse(b"mail from: <a@b.example>  size=12 Body=8BitMime smtputf8 "),
            Ok(Command::Mail(mail))
        );
        assert_eq!(parse(b"MAIL FROM:<>"), Ok(Command::Mail(MailFrom::default())));
        assert_eq!(parse(b"rcpt TO:<Postmaster>"), Ok(Command::Rcpt("Postmaster".into())));
        assert_eq!(parse(b"noop whatever"), Ok(Command::Noop));
        assert_eq!(parse(b"quit "), Ok(Command::Quit));
    }

    #[test]
    fn says_what_is_wrong() {
        for (line, code) in [
            (&b"BOGUS"[..], 500),
            (b"", 500),
            (b"\xff\xfe", 500),
            (b"NOOP \0", 500),
            (b"EHLO", 501),
            (b"EHLO a b", 501),
            (b"MAIL", 501),
            (b"MAIL TO:<a@b>", 501),
            (b"MAIL FROM:a@b", 501),
            (b"MAIL FROM:<a>", 501),
            (b"MAIL FROM:<a@b>x", 501),
            (b"MAIL FROM:<a@b> SIZE=-1", 501),
            (b"MAIL FROM:<a@b> SIZE=+1", 501),
            (b"MAIL FROM:<a@b> BODY=9BIT", 501),
            (b"MAIL FROM:<a@b> RET=FULL", 555),
            ("MAIL FROM:<ä@b>".as_bytes(), 553),
            (b"RCPT TO:<>", 501),
            (b"RCPT TO:<user>", 501),
            (b"RCPT TO:<a@b> NOTIFY=NEVER", 555),
            (b"DATA now", 501),
            (b"STARTTLS", 502),
            (b"AUTH PLAIN AGEAYg==", 502),
            ("MAIL FRÖM:<a@b>".as_bytes(), 501),
        ] {
            assert_eq!(
                parse(line).map_err(|reply| reply.code),
                Err(code),
                "{}",
                line.escape_ascii()
            );
        }
    }
}
