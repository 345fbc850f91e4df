//! The two fonts: which characters they have, how wide a text is, where it breaks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use krilla::text::{Font as Outlines, GlyphId, KrillaGlyph};
use rustybuzz::{Direction, Face, UnicodeBuffer};

/// The fonts, parsed once; `None` if the files are not fonts.
pub(super) static FONTS: LazyLock<Option<Fonts>> = LazyLock::new(|| {
    Some(Fonts {
        regular: Font::parse(include_bytes!("../../assets/NotoSans-Regular.subset.ttf"))?,
        bold: Font::parse(include_bytes!("../../assets/NotoSans-Bold.subset.ttf"))?,
    })
});

/// What stands for a character that a font lacks.
const REPLACEMENT: char = '\u{fffd}';

/// No line of a sane text holds more characters than this. What exceeds it is cut off before it is
/// measured; PDF/A forbids lines of more than 16,383 glyphs anyway.
const LONGEST_LINE: usize = 300;

/// The most marks on one letter.
const MOST_MARKS: usize = 8;

/// Both weights of the typeface.
pub(super) struct Fonts {
    regular: Font,
    bold: Font,
}

/// Regular or bold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    Bold,
}

/// One weight, as its two readers want it.
pub(super) struct Font {
    /// For shaping: from characters to placed glyphs.
    face: Face<'static>,
    /// For embedding.
    outlines: Outlines,
}

/// A text in one line, as placed glyphs. Lengths are for a font of size 1.
pub(super) struct Run {
    pub(super) text: String,
    pub(super) glyphs: Vec<KrillaGlyph>,
    pub(super) width: f32,
}

impl Fonts {
    fn of(&self, weight: Weight) -> &Font {
        match weight {
            Weight::Regular => &self.regular,
            Weight::Bold => &self.bold,
        }
    }

    pub(super) fn outlines(&self, weight: Weight) -> Outlines {
        self.of(weight).outlines.clone()
    }

    /// `text` in one line, however wide.
    pub(super) fn line(&self, weight: Weight, text: &str) -> Run {
        let font = self.of(weight);
        let mut text = font.printable(text);
        cut(&mut text, LONGEST_LINE);
        font.shape(text)
    }

    /// `text` in lines of at most `width` (for a font of size 1), broken after a space, a hyphen
    /// or a slash, and inside a word that is wider than a line. If `most` lines do not hold it,
    /// the last one ends in an ellipsis.
    pub(super) fn lines(&self, weight: Weight, text: &str, width: f32, most: usize) -> Vec<Run> {
        let font = self.of(weight);
        let mut text = font.printable(text);
        let cut = cut(&mut text, most.saturating_mul(LONGEST_LINE));
        let whole = font.shape(text.clone());
        if whole.width <= width && !cut {
            return if text.is_empty() { Vec::new() } else { vec![whole] };
        }
        let clusters = whole.clusters();
        let mut ranges = breaks(&text, &clusters, width);
        if ranges.len() > most || (cut && !ranges.is_empty()) {
            ranges.truncate(most);
            let last = ranges.pop().map_or(0, |range| range.start);
            let shown = ranges.iter().map(|range| font.shape(text[range.clone()].trim().into()));
            return shown.chain([font.ellipsis(&text, &clusters, last, width)]).collect();
        }
        ranges.into_iter().map(|range| font.shape(text[range].trim().into())).collect()
    }
}

impl Font {
    fn parse(file: &'static [u8]) -> Option<Self> {
        Some(Self { face: Face::from_slice(file, 0)?, outlines: Outlines::new(file.into(), 0)? })
    }

    /// `text` with a replacement for each character that the font lacks, and for each mark that is
    /// piled on too many others: marks take no width, so that no line would ever be full of them.
    fn printable(&self, text: &str) -> String {
        let mut marks = 0;
        let known = |c: char| {
            let Some(glyph) = self.face.glyph_index(c) else { return REPLACEMENT };
            marks = if self.face.glyph_hor_advance(glyph) == Some(0) { marks + 1 } else { 0 };
            if marks > MOST_MARKS { REPLACEMENT } else { c }
        };
        clean(text).chars().map(known).collect()
    }

