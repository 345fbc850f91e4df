//! The rules of invoicing, without a database.

use chassis::Trace;
use chrono::NaiveDate;
use contracts::{Customer, OrderLine, OrderPlaced, PostalAddress, TaxLine, Total};
use uuid::Uuid;

/// Invoice or credit note; each is numbered in a series of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Invoice,
    CreditNote,
}

impl Kind {
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Invoice => "invoice",
            Kind::CreditNote => "credit_note",
        }
    }

    /// The numbers of one year.
    pub fn series(self, year: i32) -> String {
        match self {
            Kind::Invoice => format!("INV-{year}"),
            Kind::CreditNote => format!("CN-{year}"),
        }
    }
}

/// A number as it is printed: six digits, more where a year has more.
pub fn number(series: &str, seq: i64) -> String {
    format!("{series}-{seq:06}")
}

/// All that a document says, but for its number and its date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub order_id: Uuid,
    /// A credit note's invoice; an invoice has none.
    pub corrects: Option<Corrected>,
    pub supplied_on: NaiveDate,
    pub customer: Customer,
    pub ship_to: PostalAddress,
    pub currency: String,
    pub lines: Vec<OrderLine>,
    pub taxes: Vec<TaxLine>,
    pub total: Total,
    /// What caused it.
    pub trace: String,
}

/// The invoice that a credit note corrects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrected {
    pub number: String,
    pub issued_on: NaiveDate,
}

/// A document with its number and its date, in UTC.
#[derive(Debug, Clone)]
pub struct Issued {
    pub number: String,
    pub issued_on: NaiveDate,
    pub draft: Draft,
}

impl Draft {
    pub fn invoice(order: &OrderPlaced, trace: &Trace) -> Draft {
        Draft {
            order_id: order.order_id,
            corrects: None,
            // Invoiced before the parcel leaves: the order's day is the only one that is known.
            supplied_on: order.placed_at.date_naive(),
            customer: order.customer.clone(),
            ship_to: order.ship_to.clone(),
            currency: order.currency.clone(),
            lines: order.lines.clone(),
            taxes: order.taxes.clone(),
            total: order.total,
            trace: trace.as_str().to_owned(),
        }
    }

    /// The same with negative amounts, so that the two add up to nothing.
    pub fn credit_note(invoice: &Issued, trace: &Trace) -> Draft {
        let mut credit = invoice.draft.clone();
        credit.corrects =
            Some(Corrected { number: invoice.number.clone(), issued_on: invoice.issued_on });
        credit.trace = trace.as_str().to_owned();
        for line in &mut credit.lines {
            (line.unit_price, line.net) = (-line.unit_price, -line.net);
        }
        for tax in &mut credit.taxes {
            (tax.net, tax.tax) = (-tax.net, -tax.tax);
        }
        let Total { net, tax, gross } = credit.total;
        credit.total = Total { net: -net, tax: -tax, gross: -gross };
        credit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check::tests::orders;

    #[test]
    fn a_number_has_six_digits_or_more() {
        assert_eq!(number(&Kind::Invoice.series(2026), 1), "INV-2026-000001");
        assert_eq!(number(&Kind::CreditNote.series(2026), 999_999), "CN-2026-999999");
        assert_eq!(number(&Kind::Invoice.series(2027), 1_234_567), "INV-2027-1234567");
    }

    proptest! {
        #[test]
        fn a_credit_note_and_its_invoice_add_up_to_nothing(order in orders()) {
            let trace = Trace::from_header(None);
            let invoice = Draft::invoice(&order, &trace);
            let issued = Issued {
                number: "INV-2026-000001".into(),
                issued_on: invoice.supplied_on,
                draft: invoice.clone(),
            };
            let credit = Draft::credit_note(&issued, &trace);
            prop_assert_eq!(credit.total.net + credit.total.tax, credit.total.gross);
            prop_assert_eq!(credit.total.gross + invoice.total.gross, 0);
            prop_assert_eq!(credit.lines.iter().map(|line| line.net).sum::<i64>(), credit.total.net);
            prop_assert_eq!(credit.taxes.iter().map(|line| line.tax).sum::<i64>(), credit.total.tax);
            for line in &credit.lines {
                prop_assert_eq!(i64::from(line.quantity) * line.unit_price, line.net);
            }
        }
    }
}
