//! The PDFs as a reader sees them: their text is extracted again.

#![allow(clippy::unwrap_used)]

use chrono::NaiveDate;
use invoice::pdf::{Document, Kind, Line, Party, TaxLine, Total, render};

fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, day).unwrap()
}

fn line(sku: &str, name: &str) -> Line {
    Line {
        sku: sku.into(),
        name: name.into(),
        quantity: 2,
        unit_price_minor: 61_728,
        tax_rate_bp: 1900,
        net_minor: 123_456,
    }
}

fn invoice(lines: Vec<Line>) -> Document {
    Document {
        kind: Kind::Invoice,
        number: "RE-2026-000042".into(),
        issued_on: day(14),
        supplied_on: day(12),
        order_id: "0195a1c2-7b1e-7c3a-9f00-2f6f4f1f9b11".into(),
        seller: Party {
            name: "Waybill Handels GmbH".into(),
            lines: vec!["Speicherstraße 12".into(), "20457 Hamburg".into()],
            vat_id: Some("DE123456789".into()),
        },
        buyer: Party {
            name: "Łukasz Żółć".into(),
            lines: vec!["Rue de l’Église 5".into(), "1234 Luxembourg".into()],
            vat_id: None,
        },
        currency: "EUR".into(),
        lines,
        taxes: vec![TaxLine { rate_bp: 1900, net_minor: 123_456, tax_minor: 23_457 }],
        total: Total { net_minor: 123_456, tax_minor: 23_457, gross_minor: 146_913 },
        note: "Payable within 14 days.\nThank you.".into(),
    }
}

fn credit_note() -> Document {
    let mut document = invoice(vec![line("SKU-1", "Ceramic mug")]);
    document.kind = Kind::CreditNote { corrects: "RE-2026-000041".into(), of: day(1) };
    document.number = "GS-2026-000007".into();
    for line in &mut document.lines {
        line.unit_price_minor = -line.unit_price_minor;
        line.net_minor = -line.net_minor;
    }
    for tax in &mut document.taxes {
        (tax.net_minor, tax.tax_minor) = (-tax.net_minor, -tax.tax_minor);
    }
    let Total { net_minor, tax_minor, gross_minor } = document.total;
    document.total =
        Total { net_minor: -net_minor, tax_minor: -tax_minor, gross_minor: -gross_minor };
    document
}

/// The text of each page.
fn texts(document: &Document) -> Vec<String> {
    let pdf = lopdf::Document::load_mem(&render(document).unwrap()).unwrap();
    pdf.get_pages().into_keys().map(|page| pdf.extract_text(&[page]).unwrap()).collect()
}

fn assert_shows(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
}

#[test]
fn an_invoice_shows_all_that_a_bookkeeper_needs() {
    let pages = texts(&invoice(vec![line("SKU-1", "Ceramic mug")]));
    assert_eq!(pages.len(), 1);
    assert_shows(
        &pages[0],
        &[
            "Invoice",
            "RE-2026-000042",
            "2026-03-14",
            "2026-03-12",
            "0195a1c2-7b1e-7c3a-9f00-2f6f4f1f9b11",
            "Waybill Handels GmbH",
            "Speicherstraße 12",
            "20457 Hamburg",
            "VAT ID DE123456789",
            "Łukasz Żółć",
            "Rue de l’Église 5",
            "1234 Luxembourg",
            "SKU-1",
            "Ceramic mug",
            "617.28",
            "19 %",
            "1,234.56",
            "234.57",
            "1,234.56 EUR",
            "234.57 EUR",
            "1,469.13 EUR",
            "Payable within 14 days.",
            "Thank you.",
            "Page 1 of 1",
        ],
    );
}

#[test]
fn a_credit_note_is_negative_and_names_what_it_corrects() {
    let pages = texts(&credit_note());
    assert_shows(
        &pages[0],
        &[
            "Credit note",
            "GS-2026-000007",
            "Corrects invoice",
            "RE-2026-000041 of 2026-03-01",
            "-617.28",
            "-1,234.56 EUR",
            "-234.57 EUR",
            "-1,469.13 EUR",
        ],
    );
}

#[test]
fn sixty_lines_fill_several_pages_with_a_header_on_each() {
    let lines = (0..60).map(|index| line(&format!("SKU-{index:02}"), "Ceramic mug")).collect();
    let pages = texts(&invoice(lines));
    let count = pages.len();
    assert!(count >= 2, "{count} page");
    for (index, page) in pages.iter().enumerate() {
        assert_shows(page, &["RE-2026-000042", &format!("Page {} of {count}", index + 1)]);
        if page.contains("SKU-") {
            assert_shows(page, &["Description", "Unit price net", "Net amount"]);
        }
    }
    let all = pages.concat();
    for index in 0..60 {
        assert_eq!(all.matches(&format!("SKU-{index:02}")).count(), 1, "SKU-{index:02}");
    }
    assert_eq!(all.matches("1,469.13 EUR").count(), 1);
}

#[test]
fn no_row_is_split_between_pages() {
    let name = "A description that takes the whole of three lines in its narrow column, \
                however the words in it fall, from the first one to the very LAST";
    let lines = (0..40).map(|index| line(&format!("SKU-{index:02}"), name)).collect();
    for page in texts(&invoice(lines)) {
        assert_eq!(page.matches("SKU-").count(), page.matches("LAST").count());
    }
}

