//! From placed texts and boxes to the bytes of a PDF/A-2u file.

use chrono::{Datelike, NaiveDate};
use krilla::SerializeSettings;
use krilla::color::rgb;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::{DateTime, Metadata};
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;

use super::RenderError;
use super::font::{Fonts, Run, Weight, clean};

/// A4, in points: what [`PageSettings::default`] says.
pub(super) const WIDTH: f32 = 595.0;
pub(super) const HEIGHT: f32 = 842.0;

/// A longer title or author is cut in the file's description of itself.
const LONGEST_META: usize = 200;

/// The colours.
#[derive(Clone, Copy)]
pub(super) enum Ink {
    /// What is to be read.
    Text,
    /// What explains it.
    Label,
    /// The title and what is to be paid.
    Accent,
    /// Behind a table's header.
    Band,
    /// Between rows.
    Rule,
}

/// A thing on a page. Lengths are in points from the page's top left corner.
pub(super) enum Mark {
    Text { x: f32, baseline: f32, size: f32, weight: Weight, ink: Ink, run: Run },
    Box { x: f32, y: f32, width: f32, height: f32, ink: Ink },
}

/// What the file says of itself.
pub(super) struct About {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) author: String,
    pub(super) created_on: NaiveDate,
}

pub(super) fn write(
    pages: Vec<Vec<Mark>>,
    about: About,
    fonts: &Fonts,
) -> Result<Vec<u8>, RenderError> {
    let mut pdf = krilla::Document::new_with(SerializeSettings {
        configuration: ConfigurationBuilder::new()
            .with_archival_validator(Archival::A2_U)
            .finish()
            .unwrap_or_default(),
        enable_tagging: false,
        ..SerializeSettings::default()
    });
    pdf.set_metadata(metadata(about));
    for marks in pages {
        let mut page = pdf.start_page_with(PageSettings::default());
        let mut surface = page.surface();
        for mark in marks {
            draw(&mut surface, mark, fonts);
        }
        surface.finish();
        page.finish();
    }
    pdf.finish().map_err(RenderError::Write)
}

fn draw(surface: &mut Surface<'_>, mark: Mark, fonts: &Fonts) {
    match mark {
        Mark::Text { x, baseline, size, weight, ink, run } => {
            surface.set_fill(Some(ink.fill()));
            let (start, font) = (Point::from_xy(x, baseline), fonts.outlines(weight));
            surface.draw_glyphs(start, &run.glyphs, font, &run.text, size, false);
        }
        Mark::Box { x, y, width, height, ink } => {
            let mut path = PathBuilder::new();
            if let Some(rect) = Rect::from_xywh(x, y, width, height) {
                path.push_rect(rect);
            }
            if let Some(path) = path.finish() {
                surface.set_fill(Some(ink.fill()));
                surface.draw_path(&path);
            }
        }
    }
}

fn metadata(about: About) -> Metadata {
    let short = |text: &str| clean(text).chars().take(LONGEST_META).collect::<String>();
    let day = about.created_on;
    let created = DateTime::new(day.year().try_into().unwrap_or(0))
        .month(day.month() as u8)
        .day(day.day() as u8)
        .hour(0)
        .minute(0)
        .second(0)
        .utc_offset_hour(0);
    Metadata::new()
        .title(short(&about.title))
        .authors(vec![short(&about.author)])
        .creator("Waybill".into())
        .language("en".into())
        .creation_date(created)
        .document_id(about.id)
}

impl Ink {
    fn fill(self) -> Fill {
        let (red, green, blue) = match self {
            Self::Text => (0x1f, 0x29, 0x33),
            Self::Label => (0x5f, 0x6b, 0x7a),
            Self::Accent => (0x17, 0x4a, 0x6b),
            Self::Band => (0xee, 0xf2, 0xf6),
            Self::Rule => (0xd3, 0xda, 0xe1),
        };
        Fill { paint: rgb::Color::new(red, green, blue).into(), ..Fill::default() }
    }
}