    fn shape(&self, text: String) -> Run {
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(&text);
        buffer.guess_segment_properties();
        buffer.set_direction(Direction::LeftToRight);
        let shaped = rustybuzz::shape(&self.face, &[], buffer);

        let em = self.outlines.units_per_em();
        let mut glyphs: Vec<KrillaGlyph> = Vec::with_capacity(shaped.len());
        let mut end = text.len();
        for (info, place) in shaped.glyph_infos().iter().zip(shaped.glyph_positions()).rev() {
            // A cluster's text reaches to where the next cluster starts.
            let start = info.cluster as usize;
            if let Some(next) = glyphs.last().filter(|next| next.text_range.start != start) {
                end = next.text_range.start;
            }
            glyphs.push(KrillaGlyph::new(
                GlyphId::new(info.glyph_id),
                place.x_advance as f32 / em,
                place.x_offset as f32 / em,
                place.y_offset as f32 / em,
                place.y_advance as f32 / em,
                start..end,
                None,
            ));
        }
        glyphs.reverse();
        let width = glyphs.iter().map(|glyph| glyph.x_advance).sum();
        Run { text, glyphs, width }
    }

    /// As much of `text` from byte `start` on as fits into `width` before an ellipsis.
    fn ellipsis(&self, text: &str, clusters: &[(usize, f32)], start: usize, width: f32) -> Run {
        let room = width - self.shape("…".into()).width;
        let mut used = 0.0;
        let mut end = text.len();
        for &(at, advance) in clusters.iter().filter(|(at, _)| *at >= start) {
            used += advance;
            if used > room {
                end = at;
                break;
            }
        }
        self.shape(format!("{}…", text[start..end].trim()))
    }
}

impl Run {
    /// Where each group of inseparable characters starts, in bytes, and how wide it is.
    fn clusters(&self) -> Vec<(usize, f32)> {
        let mut clusters = BTreeMap::new();
        for glyph in &self.glyphs {
            *clusters.entry(glyph.text_range.start).or_insert(0.0) += glyph.x_advance;
        }
        clusters.into_iter().collect()
    }
}

/// Cuts off what exceeds `most` characters; whether there was any.
fn cut(text: &mut String, most: usize) -> bool {
    let end = text.char_indices().nth(most).map(|(end, _)| end);
    text.truncate(end.unwrap_or(text.len()));
    end.is_some()
}

/// Cuts `text` into lines of at most `width`; a space may hang over the end of a line.
fn breaks(text: &str, clusters: &[(usize, f32)], width: f32) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let (mut first, mut used) = (0, 0.0);
    // The last cluster of this line after which it may end, if any.
    let mut opportunity = None;
    for (index, &(at, advance)) in clusters.iter().enumerate() {
        let space = text[at..].starts_with(' ');
        while !space && used + advance > width && index > first {
            let next = opportunity.take().map_or(index, |last: usize| last + 1);
            lines.push(clusters[first].0..clusters[next].0);
            first = next;
            used = clusters[first..index].iter().map(|(_, advance)| advance).sum();
        }
        used += advance;
        if space || text[at..].starts_with(['-', '/']) {
            opportunity = Some(index);
        }
    }
    if let Some(&(start, _)) = clusters.get(first) {
        lines.push(start..text.len());
    }
    lines
}

/// `text` in one line, without what cannot be seen: white space becomes single spaces, invisible
/// format characters go (they could reorder what is read), others become replacements.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{a0}' | '\u{202f}' => clean.push(c),
            c if c.is_whitespace() => {
                if !clean.is_empty() && !clean.ends_with(' ') {
                    clean.push(' ');
                }
            }
            c if is_ignorable(c) => {}
            c if c.is_control() || is_noncharacter(c) => clean.push(REPLACEMENT),
            c => clean.push(c),
        }
    }
    clean.truncate(clean.trim_end().len());
    clean
}

/// Unicode's property `Default_Ignorable_Code_Point`.
fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Code points that no text may hold, XML least of all.
fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || (c as u32) & 0xfffe == 0xfffe
}
