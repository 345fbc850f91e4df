//! Lines off a connection, in pieces of bounded size.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest piece, and so the longest command line. The RFC's 512 is a floor
/// that extensions raise; the longest path and every parameter fit in this.
const MAX_PIECE: usize = 4096;

/// A piece of input: up to an LF, or as much of a line as is held at once.
///
/// Only CR LF ends a line. A piece that ends with an LF alone is no line: as
/// a command it is refused, as part of a message it never ends the message.
/// That is what keeps one client's mail from smuggling another's commands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Ends with CR LF.
    Line,
    /// Ends with an LF that no CR precedes.
    BareLf,
    /// The line goes on in the next piece.
    Part,
    /// The client has closed its side; an unfinished line is discarded.
    End,
}

/// Reads pieces off `R`.
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    piece: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Lines { input: BufReader::new(input), piece: Vec::new() }
    }

    /// The piece that [`next`](Self::next) read, its line end included.
    pub(crate) fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// True if a whole line has come in already: a client that pipelines
    /// does not wait for the reply to the one before.
    pub(crate) fn has_more(&self) -> bool {
        self.input.buffer().contains(&b'\n')
    }

    /// Reads the next piece. What was read is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Piece> {
        self.piece.clear();
        loop {
            let input = self.input.fill_buf().await?;
            if input.is_empty() {
                return Ok(Piece::End);
            }
            let room = (MAX_PIECE - self.piece.len()).min(input.len());
            let line_end = input[..room].iter().position(|byte| *byte == b'\n');
            let mut taken = line_end.map_or(room, |at| at + 1);
            let full = self.piece.len() + taken == MAX_PIECE;
            if full && input[..taken].ends_with(b"\r") {
                // A CR is not parted from what may be its LF.
                taken -= 1;
            }
            self.piece.extend_from_slice(&input[..taken]);
            self.input.consume(taken);
            match line_end {
                Some(_) if self.piece.ends_with(b"\r\n") => return Ok(Piece::Line),
                Some(_) => return Ok(Piece::BareLf),
                None if full => return Ok(Piece::Part),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pieces(input: &[u8]) -> Vec<(Piece, Vec<u8>)> {
        let mut lines = Lines::new(input);
        let mut pieces = Vec::new();
        loop {
            match lines.next().await.unwrap() {
                Piece::End => return pieces,
                piece => pieces.push((piece, lines.piece().to_vec())),
            }
        }
    }

    #[tokio::test]
    async fn only_cr_lf_ends_a_line() {
        let read = pieces(b"a\r\nb\nc\rd\r\n\r\nrest").await;
        let expected: [(Piece, &[u8]); 4] = [
            (Piece::Line, b"a\r\n"),
            (Piece::BareLf, b"b\n"),
            (Piece::Line, b"c\rd\r\n"),
            (Piece::Line, b"\r\n"),
        ];
        assert_eq!(read, expected.map(|(piece, bytes)| (piece, bytes.to_vec())));
    }

    #[tokio::test]
    async fn a_long_line_comes_in_parts_and_cr_lf_stays_whole() {
        for length in MAX_PIECE - 2..MAX_PIECE + 3 {
            let mut input = vec![b'x'; length];
            input.extend_from_slice(b"\r\n");
            let read = pieces(&input).await;
            let (last, parts) = read.split_last().unwrap();
            assert_eq!(last.0, Piece::Line);
            assert!(parts.iter().all(|(piece, bytes)| {
                *piece == Piece::Part && bytes.len() <= MAX_PIECE && !bytes.ends_with(b"\r")
            }));
            let joined: Vec<u8> = read.into_iter().flat_map(|(_, bytes)| bytes).collect();
            assert_eq!(joined, input);
        }
    }
}
