//! A record as JSON: what `consume --json` prints and `produce --json` reads.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::text;

/// A record that was read.
#[derive(Serialize)]
pub struct Shown<'a> {
    topic: &'a str,
    partition: i32,
    offset: u64,
    time: String,
    key: Option<Bytes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Bytes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Pairs>,
}

impl<'a> Shown<'a> {
    pub fn whole(record: &'a broker::Record) -> Shown<'a> {
        let pairs = record.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Shown {
            value: Some(Bytes(record.value())),
            headers: Some(Pairs(pairs.collect())),
            ..Shown::place(record)
        }
    }

    /// Which record it is, without what is in it.
    pub fn place(record: &'a broker::Record) -> Shown<'a> {
        Shown {
            topic: record.topic(),
            partition: record.partition(),
            offset: record.offset(),
            time: text::time(record.published_at()),
            key: record.key().map(Bytes),
            value: None,
            headers: None,
        }
    }
}

/// Text as a string, all else as `{"base64": …}`.
pub struct Bytes<'a>(pub &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(self.0))?;
                map.end()
            }
        }
    }
}

/// A record to publish. Where it came from is read over, so that what `consume --json` prints
/// can be published.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    key: Option<Box<RawValue>>,
    value: Box<RawValue>,
    #[serde(default)]
    pub headers: Pairs,
    pub partition: Option<u32>,
    #[serde(rename = "topic")]
    _topic: Option<serde::de::IgnoredAny>,
    #[serde(rename = "offset")]
    _offset: Option<serde::de::IgnoredAny>,
    #[serde(rename = "time")]
    _time: Option<serde::de::IgnoredAny>,
}

impl Given {
    pub fn key(&self) -> Result<Option<Vec<u8>>, String> {
        self.key
            .as_deref()
            .map(|key| read(key).map_err(|error| format!("key: {error}")))
            .transpose()
    }

    pub fn value(&self) -> Result<Vec<u8>, String> {
        read(&self.value).map_err(|error| format!("value: {error}"))
    }
}

/// A string is its text, `{"base64": …}` its bytes, any other JSON its compact text.
fn read(json: &RawValue) -> Result<Vec<u8>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Base64 {
        base64: String,
    }

    let json = json.get();
    if json.starts_with('"') {
        let text: String = serde_json::from_str(json).map_err(|error| error.to_string())?;
        return Ok(text.into_bytes());
    }
    match serde_json::from_str::<Base64>(json) {
        Ok(Base64 { base64 }) => STANDARD.decode(base64).map_err(|error| error.to_string()),
        Err(_) => Ok(compact(json).into_bytes()),
    }
}

/// Without the space between tokens; numbers and the order of keys stay as they are.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    json.chars()
        .filter(|char| {
            let space = !quoted && char.is_ascii_whitespace();
            if !escaped && *char == '"' {
                quoted = !quoted;
            }
            escaped = quoted && !escaped && *char == '\\';
            !space
        })
        .collect()
}

/// Headers in their order, a name perhaps more than once.
#[derive(Debug, Default)]
pub struct Pairs(pub Vec<(String, String)>);

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of header names and texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(json: &str) -> Given {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_value_is_text_bytes_or_json() {
        let value = |json: &str| given(json).value();
        assert_eq!(value(r#"{"value": "a\nb"}"#), Ok(b"a\nb".to_vec()));
        assert_eq!(value(r#"{"value": {"base64": "AP8="}}"#), Ok(vec![0, 255]));
        let json = r#"{"value": { "z": 1.10, "a": [ 1, "x \" y" ], "\\": "" }}"#;
        let text = r#"{"z":1.10,"a":[1,"x \" y"],"\\":""}"#;
        assert_eq!(value(json), Ok(text.as_bytes().to_vec()));
        assert!(value(r#"{"value": {"base64": "?"}}"#).unwrap_err().starts_with("value: "));
    }

    #[test]
    fn headers_keep_their_order() {
        let headers = given(r#"{"value":"","headers":{"b":"1","a":"2","b":"3"}}"#).headers;
        assert_eq!(serde_json::to_string(&headers).unwrap(), r#"{"b":"1","a":"2","b":"3"}"#);
        for wrong in [r#"{"value":"","headers":{"b":1}}"#, r#"{"vale":""}"#, r#"{}"#, "7"] {
            assert!(serde_json::from_str::<Given>(wrong).is_err(), "{wrong}");
        }
    }
}
