//! What goes into a topic and what comes out, and how records lie in a batch.

use bytes::Bytes;
use chrono::{DateTime, Utc};

/// The most bytes that one record may take: key, headers and value together.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// The most records in one batch.
pub(crate) const MAX_BATCH_RECORDS: usize = 10_000;
/// The most bytes in one batch; a batch of one record may reach [`MAX_RECORD_BYTES`] only.
pub(crate) const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// A record to publish. Topic and value are required; key, partition and headers are not.
///
/// The partition is the explicit one where given, else murmur2 of the key as Kafka's clients
/// compute it, else one that the batch sticks to.
#[derive(Debug, Clone)]
pub struct NewRecord {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) key: Option<Bytes>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) value: Bytes,
}

impl NewRecord {
    /// A record with neither key, partition nor headers.
    pub fn new(topic: impl Into<String>, value: impl Into<Bytes>) -> Self {
        NewRecord {
            topic: topic.into(),
            partition: None,
            key: None,
            headers: Vec::new(),
            value: value.into(),
        }
    }

    /// Records of one key share a partition, and so an order.
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Fixes the partition, counted from 0. A fixed partition costs parallelism: prefer a key.
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(i32::try_from(partition).unwrap_or(i32::MAX));
        self
    }

    /// Adds a header: a name of 1 to 255 bytes and a UTF-8 value of at most 65,535 bytes.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The topic that it goes to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn encoded_len(&self) -> usize {
        4 + self.key.as_ref().map_or(0, Bytes::len) + self.headers_len() + self.value.len()
    }

    fn headers_len(&self) -> usize {
        self.headers.iter().map(|(name, value)| 3 + name.len() + value.len()).sum()
    }

    /// Whether it can be published at all; [`publish`](crate::Broker::publish) asks the same of
    /// each record. Whether the topic has its partition, only the log knows.
    ///
    /// # Errors
    /// What is impossible about it.
    pub fn check(&self) -> Result<(), InvalidRecord> {
        if self.key.as_ref().is_some_and(|key| key.len() >= usize::from(u16::MAX)) {
            return Err(InvalidRecord::KeyTooLong);
        }
        for (name, value) in &self.headers {
            if name.is_empty() || name.len() > 255 || value.len() > usize::from(u16::MAX) {
                return Err(InvalidRecord::Header(name.chars().take(64).collect()));
            }
        }
        if self.headers_len() > usize::from(u16::MAX) {
            return Err(InvalidRecord::HeadersTooLong);
        }
        if self.encoded_len() > MAX_RECORD_BYTES {
            return Err(InvalidRecord::TooLarge(self.encoded_len()));
        }
        Ok(())
    }

    /// Appends the record to `body`; see `migrations/log/0002_record_batch.sql` for the form.
    /// The lengths were checked.
    fn encode(&self, body: &mut Vec<u8>) {
        let key = self.key.as_ref().map_or(0, |key| key.len() as u16 + 1);
        body.extend_from_slice(&key.to_be_bytes());
        body.extend_from_slice(&(self.headers_len() as u16).to_be_bytes());
        body.extend_from_slice(self.key.as_deref().unwrap_or_default());
        for (name, value) in &self.headers {
            body.push(name.len() as u8);
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(&(value.len() as u16).to_be_bytes());
            body.extend_from_slice(value.as_bytes());
        }
        body.extend_from_slice(&self.value);
    }
}

/// Why a record cannot be published; nothing of its batch was.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// The key is longer than 65,534 bytes.
    #[error("the record's key is longer than 65,534 bytes")]
    KeyTooLong,
    /// A header's name or value has an impossible length.
    #[error("header {0:?}: a name has 1 to 255 bytes and a value at most 65,535")]
    Header(String),
    /// The headers take more than 65,535 bytes.
    #[error("the record's headers take more than 65,535 bytes together")]
    HeadersTooLong,
    /// The record is larger than [`MAX_RECORD_BYTES`].
    #[error(
        "the record has {0} bytes, more than {MAX_RECORD_BYTES}: store the value and publish a reference"
    )]
    TooLarge(usize),
    /// The topic has no such partition.
    #[error("topic {topic:?} has partitions 0 to {last}, not {partition}")]
    Partition {
        /// The topic.
        topic: String,
        /// What was asked for.
        partition: i32,
        /// The highest that there is.
        last: i32,
    },
}

