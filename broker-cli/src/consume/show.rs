//! How a record is printed.

use std::io::Write;

use broker::Record;

use crate::out::{DIM, KEY, paint};
use crate::record::Shown;
use crate::text::{printable, time};

pub const TOKENS: &str = "\
Tokens of a format:
  %t topic   %p partition   %o offset   %T time in ms since 1970
  %k key     %K its length, -1 without a key
  %s value   %S its length
  %h headers: a=b,c=d       %% a percent sign
  \\n \\r \\t \\\\ \\xHH        nothing is added at the end";

pub enum Show {
    Human { colours: bool },
    Json,
    Format(Format),
}

impl Show {
    pub fn write(&self, record: &Record, into: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Show::Human { colours } => writeln!(into, "{}", human(record, *colours))?,
            Show::Json => {
                serde_json::to_writer(&mut *into, &Shown::whole(record))?;
                into.push(b'\n');
            }
            Show::Format(format) => format.write(record, into),
        }
        Ok(())
    }
}

/// Where and when, and the key.
pub fn place(record: &Record, colours: bool) -> String {
    let at = format!(
        "{}/{}@{}  {}",
        record.topic(),
        record.partition(),
        record.offset(),
        time(record.published_at())
    );
    let at = paint(colours, DIM, at);
    match record.key() {
        Some(key) => format!("{at}  {}", paint(colours, KEY, printable(key))),
        None => at,
    }
}

fn human(record: &Record, colours: bool) -> String {
    let mut line = format!("{}  {}", place(record, colours), printable(record.value()));
    let headers = headers(record);
    if !headers.is_empty() {
        line.push_str("  ");
        line.push_str(&paint(colours, DIM, printable(headers.as_bytes())));
    }
    line
}

fn headers(record: &Record) -> String {
    record.headers().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// A format, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Token(char),
}

impl Format {
    pub fn parse(text: &str) -> Result<Format, String> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                '%' => match chars.next() {
                    Some('%') => plain.push(b'%'),
                    Some(token) if "tpoTkKsSh".contains(token) => {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        pieces.push(Piece::Token(token));
                    }
                    Some(other) => return Err(format!("%{other} is no token\n{TOKENS}")),
                    None => return Err(format!("% alone at the end\n{TOKENS}")),
                },
                '\\' => plain.push(escape(&mut chars)?),
                char => plain.extend(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        pieces.push(Piece::Text(plain));
        Ok(Format(pieces))
    }

    fn write(&self, record: &Record, into: &mut Vec<u8>) {
        for piece in &self.0 {
            let token = match piece {
                Piece::Text(text) => {
                    into.extend_from_slice(text);
                    continue;
                }
                Piece::Token(token) => token,
            };
            let text = match token {
                'k' => {
                    into.extend_from_slice(record.key().unwrap_or_default());
                    continue;
                }
                's' => {
                    into.extend_from_slice(record.value());
                    continue;
                }
                't' => record.topic().to_owned(),
                'p' => record.partition().to_string(),
                'o' => record.offset().to_string(),
                'T' => record.published_at().timestamp_millis().to_string(),
                'K' => record.key().map_or("-1".into(), |key| key.len().to_string()),
                'S' => record.value().len().to_string(),
                _ => headers(record),
            };
            into.extend_from_slice(text.as_bytes());
        }
    }
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = chars.take(2).take_while(char::is_ascii_hexdigit).collect();
            match u8::from_str_radix(&digits, 16) {
                Ok(byte) if digits.len() == 2 => Ok(byte),
                _ => Err(format!("\\x{digits} is no byte\n{TOKENS}")),
            }
        }
        other => Err(format!("\\{} is no escape\n{TOKENS}", other.unwrap_or(' '))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read() {
        let format = Format::parse("%o: %s%%\\n\\x00").unwrap();
        let text = |text: &[u8]| Piece::Text(text.to_vec());
        let wanted = [text(b""), Piece::Token('o'), text(b": "), Piece::Token('s'), text(b"%\n\0")];
        assert_eq!(format.0, wanted);
        for wrong in ["%q", "%", "\\q", "\\", "\\x0", "\\xzz"] {
            assert!(Format::parse(wrong).unwrap_err().contains("Tokens"), "{wrong}");
        }
    }
}
