//! A line of input as a record.

use anyhow::{anyhow, bail};
use broker::{Error, InvalidRecord, MAX_RECORD_BYTES, NewRecord};

use crate::record::Given;

use super::Args;

/// How lines are to be read.
pub struct Form {
    args: Args,
    json: bool,
    /// As many as the topic had at the start.
    partitions: u32,
}

impl Form {
    pub fn new(args: Args, json: bool, partitions: u32) -> Form {
        Form { args, json, partitions }
    }

    /// The most bytes of a line. What is one byte of a record takes up to six in JSON.
    pub fn max_line(&self) -> usize {
        match self.json {
            true => 8 * MAX_RECORD_BYTES,
            false => 2 * MAX_RECORD_BYTES,
        }
    }

    /// The line's record, checked; `None` for a blank line of JSON.
    pub fn read(&self, line: Vec<u8>) -> anyhow::Result<Option<NewRecord>> {
        let mut record = match self.json {
            true if line.trim_ascii().is_empty() => return Ok(None),
            true => self.object(&line)?,
            false => self.text(line),
        };
        for (name, value) in &self.args.headers {
            record = record.header(name, value);
        }
        record.check().map_err(Error::from)?;
        Ok(Some(record))
    }

    fn text(&self, mut line: Vec<u8>) -> NewRecord {
        let args = &self.args;
        let mut key = args.key.clone().map(String::into_bytes);
        if let Some(delimiter) = args.key_delimiter.as_deref().map(str::as_bytes)
            && let Some(at) = line.windows(delimiter.len()).position(|part| part == delimiter)
        {
            let value = line.split_off(at + delimiter.len());
            line.truncate(at);
            key = Some(std::mem::replace(&mut line, value));
        }
        with(NewRecord::new(&args.topic, line), key, args.partition)
    }

    fn object(&self, line: &[u8]) -> anyhow::Result<NewRecord> {
        let given: Given = serde_json::from_slice(line)?;
        let key = given.key().map_err(|error| anyhow!(error))?;
        let key = key.or_else(|| self.args.key.clone().map(String::into_bytes));
        let value = given.value().map_err(|error| anyhow!(error))?;
        if let Some(partition) = given.partition
            && partition >= self.partitions
        {
            let wrong = InvalidRecord::Partition {
                topic: self.args.topic.clone(),
                partition: i32::try_from(partition).unwrap_or(i32::MAX),
                last: self.partitions as i32 - 1,
            };
            bail!(Error::from(wrong));
        }
        let partition = given.partition.or(self.args.partition);
        let mut record = with(NewRecord::new(&self.args.topic, value), key, partition);
        for (name, value) in given.headers.0 {
            record = record.header(name, value);
        }
        Ok(record)
    }

    #[cfg(test)]
    pub fn plain(topic: &str) -> Form {
        let args = Args {
            topic: topic.into(),
            key: None,
            key_delimiter: None,
            partition: None,
            headers: vec![],
        };
        Form::new(args, false, 1)
    }
}

fn with(record: NewRecord, key: Option<Vec<u8>>, partition: Option<u32>) -> NewRecord {
    let record = match key {
        Some(key) => record.key(key),
        None => record,
    };
    match partition {
        Some(partition) => record.partition(partition),
        None => record,
    }
}