/// Lengths and body of a batch that is being filled.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    pub lens: Vec<u8>,
    pub body: Vec<u8>,
}

impl BatchBuilder {
    pub fn has_room_for(&self, record: &NewRecord) -> bool {
        self.lens.is_empty()
            || (self.lens.len() / 4 < MAX_BATCH_RECORDS
                && self.body.len() + record.encoded_len() <= MAX_BATCH_BYTES)
    }

    pub fn push(&mut self, record: &NewRecord) {
        let before = self.body.len();
        record.encode(&mut self.body);
        self.lens.extend_from_slice(&((self.body.len() - before) as u32).to_be_bytes());
    }
}

/// A record as a consumer sees it.
#[derive(Debug, Clone)]
pub struct Record {
    topic: std::sync::Arc<str>,
    partition: i32,
    offset: u64,
    at: DateTime<Utc>,
    frame: Frame,
}

#[derive(Debug, Clone)]
struct Frame {
    bytes: Bytes,
    key: Option<usize>,
    headers: usize,
}

impl Record {
    /// The topic that it was published to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition, from 0.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Its position in the partition: dense, from 0.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// When it was published, by the server's clock.
    pub fn published_at(&self) -> DateTime<Utc> {
        self.at
    }

    /// The key, where it has one.
    pub fn key(&self) -> Option<&[u8]> {
        self.frame.key.map(|len| &self.frame.bytes[4..4 + len])
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.frame.bytes[self.frame.value_start()..]
    }

    /// The value, without a copy.
    pub fn value_bytes(&self) -> Bytes {
        self.frame.bytes.slice(self.frame.value_start()..)
    }

    /// The headers in the order in which they were published.
    pub fn headers(&self) -> Headers<'_> {
        let start = 4 + self.frame.key.unwrap_or(0);
        Headers { rest: &self.frame.bytes[start..start + self.frame.headers] }
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

impl Frame {
    /// `None` where the lengths inside do not fit the bytes: such a frame was made by
    /// something else than this crate, and is read as a record that is all value.
    fn parse(bytes: &Bytes) -> Option<(Option<usize>, usize)> {
        let key = usize::from(u16::from_be_bytes(bytes.get(0..2)?.try_into().ok()?));
        let headers = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
        let key = key.checked_sub(1);
        (4 + key.unwrap_or(0) + headers <= bytes.len()).then_some((key, headers))
    }

    fn value_start(&self) -> usize {
        4 + self.key.unwrap_or(0) + self.headers
    }
}

/// Iterates over a record's headers as name and value.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = split(self.rest, 1)?;
        let (value, rest) = split(rest, 2)?;
        self.rest = rest;
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?))
    }
}

/// Splits off bytes that are led by their length of `width` bytes.
fn split(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_at_checked(width)?;
    rest.split_at_checked(len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
}

/// A batch as it comes from the server.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub base: i64,
    pub at: DateTime<Utc>,
    pub lens: Vec<u8>,
    pub body: Bytes,
}

impl Batch {
    /// How many records it holds, and so offsets.
    pub fn count(&self) -> usize {
        self.lens.len() / 4
    }

