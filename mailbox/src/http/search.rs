//! Mailpit's search: words that must all be met, some of them with a prefix.

use crate::mail::{Address, Mail};

/// A search, parsed. Letters match in either case, a word anywhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Search(Vec<Term>);

#[derive(Debug, PartialEq, Eq)]
struct Term {
    /// `-word` or `!word`: must not be met.
    exclude: bool,
    field: Field,
    /// In lower case.
    word: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    To,
    From,
    Cc,
    Bcc,
    ReplyTo,
    Addressed,
    Subject,
    MessageId,
    IsRead,
    IsUnread,
    HasAttachment,
    /// Any of the above, or the text.
    Text,
}

const PREFIXES: [(&str, Field); 8] = [
    ("to:", Field::To),
    ("from:", Field::From),
    ("cc:", Field::Cc),
    ("bcc:", Field::Bcc),
    ("reply-to:", Field::ReplyTo),
    ("addressed:", Field::Addressed),
    ("subject:", Field::Subject),
    ("message-id:", Field::MessageId),
];

impl Search {
    pub(super) fn parse(query: &str) -> Search {
        let mut terms: Vec<_> = words(query).iter().filter_map(|word| term(word)).collect();
        // The text may have to be read from disk, so it is looked at last.
        terms.sort_by_key(|term| term.field == Field::Text);
        Search(terms)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn meets(&self, mail: &Mail) -> bool {
        self.0.iter().all(|term| term.meets(mail) != term.exclude)
    }
}

/// Splits at spaces, except between double quotes, which are left out.
fn words(query: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in query.chars() {
        match (c, words.last_mut()) {
            ('"', _) => quoted = !quoted,
            (c, _) if c.is_whitespace() && !quoted => words.push(String::new()),
            (c, Some(word)) => word.extend(c.to_lowercase()),
            (_, None) => {}
        }
    }
    words
}

fn term(word: &str) -> Option<Term> {
    let rest = word.strip_prefix(['-', '!']).filter(|rest| !rest.is_empty());
    let (exclude, word) = (rest.is_some(), rest.unwrap_or(word));
    let whole = match word {
        "is:read" => Some(Field::IsRead),
        "is:unread" => Some(Field::IsUnread),
        "has:attachment" | "has:attachments" => Some(Field::HasAttachment),
        _ => None,
    };
    let prefixed =
        || PREFIXES.iter().find_map(|(prefix, field)| Some((*field, word.strip_prefix(prefix)?)));
    let (field, word) = match whole {
        Some(field) => (field, ""),
        None => prefixed().unwrap_or((Field::Text, word)),
    };
    // Message-IDs are kept without the brackets that people copy with them.
    let word = word.trim().trim_start_matches('<').trim_end_matches('>');
    let term = Term { exclude, field, word: word.to_owned() };
    (whole.is_some() || !term.word.is_empty()).then_some(term)
}

impl Term {
    fn meets(&self, mail: &Mail) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.word);
        let names = |list: &[Address]| list.iter().any(|one| has(&one.name) || has(&one.address));
        let from = || names(std::slice::from_ref(&mail.from));
        let addressed = || {
            [&mail.to, &mail.cc, &mail.bcc, &mail.reply_to].into_iter().any(|list| names(list))
                || from()
        };
        match self.field {
            // Beyond Mailpit: recipients that only the envelope names, too.
            Field::To => names(&mail.to) || mail.envelope.to.iter().any(|to| has(to)),
            Field::From => from(),
            Field::Cc => names(&mail.cc),
            Field::Bcc => names(&mail.bcc),
            Field::ReplyTo => names(&mail.reply_to),
            Field::Addressed => addressed(),
            Field::Subject => has(&mail.subject),
            Field::MessageId => has(&mail.message_id),
            Field::IsRead => mail.is_read(),
            Field::IsUnread => !mail.is_read(),
            Field::HasAttachment => mail.attachment_count > 0,
            Field::Text => {
                has(&mail.subject) || has(&mail.message_id) || addressed() || {
                    // A mail dropped since it was listed matches nothing.
                    let content = mail.content().unwrap_or_default();
                    [content.text, content.html].iter().flatten().any(|text| has(text))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_prefixes_quotes_and_exclusions() {
        let term = |exclude, field, word: &str| Term { exclude, field, word: word.into() };
        assert_eq!(
            Search::parse(
                "Hello -TO:a@B.example subject:\"two Words\" message-id:<1@x> is:read to: -"
            ),
            Search(vec![
                term(true, Field::To, "a@b.example"),
                term(false, Field::Subject, "two words"),
                term(false, Field::MessageId, "1@x"),
                term(false, Field::IsRead, ""),
                term(false, Field::Text, "hello"),
                term(false, Field::Text, "-"),
            ])
        );
        assert!(Search::parse(" \"\" to: ").is_empty());
    }
}
