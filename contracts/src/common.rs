//! Values that several events carry.

use serde::{Deserialize, Serialize};

/// One line of text: not blank, at most 200 characters, no control characters. It may end
/// up in a mail's header or on paper, so a record with anything else is refused when it is
/// decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

/// A mail address as far as it can be told without asking its server: at most 254
/// characters, printable ASCII without spaces, one part on each side of the last `@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Email(String);

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidText {
    /// Empty, or nothing but white space.
    Blank,
    /// More characters than this.
    TooLong(usize),
    /// A control character, a line or paragraph separator, or one that reverses the text.
    ControlCharacter,
    /// Not a mail address.
    NoAddress,
}

impl std::fmt::Display for InvalidText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InvalidText::Blank => write!(f, "must not be blank"),
            InvalidText::TooLong(most) => write!(f, "must have at most {most} characters"),
            InvalidText::ControlCharacter => write!(f, "must not contain control characters"),
            InvalidText::NoAddress => write!(f, "must be a mail address such as ada@example.org"),
        }
    }
}

impl std::error::Error for InvalidText {}

impl Text {
    /// In Unicode characters.
    pub const MAX_CHARS: usize = 200;
    /// What a text looks like, as ECMA-262 and JSON Schema write it: for API descriptions.
    pub const PATTERN: &str = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*[^\s\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069][^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$";
}

impl Email {
    /// As RFC 5321 limits a path.
    pub const MAX_CHARS: usize = 254;
    /// What a mail address looks like, as ECMA-262 and JSON Schema write it: for API descriptions.
    pub const PATTERN: &str = "^[!-~]{1,64}@[!-?A-~]+$";
}

fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl TryFrom<String> for Text {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        if text.trim().is_empty() {
            return Err(InvalidText::Blank);
        }
        if text.chars().count() > Text::MAX_CHARS {
            return Err(InvalidText::TooLong(Text::MAX_CHARS));
        }
        if text.chars().any(is_control) {
            return Err(InvalidText::ControlCharacter);
        }
        Ok(Text(text))
    }
}

impl TryFrom<String> for Email {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, InvalidText> {
        if text.len() > Email::MAX_CHARS {
            return Err(InvalidText::TooLong(Email::MAX_CHARS));
        }
        if text.chars().any(is_control) {
            return Err(InvalidText::ControlCharacter);
        }
        match text.rsplit_once('@') {
            Some((local, domain))
                if !local.is_empty()
                    && local.len() <= 64
                    && !domain.is_empty()
                    && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Ok(Email(text))
            }
            _ => Err(InvalidText::NoAddress),
        }
    }
}

/// As text, and from it where it is valid.
macro_rules! text {
    ($($type:ident),+) => {
        $(impl $type {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<$type> for String {
            fn from(text: $type) -> String {
                text.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                text.to_owned().try_into()
            }
        })+
    };
}
text!(Text, Email);

/// Who ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// As it is to stand on mail and paper.
    pub name: Text,
    /// Where mail goes.
    pub email: Email,
}

/// Where a parcel and an invoice go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostalAddress {
    /// Street and number.
    pub street: Text,
    /// Postal code.
    pub postal_code: Text,
    /// City.
    pub city: Text,
    /// ISO 3166-1 alpha-2, as `DE`.
    pub country: Text,
}

/// Amounts in minor units of the currency (cents).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Total {
    /// Without tax.
    pub net: i64,
    /// Tax.
    pub tax: i64,
    /// What is paid: net and tax.
    pub gross: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_could_forge_a_header_is_refused() {
        for text in ["Ada\r\nBcc: x@y.z", "Ada\0", "a\u{85}b", "a\u{2028}b", "\u{202e}adA"] {
            assert_eq!(text.parse::<Text>(), Err(InvalidText::ControlCharacter), "{text:?}");
        }
        assert_eq!(" \u{a0} ".parse::<Text>(), Err(InvalidText::Blank));
        assert_eq!("x".repeat(201).parse::<Text>(), Err(InvalidText::TooLong(200)));
        assert!("Ægir Þórsson-O’Neil".parse::<Text>().is_ok());
        let error = serde_json::from_str::<Customer>(r#"{"name":"A\nB","email":"a@b"}"#);
        assert!(error.unwrap_err().to_string().contains("control characters"));
    }

    #[test]
    fn an_address_has_two_sides() {
        for text in ["", "ada", "@b", "a@", "a b@c", "ä@b"] {
            assert_eq!(text.parse::<Email>(), Err(InvalidText::NoAddress), "{text:?}");
        }
        assert_eq!("a@b\n".parse::<Email>(), Err(InvalidText::ControlCharacter));
        assert!("ada+tea@example.org".parse::<Email>().is_ok());
    }

    proptest::proptest! {
        /// What a description says is what is checked.
        #[test]
        fn the_patterns_are_the_rules(
            text in r"[ a\u{0}\u{1f}\u{7f}\u{85}\u{a0}\u{2028}\u{202e}\u{2066}\u{2070}\u{fffd}]{0,4}",
            address in "[a @.~!ä\n]{0,5}",
        ) {
            let matches = |pattern: &str, text: &str| regex::Regex::new(pattern).unwrap().is_match(text);
            proptest::prop_assert_eq!(matches(Text::PATTERN, &text), text.parse::<Text>().is_ok());
            proptest::prop_assert_eq!(matches(Email::PATTERN, &address), address.parse::<Email>().is_ok());
        }
    }
}