#[test]
fn equal_documents_give_equal_bytes_and_others_do_not() {
    let document = invoice(vec![line("SKU-1", "Ceramic mug")]);
    let bytes = render(&document).unwrap();
    assert_eq!(render(&document.clone()).unwrap(), bytes);
    let elsewhere = std::thread::spawn({
        let document = document.clone();
        move || render(&document).unwrap()
    });
    assert_eq!(elsewhere.join().unwrap(), bytes);
    assert_ne!(render(&Document { number: "RE-2026-000043".into(), ..document }).unwrap(), bytes);
}

#[test]
fn the_file_describes_itself_and_claims_pdf_a() {
    let bytes = render(&invoice(Vec::new())).unwrap();
    let file = String::from_utf8_lossy(&bytes);
    assert_shows(
        &file,
        &[
            "<pdfaid:part>2</pdfaid:part>",
            "<pdfaid:conformance>U</pdfaid:conformance>",
            "/Lang(en)",
            "/Title(Invoice RE-2026-000042)",
            "/Author(Waybill Handels GmbH)",
            "/CreationDate(D:20260314000000",
        ],
    );
}

#[test]
fn the_currency_decides_the_decimals() {
    let mut document = invoice(vec![line("SKU-1", "Ceramic mug")]);
    document.currency = "JPY".into();
    assert_shows(&texts(&document)[0], &["123,456 JPY", "146,913 JPY"]);
    document.currency = "KWD".into();
    assert_shows(&texts(&document)[0], &["123.456 KWD", "146.913 KWD"]);
}

#[test]
fn latin_greek_and_cyrillic_are_known_and_the_rest_is_visibly_replaced() {
    let name = "Größe Ελαιόλαδο Самовар e\u{301} ½ € 漢 🍵";
    let pages = texts(&invoice(vec![line("SKU-1", name)]));
    assert_shows(&pages[0], &["Größe", "Ελαιόλαδο", "Самовар", "½ € \u{fffd} \u{fffd}"]);
}

#[test]
fn a_name_too_long_for_its_column_ends_in_an_ellipsis() {
    let name = format!("START {}END", "word ".repeat(200));
    let pages = texts(&invoice(vec![line("SKU-1", &name)]));
    assert_eq!(pages.len(), 1);
    assert_shows(&pages[0], &["START", "…"]);
    assert!(!pages[0].contains("END"), "{}", pages[0]);
}

#[test]
fn amounts_keep_every_digit() {
    let mut document = invoice(vec![line("SKU-1", "Ceramic mug")]);
    document.lines[0].quantity = u32::MAX;
    document.lines[0].tax_rate_bp = u32::MAX;
    document.lines[0].net_minor = i64::MIN;
    document.total.gross_minor = i64::MAX;
    assert_shows(
        &texts(&document)[0],
        &[
            "4,294,967,295",
            "42,949,672.95 %",
            "-92,233,720,368,547,758.08",
            "92,233,720,368,547,758.07 EUR",
        ],
    );
}

#[test]
fn a_long_note_runs_over_pages() {
    let mut document = invoice(vec![line("SKU-1", "Ceramic mug")]);
    document.note = format!("{}LAST", "Terms and conditions apply. ".repeat(700));
    let pages = texts(&document);
    assert!(pages.len() >= 2);
    assert_shows(&pages[pages.len() - 1], &["LAST", &format!("of {}", pages.len())]);
}

#[test]
fn no_text_makes_it_fail() {
    let hostile = [
        String::new(),
        " \t\r\n ".into(),
        "\0\u{1}\u{7f}\u{85}\u{9f}".into(),
        "\u{feff}\u{fffe}\u{ffff}\u{10ffff}\u{e000}\u{fdd0}".into(),
        "🍵👩‍👩‍👧‍👦🇩🇪❤️".into(),
        "שלום עולם مرحبا بالعالم".into(),
        "\u{202e}dlrow olleh\u{202c}\u{2066}x\u{2069}\u{200b}\u{ad}".into(),
        "\u{301}".repeat(1_000),
        "e\u{301}\u{323}\u{308}".repeat(300),
        "W".repeat(1_000),
        "i ".repeat(500),
        "-/".repeat(1_000),
        "\u{a0}".repeat(1_000),
        "नमस्ते 漢字かな 한국어 ไทย".into(),
        ")\\(<</>>[]%{}&<x>&amp;\"'".into(),
    ];
    for text in hostile {
        let party =
            Party { name: text.clone(), lines: vec![text.clone(); 20], vat_id: Some(text.clone()) };
        let document = Document {
            kind: Kind::CreditNote { corrects: text.clone(), of: NaiveDate::MIN },
            number: text.clone(),
            issued_on: NaiveDate::MAX,
            supplied_on: NaiveDate::MIN,
            order_id: text.clone(),
            seller: party.clone(),
            buyer: party,
            currency: text.clone(),
            lines: vec![line(&text, &text); 3],
            taxes: vec![TaxLine { rate_bp: 0, net_minor: 0, tax_minor: 0 }; 100],
            total: Total { net_minor: 0, tax_minor: 0, gross_minor: 0 },
            note: text.clone(),
        };
        let shown: String = text.chars().take(20).collect();
        let bytes = render(&document).unwrap_or_else(|error| panic!("{shown:?}: {error}"));
        lopdf::Document::load_mem(&bytes).unwrap_or_else(|error| panic!("{shown:?}: {error}"));
    }
}

#[test]
fn no_line_exceeds_the_longest_string_of_pdf_a() {
    // 32,767 bytes, which are 16,383 glyphs.
    let mut document = invoice(vec![line("SKU-1", "Ceramic mug")]);
    document.currency = "W".repeat(17_000);
    render(&document).unwrap();
    document.currency = "EUR".into();
    document.note = "\u{301}".repeat(17_000);
    render(&document).unwrap();
}
