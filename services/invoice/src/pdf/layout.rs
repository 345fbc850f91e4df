//! What stands where: head, table of positions, sums, note, and a footer on each page.

use super::canvas::{HEIGHT, Ink, Mark};
use super::figure::{amount, count, date, money, rate};
use super::font::{Fonts, Weight};
use super::sheet::{BOTTOM, Column, LEFT, PAD, RIGHT, Sheet, Style, TOP, figures, words};
use super::{Document, Kind, Line, Party};

const BODY: Style = Style { size: 8.5, weight: Weight::Regular, ink: Ink::Text };
const STRONG: Style = Style { weight: Weight::Bold, ..BODY };
const LABEL: Style = Style { ink: Ink::Label, ..BODY };
const SMALL: Style = Style { size: 7.5, ..LABEL };
const HEADER: Style = Style { size: 7.5, ..STRONG };
const NAME: Style = Style { size: 10.0, ..STRONG };
const SELLER: Style = Style { size: 13.0, ..STRONG };
const TITLE: Style = Style { size: 23.0, weight: Weight::Bold, ink: Ink::Accent };
const GROSS: Style = Style { size: 11.0, ..TITLE };

/// Where the right half of the head starts, and the values in it.
const FACTS_LEFT: f32 = 308.0;
const VALUES_LEFT: f32 = 384.0;
/// Where the table of taxes and the totals start.
const SUMS_LEFT: f32 = 318.0;

const POSITIONS: [Column; 7] = [
    words("Pos.", LEFT + PAD, 80.0),
    words("SKU", 86.0, 158.0),
    words("Description", 166.0, 322.0),
    figures("Quantity", 326.0, 370.0),
    figures("Unit price net", 376.0, 438.0),
    figures("Tax", 442.0, 472.0),
    figures("Net amount", 478.0, RIGHT - PAD),
];
const TAXES: [Column; 3] = [
    words("Tax rate", SUMS_LEFT + PAD, 390.0),
    figures("Net", 394.0, 462.0),
    figures("Tax", 468.0, RIGHT - PAD),
];

/// The most lines of an address, so that the head leaves room for the table.
const ADDRESS_LINES: usize = 9;
/// How high the three totals are together.
const TOTALS: f32 = 80.0;

/// The document's pages.
pub(super) fn pages(document: &Document, fonts: &Fonts) -> Vec<Vec<Mark>> {
    let mut sheet = Sheet::new(document, fonts);
    sheet.head();
    sheet.positions();
    sheet.taxes();
    sheet.totals();
    sheet.note();
    sheet.footers();
    sheet.pages
}

