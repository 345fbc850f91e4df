//! Where to begin.

use std::str::FromStr;

use broker::{Broker, Position, Start};

use crate::failure::Usage;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    At(Position),
    /// The last so many of each partition.
    Last(u64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        match text.strip_prefix('-').map(str::parse) {
            Some(Ok(last)) => Ok(From::Last(last)),
            _ => {
                text.parse().map(From::At).map_err(|wrong| format!("{wrong}, or -N for the last N"))
            }
        }
    }
}

impl From {
    /// Partitions of a topic, and the offset to begin at.
    pub async fn find(
        self,
        broker: &Broker,
        topic: &str,
        partition: Option<i32>,
    ) -> Result<Vec<(i32, u64)>, broker::Error> {
        let at = match self {
            From::At(position) => position,
            From::Last(_) => Position::Latest,
        };
        let mut offsets = broker.offsets(topic, partition, at).await?;
        if let From::Last(last) = self {
            let starts = broker.offsets(topic, partition, Position::Earliest).await?;
            for ((_, offset), (_, start)) in offsets.iter_mut().zip(starts) {
                *offset = offset.saturating_sub(last).max(start);
            }
        }
        Ok(offsets)
    }

    /// Where a group begins that is new.
    pub fn of_group(self) -> Result<Start, Usage> {
        match self {
            From::At(Position::Earliest) => Ok(Start::Earliest),
            From::At(Position::Latest) => Ok(Start::Latest),
            _ => Err(Usage(
                "a group begins at start or end, and goes on where it was: broker seek moves it"
                    .into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_read() {
        assert_eq!("-5".parse(), Ok(From::Last(5)));
        assert_eq!("5".parse(), Ok(From::At(Position::Offset(5))));
        assert_eq!("end".parse(), Ok(From::At(Position::Latest)));
        for wrong in ["", "-", "--5", "-x", "tomorrow"] {
            assert!(wrong.parse::<From>().unwrap_err().contains("is no position"), "{wrong}");
        }
    }
}
