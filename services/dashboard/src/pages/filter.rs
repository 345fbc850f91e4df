//! Which records the browser shows: by key, and by what is in them.

use broker::Record;
use chassis::Problem;
use serde_json::Value;

use crate::view;

/// Which records are shown.
pub struct Filter<'a> {
    key: &'a str,
    content: Content<'a>,
}

#[derive(Debug, PartialEq, Eq)]
enum Content<'a> {
    Any,
    /// A JSON pointer and what stands there.
    At(&'a str, &'a str),
    Contains(&'a str),
}

impl<'a> Filter<'a> {
    /// # Errors
    /// 400 for what is neither words nor a pointer with a value.
    pub fn new(key: &'a str, content: &'a str) -> Result<Filter<'a>, Problem> {
        let content = match (content.trim(), content.trim().split_once('=')) {
            ("", _) => Content::Any,
            (text, Some((pointer, value))) if text.starts_with('/') => Content::At(pointer, value),
            (text, None) if text.starts_with('/') => {
                return Err(Problem::bad_request(format!(
                    "{:?} is no filter: a JSON pointer, = and a value, as /total/gross=2654, or words",
                    view::cut(text, 60)
                )));
            }
            (text, _) => Content::Contains(text),
        };
        Ok(Filter { key: key.trim(), content })
    }

    pub fn takes(&self, record: &Record) -> bool {
        (self.key.is_empty() || record.key() == Some(self.key.as_bytes()))
            && self.content.is_in(record.value())
    }
}

impl Content<'_> {
    fn is_in(&self, value: &[u8]) -> bool {
        match self {
            Content::Any => true,
            Content::Contains(text) => String::from_utf8_lossy(value).contains(text),
            Content::At(pointer, wanted) => {
                let value: Value = serde_json::from_slice(value).unwrap_or_default();
                match value.pointer(pointer) {
                    Some(Value::String(text)) => text == wanted,
                    Some(found) => serde_json::to_string(found).is_ok_and(|found| found == *wanted),
                    None => false,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_found_by_pointer_or_by_words() {
        let value = br#"{"total": {"gross": 2654}, "customer": {"name": "Ada"}}"#;
        let takes = |text: &str| Filter::new("", text).unwrap().content.is_in(value);
        assert!(takes("/total/gross=2654") && takes("/customer/name=Ada") && takes("Ada"));
        assert!(!takes("/total/gross=2") && !takes("/none=1") && !takes("Bob") && takes(" "));
        assert!(Filter::new("", "/total").is_err());
        assert!(!Content::At("/a", "1").is_in(b"no json"));
    }
}
