//! Pages that fill from the top: lines of text, rules, and the rows of tables.

use super::Document;
use super::canvas::{HEIGHT, Ink, Mark, WIDTH};
use super::font::{Fonts, Run, Weight};

/// Left and right edge of what is printed.
pub(super) const LEFT: f32 = 54.0;
pub(super) const RIGHT: f32 = WIDTH - 54.0;
/// Where the first line of a page starts and where the last one must have ended.
pub(super) const TOP: f32 = 48.0;
pub(super) const BOTTOM: f32 = HEIGHT - 66.0;
/// Space between a table's edge and its text.
pub(super) const PAD: f32 = 5.0;

/// The most lines of one cell, so that a row always fits on a page.
const CELL_LINES: usize = 4;

/// How a text looks.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) size: f32,
    pub(super) weight: Weight,
    pub(super) ink: Ink,
}

impl Style {
    /// From one line to the next.
    pub(super) fn leading(self) -> f32 {
        self.size * 1.36
    }
}

/// A column of a table, by the edges between which its texts stand.
pub(super) struct Column {
    head: &'static str,
    left: f32,
    right: f32,
    /// Words start at the left edge and break at the right one; figures end at the right edge and
    /// never break or lose a digit: they shrink.
    words: bool,
}

pub(super) const fn words(head: &'static str, left: f32, right: f32) -> Column {
    Column { head, left, right, words: true }
}

pub(super) const fn figures(head: &'static str, left: f32, right: f32) -> Column {
    Column { head, left, right, words: false }
}

/// A table's row that is not placed yet: for each cell its left edge, style and lines.
pub(super) struct Row {
    cells: Vec<(f32, Style, Vec<Run>)>,
    style: Style,
    lines: usize,
}

impl Row {
    pub(super) fn height(&self) -> f32 {
        self.lines as f32 * self.style.leading() + 2.0 * PAD
    }
}

/// The pages of one document so far, and how far down the last one is filled.
pub(super) struct Sheet<'a> {
    pub(super) document: &'a Document,
    pub(super) fonts: &'a Fonts,
    pub(super) pages: Vec<Vec<Mark>>,
    pub(super) y: f32,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(document: &'a Document, fonts: &'a Fonts) -> Self {
        Self { document, fonts, pages: vec![Vec::new()], y: TOP }
    }

    fn mark(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.push(mark);
        }
    }

    /// `run` from `x` on, in the line that starts here.
    pub(super) fn put(&mut self, x: f32, style: Style, run: Run) {
        let Style { size, weight, ink } = style;
        let baseline = self.y + size;
        self.mark(Mark::Text { x, baseline, size, weight, ink, run });
    }

    /// `run` up to `right`, in the line that starts here.
    pub(super) fn put_before(&mut self, right: f32, style: Style, run: Run) {
        self.put(right - run.width * style.size, style, run);
    }

    /// A box from here down.
    pub(super) fn fill(&mut self, left: f32, right: f32, height: f32, ink: Ink) {
        let (y, width) = (self.y, right - left);
        self.mark(Mark::Box { x: left, y, width, height, ink });
    }

    /// `text` in at most `most` lines, none wider than `width`.
    pub(super) fn wrapped(&self, text: &str, style: Style, width: f32, most: usize) -> Vec<Run> {
        self.fonts.lines(style.weight, text, width / style.size, most)
    }

    /// `text` in one line, in a smaller size if it is wider than `width`.
    pub(super) fn fitting(&self, text: &str, style: Style, width: f32) -> (Style, Run) {
        let run = self.fonts.line(style.weight, text);
        let size = if run.width > 0.0 { style.size.min(width / run.width) } else { style.size };
        (Style { size, ..style }, run)
    }

    /// A row with `texts` for `columns`.
    pub(super) fn row<const N: usize>(
        &self,
        columns: &[Column; N],
        texts: [&str; N],
        style: Style,
    ) -> Row {
        let mut cells = Vec::with_capacity(N);
        for (column, text) in columns.iter().zip(texts) {
            let width = column.right - column.left;
            cells.push(if column.words {
                (column.left, style, self.wrapped(text, style, width, CELL_LINES))
            } else {
                let (style, run) = self.fitting(text, style, width);
                (column.right - run.width * style.size, style, vec![run])
            });
        }
        let lines = cells.iter().map(|(_, _, lines)| lines.len()).max().unwrap_or(1);
        Row { cells, style, lines }
    }

    /// Places `row` here, with a hairline under it from `left` to the right edge.
    pub(super) fn place(&mut self, row: Row, left: f32) {
        let (top, height) = (self.y, row.height());
        for (x, style, runs) in row.cells {
            self.y = top + PAD;
            for run in runs {
                // On the baseline of the row's size, also where the text had to shrink.
                self.y += row.style.size - style.size;
                self.put(x, style, run);
                self.y += style.size + row.style.leading() - row.style.size;
            }
        }
        self.y = top + height;
        self.fill(left, RIGHT, 0.5, Ink::Rule);
    }

    /// Places the heads of `columns` here, on a band from `left` to the right edge.
    pub(super) fn header<const N: usize>(
        &mut self,
        columns: &[Column; N],
        style: Style,
        left: f32,
    ) {
        let row = self.row(columns, std::array::from_fn(|index| columns[index].head), style);
        self.fill(left, RIGHT, row.height(), Ink::Band);
        self.place(row, left);
    }
}
