//! What a process says, in a file of a bounded size and the one before it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;
/// What is held of a line; a longer one is written in pieces.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// The output of a process, line by line.
pub struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn of(from: R) -> Lines<R> {
        Lines { from: BufReader::new(from), line: Vec::new() }
    }

    /// Copies until the other end is closed. Dropped on the way, it loses nothing.
    pub async fn copy(&mut self, log: &mut Log) {
        loop {
            let room = (MAX_LINE_BYTES - self.line.len()) as u64;
            let read = (&mut self.from).take(room).read_until(b'\n', &mut self.line).await;
            let goes_on = read.is_ok_and(|read| read > 0);
            if !goes_on || self.line.ends_with(b"\n") || self.line.len() == MAX_LINE_BYTES {
                log.write(&self.line);
                self.line.clear();
            }
            if !goes_on {
                return;
            }
        }
    }
}

pub struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    last: String,
}

impl Log {
    pub fn open(path: PathBuf) -> io::Result<Log> {
        let file = File::options().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Log { path, file, bytes, last: String::new() })
    }

    /// The last line that says something.
    pub fn last(&self) -> &str {
        &self.last
    }

    fn write(&mut self, line: &[u8]) {
        if !line.starts_with(b"note:") && !line.trim_ascii().is_empty() {
            self.last = String::from_utf8_lossy(line).trim().chars().take(500).collect();
        }
        self.bytes += line.len() as u64;
        if self.bytes > MAX_LOG_BYTES {
            let _ = fs::rename(&self.path, self.path.with_extension("old.log"));
            if let Ok(file) = File::create(&self.path) {
                self.file = file;
                self.bytes = line.len() as u64;
            }
        }
        // A log that cannot be written is no reason to stop what it is about.
        let _ = self.file.write_all(line);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn lines_of_any_length_are_kept_whole_and_held_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = Log::open(path.clone()).unwrap();
        let (mut out, input) = tokio::io::duplex(1024);
        let mut lines = Lines::of(input);
        out.write_all(b"first\nhal").await.unwrap();
        // Dropped in the middle of a line.
        let _ = tokio::time::timeout(Duration::from_millis(20), lines.copy(&mut log)).await;
        assert_eq!(lines.line, b"hal");
        let long = "x".repeat(3 * MAX_LINE_BYTES + 7);
        let said = format!("f\n{long}\nlast\n");
        let say = async {
            out.write_all(said.as_bytes()).await.unwrap();
            drop(out);
        };
        tokio::join!(say, lines.copy(&mut log));
        assert!(lines.line.capacity() <= 2 * MAX_LINE_BYTES);
        assert_eq!(log.last(), "last");
        assert_eq!(fs::read_to_string(path).unwrap(), format!("first\nhal{said}"));
    }
}