    /// Its records from offset `from` on. Every offset of the batch yields a record whatever
    /// the bytes hold: a skipped one would be a gap.
    pub fn records(
        self,
        topic: &std::sync::Arc<str>,
        partition: i32,
        from: i64,
    ) -> impl Iterator<Item = Record> + use<'_> {
        let mut start = 0usize;
        let count = self.count();
        let Batch { base, at, lens, body } = self;
        (0..count)
            .map(move |i| {
                let len = [lens[4 * i], lens[4 * i + 1], lens[4 * i + 2], lens[4 * i + 3]];
                let end = start.saturating_add(u32::from_be_bytes(len) as usize).min(body.len());
                let bytes = body.slice(start..end);
                start = end;
                (base + i as i64, bytes)
            })
            .filter(move |(offset, _)| *offset >= from)
            .map(move |(offset, bytes)| Record {
                topic: topic.clone(),
                partition,
                offset: offset as u64,
                at,
                frame: frame(bytes),
            })
    }
}

fn frame(bytes: Bytes) -> Frame {
    match Frame::parse(&bytes) {
        Some((key, headers)) => Frame { bytes, key, headers },
        None => {
            let mut whole = Vec::with_capacity(4 + bytes.len());
            whole.extend_from_slice(&[0; 4]);
            whole.extend_from_slice(&bytes);
            Frame { bytes: whole.into(), key: None, headers: 0 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(records: &[NewRecord], from: i64) -> Vec<Record> {
        let mut batch = BatchBuilder::default();
        for record in records {
            record.check().unwrap();
            batch.push(record);
        }
        let batch =
            Batch { base: 10, at: Utc::now(), lens: batch.lens, body: Bytes::from(batch.body) };
        batch.records(&"t".into(), 3, from).collect()
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let records = round_trip(
            &[
                NewRecord::new("t", "one").key("k").header("a", "1").header("b", ""),
                NewRecord::new("t", "").key(""),
                NewRecord::new("t", "three"),
            ],
            11,
        );
        assert_eq!(records.len(), 2);
        assert_eq!((records[0].offset(), records[0].partition()), (11, 3));
        assert_eq!((records[0].key(), records[0].value()), (Some(&b""[..]), &b""[..]));
        assert_eq!((records[1].key(), records[1].value()), (None, &b"three"[..]));

        let all =
            round_trip(&[NewRecord::new("t", "v").key("k").header("a", "1").header("b", "")], 0);
        assert_eq!(all[0].headers().collect::<Vec<_>>(), [("a", "1"), ("b", "")]);
        assert_eq!(all[0].header("b"), Some(""));
        assert_eq!(all[0].value(), b"v");
    }

    #[test]
    fn impossible_records_are_named() {
        let long = "x".repeat(70_000);
        assert_eq!(
            NewRecord::new("t", "").key(long.clone()).check(),
            Err(InvalidRecord::KeyTooLong)
        );
        assert_eq!(
            NewRecord::new("t", "").header("", "v").check(),
            Err(InvalidRecord::Header(String::new()))
        );
        let two = NewRecord::new("t", "").header("a", "x".repeat(40_000));
        assert_eq!(two.header("b", "x".repeat(40_000)).check(), Err(InvalidRecord::HeadersTooLong));
        let big = NewRecord::new("t", vec![0u8; MAX_RECORD_BYTES]);
        assert!(matches!(big.check(), Err(InvalidRecord::TooLarge(_))));
    }

    proptest::proptest! {
        /// Whatever bytes another writer left: one record an offset, and no panic.
        #[test]
        fn any_bytes_are_read(lens in proptest::collection::vec(0u32..40, 1..8), body in proptest::collection::vec(0u8..8, 0..120)) {
            let batch = Batch {
                base: 0,
                at: Utc::now(),
                lens: lens.iter().flat_map(|len| len.to_be_bytes()).collect(),
                body: Bytes::from(body),
            };
            let records: Vec<_> = batch.records(&"t".into(), 0, 0).collect();
            proptest::prop_assert_eq!(records.len(), lens.len());
            for record in records {
                let _ = (record.key(), record.value(), record.headers().count());
            }
        }
    }
}
