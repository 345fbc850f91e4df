//! Standard output: text in columns for people, JSON lines for programs.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

pub const DIM: Style = Style::new().dimmed();
pub const BOLD: Style = Style::new().bold();
pub const KEY: Style = AnsiColor::Cyan.on_default();
pub const ALARM: Style = AnsiColor::Yellow.on_default();

/// What is held back at most before it is written.
const BUFFER: usize = 64 * 1024;

/// Who read the output has seen enough: `| head`.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output went away")]
pub struct PipeClosed;

/// A line of a table, or of JSON.
pub trait Row: Serialize {
    /// The columns; one that begins with `>` is aligned to the right.
    const COLUMNS: &'static [&'static str];

    fn cells(&self) -> Vec<String>;
}

pub struct Out {
    json: bool,
    colours: bool,
    buffer: Vec<u8>,
}

impl Out {
    pub fn new(json: bool) -> Out {
        let colours = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        Out { json, colours, buffer: Vec::new() }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    pub fn has_colours(&self) -> bool {
        self.colours
    }

    /// One line for people, or an object that says the same.
    pub fn say(&mut self, text: impl Display, object: impl Serialize) -> anyhow::Result<()> {
        match self.json {
            true => self.object(&object),
            false => self.line(text),
        }
    }

    pub fn object(&mut self, object: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.buffer, object)?;
        self.raw(b"\n")
    }

    pub fn line(&mut self, text: impl Display) -> anyhow::Result<()> {
        writeln!(self.buffer, "{text}")?;
        self.raw(b"")
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.buffer.extend_from_slice(bytes);
        match self.buffer.len() {
            0..BUFFER => Ok(()),
            _ => self.flush(),
        }
    }

    pub fn flush(&mut self) -> anyhow::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        // Somebody else may be stuck in standard output.
        if buffer.is_empty() { Ok(()) } else { write(&buffer) }
    }

    /// A table, or an object a row.
    pub fn rows<R: Row>(&mut self, rows: &[R]) -> anyhow::Result<()> {
        if self.json {
            return rows.iter().try_for_each(|row| self.object(row));
        }
        let right: Vec<bool> = R::COLUMNS.iter().map(|column| column.starts_with('>')).collect();
        let header = R::COLUMNS.iter().map(|column| column.trim_start_matches('>').to_owned());
        let mut lines = vec![header.collect::<Vec<_>>()];
        lines.extend(rows.iter().map(Row::cells));
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
        };
        let widths: Vec<usize> = (0..right.len()).map(|i| width(i).unwrap_or(0)).collect();
        for (n, line) in lines.iter().enumerate() {
            let cells = line.iter().zip(&widths).zip(&right).map(|((cell, &width), right)| {
                if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            let text = cells.collect::<Vec<_>>().join("  ");
            let text = text.trim_end();
            match n {
                0 => self.line(self.paint(DIM, text))?,
                _ => self.line(text)?,
            }
        }
        Ok(())
    }

    /// The text in a style where the output is for eyes.
    pub fn paint(&self, style: Style, text: impl Display) -> String {
        paint(self.colours, style, text)
    }
}

pub fn paint(colours: bool, style: Style, text: impl Display) -> String {
    match colours {
        true => format!("{style}{text}{style:#}"),
        false => text.to_string(),
    }
}

/// Writes to standard output and through it.
pub fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => PipeClosed.into(),
        _ => anyhow::Error::new(error).context("standard output"),
    })
}
