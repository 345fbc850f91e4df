//! Standard input, read on a thread of its own while earlier lines are being published.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;

use anyhow::anyhow;
use broker::NewRecord;
use tokio::sync::mpsc;

use super::line::Form;
use super::{BATCH_BYTES, BATCH_RECORDS};

/// What is read at once, and may lie in a chunk beside one long line.
const READ_BYTES: usize = 256 * 1024;
/// Chunks that wait.
const WAITING: usize = 4;

/// Lines that arrived together, and what is wrong with the one behind them.
#[derive(Default)]
pub struct Chunk {
    pub records: Vec<NewRecord>,
    /// Of input.
    pub bytes: usize,
    pub error: Option<anyhow::Error>,
}

impl Chunk {
    pub fn has_room(&self) -> bool {
        self.records.len() < BATCH_RECORDS && self.bytes < BATCH_BYTES
    }

    pub fn append(&mut self, more: Chunk) {
        self.records.extend(more.records);
        self.bytes += more.bytes;
        self.error = more.error;
    }
}

pub struct Input(mpsc::Receiver<Chunk>);

impl Input {
    /// Starts to read; the size where it is known, as a file's is.
    pub fn start(form: Form) -> (Input, Option<u64>) {
        let size = std::io::stdin().as_fd().try_clone_to_owned().ok().and_then(|stdin| {
            let file = File::from(stdin).metadata().ok()?;
            file.is_file().then_some(file.len())
        });
        let (chunks, input) = mpsc::channel(WAITING);
        std::thread::spawn(move || {
            let mut lines =
                Lines::new(BufReader::with_capacity(READ_BYTES, std::io::stdin()), form);
            while let Some(chunk) = lines.chunk() {
                // The other end is gone where publishing failed.
                let last = chunk.error.is_some();
                if chunks.blocking_send(chunk).is_err() || last {
                    break;
                }
            }
        });
        (Input(input), size)
    }

    pub async fn next(&mut self) -> Option<Chunk> {
        self.0.recv().await
    }

    /// What has arrived already.
    pub fn ready(&mut self) -> Option<Chunk> {
        self.0.try_recv().ok()
    }
}

struct Lines<R> {
    reader: BufReader<R>,
    form: Form,
    number: u64,
}

impl<R: Read> Lines<R> {
    fn new(reader: BufReader<R>, form: Form) -> Lines<R> {
        Lines { reader, form, number: 0 }
    }

    /// A line, and all whole ones that came with it; `None` at the end.
    fn chunk(&mut self) -> Option<Chunk> {
        let mut chunk = Chunk::default();
        loop {
            match self.record() {
                Ok(Some((record, bytes))) => {
                    chunk.records.extend(record);
                    chunk.bytes += bytes;
                }
                Ok(None) if chunk.bytes == 0 => return None,
                Ok(None) => return Some(chunk),
                Err(error) => {
                    chunk.error = Some(error);
                    return Some(chunk);
                }
            }
            // Not a line that would have to be waited for.
            if !chunk.has_room() || !self.reader.buffer().contains(&b'\n') {
                return Some(chunk);
            }
        }
    }

    /// The next line's record, if it has one, and its bytes; `None` at the end.
    fn record(&mut self) -> anyhow::Result<Option<(Option<NewRecord>, usize)>> {
        let number = self.number + 1;
        let mut line = Vec::new();
        let limit = self.form.max_line();
        let bytes = (&mut self.reader)
            .take(limit as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(|error| anyhow!(error).context(format!("reading line {number}")))?;
        if bytes == 0 {
            return Ok(None);
        }
        self.number = number;
        if bytes > limit && line.last() != Some(&b'\n') {
            return Err(anyhow!("line {number} has more than {limit} bytes: publish a reference"));
        }
        line.pop_if(|byte| *byte == b'\n');
        let record =
            self.form.read(line).map_err(|error| error.context(format!("line {number}")))?;
        Ok(Some((record, bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, as a slow pipe does.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(5).min(into.len());
            into[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn a_chunk_waits_for_no_further_line() {
        let text = b"a\nb\nccccccc\n\nlast";
        let mut lines = Lines::new(BufReader::new(Slow(text)), Form::plain("t"));
        let chunks = std::iter::from_fn(|| lines.chunk());
        let chunks: Vec<_> = chunks.map(|chunk| (chunk.records.len(), chunk.bytes)).collect();
        assert_eq!(chunks, [(2, 4), (2, 9), (1, 4)]);
        assert_eq!(lines.number, 5);
    }

    #[test]
    fn a_line_is_bounded() {
        let long = vec![b'x'; 3 * broker::MAX_RECORD_BYTES];
        let mut lines = Lines::new(BufReader::new(&long[..]), Form::plain("t"));
        let error = lines.chunk().unwrap().error.unwrap();
        assert!(error.to_string().contains("line 1 has more than"), "{error}");
    }
}