impl Sheet<'_> {
    /// Seller and title, then buyer and what identifies the document.
    fn head(&mut self) {
        let document = self.document;
        let top = self.y;
        self.party(&document.seller, SELLER);
        let left_end = self.y;

        self.y = top - 8.0;
        let title = self.fonts.line(TITLE.weight, document.kind.title());
        self.put_before(RIGHT, TITLE, title);
        self.y += TITLE.leading();
        self.paragraph_before(&document.number, NAME, FACTS_LEFT);

        self.y = self.y.max(left_end) + 12.0;
        self.fill(LEFT, RIGHT, 1.2, Ink::Accent);
        self.y += 18.0;

        let top = self.y;
        self.label("Bill to", LEFT);
        self.y += LABEL.leading() + 2.0;
        self.party(&document.buyer, NAME);
        let left_end = self.y;

        self.y = top;
        for (label, value) in self.facts() {
            self.label(label, FACTS_LEFT);
            self.paragraph_before(&value, BODY, VALUES_LEFT);
            self.y += 3.0;
        }
        self.y = self.y.max(left_end) + 22.0;
    }

    /// What identifies the document, besides its number.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let document = self.document;
        let mut facts = vec![
            ("Date of issue", date(document.issued_on)),
            ("Date of supply", date(document.supplied_on)),
            ("Order", document.order_id.clone()),
            ("Currency", document.currency.clone()),
        ];
        if let Kind::CreditNote { corrects, of } = &document.kind {
            facts.insert(0, ("Corrects invoice", format!("{corrects} of {}", date(*of))));
        }
        facts
    }

    /// A name, an address and a VAT id, in the left half.
    fn party(&mut self, party: &Party, name: Style) {
        let width = FACTS_LEFT - 20.0 - LEFT;
        for run in self.wrapped(&party.name, name, width, 3) {
            self.put(LEFT, name, run);
            self.y += name.leading();
        }
        let mut lines = Vec::new();
        for line in party.lines.iter().take(ADDRESS_LINES + 1) {
            lines.extend(self.wrapped(line, BODY, width, 2));
        }
        if lines.len() > ADDRESS_LINES {
            lines.truncate(ADDRESS_LINES - 1);
            lines.push(self.fonts.line(BODY.weight, "…"));
        }
        if let Some(vat_id) = &party.vat_id {
            lines.extend(self.wrapped(&format!("VAT ID {vat_id}"), BODY, width, 2));
        }
        for run in lines {
            self.put(LEFT, BODY, run);
            self.y += BODY.leading();
        }
    }

    /// The table of what is charged; its header stands on every page that it reaches.
    fn positions(&mut self) {
        let document = self.document;
        self.header(&POSITIONS, HEADER, LEFT);
        for (index, line) in document.lines.iter().enumerate() {
            let texts = position(index + 1, line, &document.currency);
            let row = self.row(&POSITIONS, texts.each_ref().map(String::as_str), BODY);
            if self.turn_for(row.height()) {
                self.header(&POSITIONS, HEADER, LEFT);
            }
            self.place(row, LEFT);
        }
        self.y += 18.0;
    }

    /// Net and tax for each rate; with the totals on one page if one holds both.
    fn taxes(&mut self) {
        let Document { taxes, currency, .. } = self.document;
        let mut rows = Vec::with_capacity(taxes.len());
        for tax in taxes {
            let net = amount(tax.net_minor, currency);
            let tax_amount = amount(tax.tax_minor, currency);
            rows.push(self.row(&TAXES, [&rate(tax.rate_bp), &net, &tax_amount], BODY));
        }
        let height = 22.0 + rows.iter().map(|row| row.height()).sum::<f32>() + TOTALS;
        self.turn_for(height.min(BOTTOM - TOP - TOTALS));
        self.header(&TAXES, HEADER, SUMS_LEFT);
        for row in rows {
            if self.turn_for(row.height()) {
                self.header(&TAXES, HEADER, SUMS_LEFT);
            }
            self.place(row, SUMS_LEFT);
        }
    }

    fn totals(&mut self) {
        let total = &self.document.total;
        self.turn_for(TOTALS);
        self.y += 8.0;
        self.sum("Total net", total.net_minor, BODY);
        self.sum("Total tax", total.tax_minor, BODY);
        self.y += 5.0;
        self.fill(SUMS_LEFT, RIGHT, GROSS.leading() + 2.0 * PAD, Ink::Band);
        self.fill(SUMS_LEFT, RIGHT, 1.2, Ink::Accent);
        self.y += PAD;
        self.sum("Total gross", total.gross_minor, GROSS);
        self.y += PAD + 22.0;
    }

    fn sum(&mut self, label: &str, minor: i64, style: Style) {
        let label = self.fonts.line(style.weight, label);
        let left = SUMS_LEFT + PAD + label.width * style.size + 10.0;
        self.put(SUMS_LEFT + PAD, style, label);
        let money = money(minor, &self.document.currency);
        let (fitting, run) = self.fitting(&money, style, RIGHT - PAD - left);
        self.put_before(RIGHT - PAD, fitting, run);
        self.y += style.leading() + 2.0;
    }

    /// The note, which may run over pages.
    fn note(&mut self) {
        for paragraph in self.document.note.lines() {
            for run in self.wrapped(paragraph, BODY, RIGHT - LEFT, usize::MAX) {
                self.turn_for(BODY.leading());
                self.put(LEFT, BODY, run);
                self.y += BODY.leading();
            }
            self.y += 4.0;
        }
    }

    /// Ends each page with whose it is and which page of how many.
    fn footers(&mut self) {
        let Document { kind, number, seller, .. } = self.document;
        let vat_id = seller.vat_id.iter().map(|id| format!(" · VAT ID {id}")).collect::<String>();
        let owner = format!("{} {number} · {}{vat_id}", kind.title(), seller.name);
        let pages = std::mem::take(&mut self.pages);
        let count = pages.len();
        for (index, page) in pages.into_iter().enumerate() {
            self.pages.push(page);
            self.y = HEIGHT - 50.0;
            self.fill(LEFT, RIGHT, 0.5, Ink::Rule);
            self.y += 6.0;
            for run in self.wrapped(&owner, SMALL, RIGHT - LEFT - 90.0, 1) {
                self.put(LEFT, SMALL, run);
            }
            let place = self.fonts.line(SMALL.weight, &format!("Page {} of {count}", index + 1));
            self.put_before(RIGHT, SMALL, place);
        }
    }

    /// Starts a page, which says what it continues, unless this one has room for `height` more.
    fn turn_for(&mut self, height: f32) -> bool {
        if self.y + height <= BOTTOM {
            return false;
        }
        let Document { kind, number, seller, .. } = self.document;
        self.pages.push(Vec::new());
        self.y = TOP;
        for run in self.wrapped(&format!("{} {number}", kind.title()), STRONG, 240.0, 1) {
            self.put(LEFT, STRONG, run);
        }
        for run in self.wrapped(&seller.name, LABEL, 220.0, 1) {
            self.put_before(RIGHT, LABEL, run);
        }
        self.y += STRONG.leading() + 4.0;
        self.fill(LEFT, RIGHT, 0.5, Ink::Rule);
        self.y += 14.0;
        true
    }

    fn label(&mut self, text: &str, x: f32) {
        let run = self.fonts.line(LABEL.weight, text);
        self.put(x, LABEL, run);
    }

    /// `text` up to the right edge, in lines that start no further left than `left`.
    fn paragraph_before(&mut self, text: &str, style: Style, left: f32) {
        for run in self.wrapped(text, style, RIGHT - left, 4) {
            self.put_before(RIGHT, style, run);
            self.y += style.leading();
        }
    }
}

/// The cells of a position.
fn position(number: usize, line: &Line, currency: &str) -> [String; 7] {
    [
        number.to_string(),
        line.sku.clone(),
        line.name.clone(),
        count(line.quantity.into()),
        amount(line.unit_price_minor, currency),
        rate(line.tax_rate_bp),
        amount(line.net_minor, currency),
    ]
}
