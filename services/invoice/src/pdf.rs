//! An invoice or a credit note as a PDF.
//!
//! [`render`] turns a [`Document`], which is plain data, into the bytes of a PDF/A-2u file: made
//! for the archive, every text extractable. It does no input or output, and equal documents give
//! equal bytes: the creation date and the identifier in the file come from the document. It does
//! no arithmetic either: every amount is printed as it stands.
//!
//! In reading order: `layout` says what stands where, with the amounts written by `figure`;
//! `sheet` places it on pages; `font` measures and breaks the texts; `canvas` writes the file.

mod canvas;
mod figure;
mod font;
mod layout;
mod sheet;

use chrono::NaiveDate;

/// All that an invoice or a credit note says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Whether this is an invoice or corrects one.
    pub kind: Kind,
    /// The document's own number.
    pub number: String,
    /// When the document was issued; also the creation date inside the file.
    pub issued_on: NaiveDate,
    /// When the goods were supplied.
    pub supplied_on: NaiveDate,
    /// The order that the document charges or credits.
    pub order_id: String,
    /// Who issues the document.
    pub seller: Party,
    /// Who receives it.
    pub buyer: Party,
    /// The ISO 4217 code of every amount's currency, in capitals; it decides the decimals.
    pub currency: String,
    /// What is charged or credited, in the order of printing.
    pub lines: Vec<Line>,
    /// Net and tax for each tax rate.
    pub taxes: Vec<TaxLine>,
    /// The sums.
    pub total: Total,
    /// How to pay, and whatever else the reader must know; a line feed starts a new paragraph.
    pub note: String,
}

/// Invoice or credit note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A claim for payment.
    Invoice,
    /// The correction of an earlier invoice. Its amounts are negative.
    CreditNote {
        /// The number of the invoice that is corrected.
        corrects: String,
        /// The day on which that invoice was issued.
        of: NaiveDate,
    },
}

/// A seller or a buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The full name.
    pub name: String,
    /// The postal address, line by line.
    pub lines: Vec<String>,
    /// The VAT identification number, where there is one.
    pub vat_id: Option<String>,
}

/// One position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The seller's number for the article.
    pub sku: String,
    /// What the article is called.
    pub name: String,
    /// How many pieces.
    pub quantity: u32,
    /// The net price of one piece, in minor units.
    pub unit_price_minor: i64,
    /// The tax rate, in basis points: 1900 is 19 %.
    pub tax_rate_bp: u32,
    /// The position's net amount, in minor units.
    pub net_minor: i64,
}

/// Net and tax of all positions with one rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaxLine {
    /// The tax rate, in basis points: 1900 is 19 %.
    pub rate_bp: u32,
    /// The amount that is taxed, in minor units.
    pub net_minor: i64,
    /// The tax on it, in minor units.
    pub tax_minor: i64,
}

/// The sums over the whole document, in minor units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Without tax.
    pub net_minor: i64,
    /// The tax.
    pub tax_minor: i64,
    /// With tax.
    pub gross_minor: i64,
}

/// Why there is no PDF. None of these depends on what the document says.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A font file inside the program cannot be read.
    #[error("an embedded font cannot be read")]
    Font,
    /// The file breaks a rule of PDF or of PDF/A.
    #[error("the PDF cannot be written: {0:?}")]
    Write(krilla::error::KrillaError),
}

/// Writes `document` as a PDF/A-2u file on A4 pages.
///
/// Amounts are printed as they stand: a credit note's must be negative already. Identifiers wrap;
/// a text that is too long for its place ends in an ellipsis; a character that the fonts lack
/// (they know Latin, Greek and Cyrillic) becomes U+FFFD, in print as in the extracted text.
///
/// # Errors
///
/// [`RenderError`], when the program itself is at fault: no content of a document leads there.
pub fn render(document: &Document) -> Result<Vec<u8>, RenderError> {
    let fonts = font::FONTS.as_ref().ok_or(RenderError::Font)?;
    canvas::write(layout::pages(document, fonts), about(document), fonts)
}

/// What the file says of itself.
fn about(document: &Document) -> canvas::About {
    let title = format!("{} {}", document.kind.title(), document.number);
    canvas::About {
        id: format!("{title} {}", document.seller.name),
        title,
        author: document.seller.name.clone(),
        created_on: document.issued_on,
    }
}

impl Kind {
    fn title(&self) -> &'static str {
        match self {
            Self::Invoice => "Invoice",
            Self::CreditNote { .. } => "Credit note",
        }
    }
}
