//! What stands in each mail, as text and as HTML. The words are in `templates/`.

use askama::Template;
use contracts::{
    CreditNoteIssued, InvoiceIssued, OrderCancelled, OrderPlaced, ShipmentDelivered,
    ShipmentDispatched, Text,
};

use crate::domain::money;

/// A mail's subject and its two bodies, which say the same.
#[derive(Debug, Clone)]
pub struct Letter {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// Declares a letter: the same fields for its two templates.
macro_rules! letters {
    ($($name:ident($text:literal, $html:literal) { $($field:ident: $type:ty),+ $(,)? })+) => {$(
        #[derive(Template)]
        #[template(path = $html)]
        struct $name<'a> { $($field: $type),+ }

        impl $name<'_> {
            fn write(self, subject: String) -> Result<Letter, askama::Error> {
                #[derive(Template)]
                #[template(path = $text)]
                struct InText<'a> { $($field: $type),+ }

                let html = self.render()?;
                let text = InText { $($field: self.$field),+ }.render()?;
                Ok(Letter { subject, text, html })
            }
        }
    )+};
}
letters! {
    Confirmation("confirmation.txt", "confirmation.html") { order: &'a OrderPlaced }
    Cancellation("cancellation.txt", "cancellation.html") { order: &'a OrderCancelled }
    Dispatched("dispatched.txt", "dispatched.html") {
        parcel: &'a ShipmentDispatched,
        tracking_code: &'a Text,
        expected: String,
    }
    Delivered("delivered.txt", "delivered.html") { parcel: &'a ShipmentDelivered, arrived: String }
    Invoice("invoice.txt", "invoice.html") {
        invoice: &'a InvoiceIssued,
        number: &'a Text,
        total: String,
    }
    CreditNote("credit_note.txt", "credit_note.html") {
        note: &'a CreditNoteIssued,
        number: &'a Text,
        corrects: &'a Text,
        total: String,
    }
    Promotion("promotion.txt", "promotion.html") {
        name: &'a str,
        subject: &'a str,
        paragraphs: &'a [Text],
        unsubscribe: &'a str,
    }
}

/// Minutes, in a time zone that is named: the customer's is not known.
const TIME: &str = "%-d %B %Y, %H:%M UTC";

pub fn confirmation(order: &OrderPlaced) -> Result<Letter, askama::Error> {
    Confirmation { order }.write(format!("We received your order {}", order.order_id))
}

pub fn cancellation(order: &OrderCancelled) -> Result<Letter, askama::Error> {
    Cancellation { order }.write(format!("Your order {} is cancelled", order.order_id))
}

pub fn dispatched(
    parcel: &ShipmentDispatched,
    tracking_code: &Text,
) -> Result<Letter, askama::Error> {
    let expected = parcel.deliver_at.format(TIME).to_string();
    let subject = format!("Your order {} is on its way", parcel.order_id);
    Dispatched { parcel, tracking_code, expected }.write(subject)
}

pub fn delivered(parcel: &ShipmentDelivered) -> Result<Letter, askama::Error> {
    let arrived = parcel.delivered_at.format(TIME).to_string();
    let subject = format!("Your order {} was delivered", parcel.order_id);
    Delivered { parcel, arrived }.write(subject)
}

pub fn invoice(invoice: &InvoiceIssued, number: &Text) -> Result<Letter, askama::Error> {
    let total = money(invoice.total.gross, &invoice.currency);
    let subject = format!("Invoice {number} for your order {}", invoice.order_id);
    Invoice { invoice, number, total }.write(subject)
}

pub fn credit_note(
    note: &CreditNoteIssued,
    number: &Text,
    corrects: &Text,
) -> Result<Letter, askama::Error> {
    // The amounts are negative; "you get back" says so already.
    let total = money(note.total.gross.saturating_neg(), &note.currency);
    let subject = format!("Credit note {number} for your order {}", note.order_id);
    CreditNote { note, number, corrects, total }.write(subject)
}

pub fn promotion(
    name: &str,
    subject: &str,
    paragraphs: &[Text],
    unsubscribe: &str,
) -> Result<Letter, askama::Error> {
    Promotion { name, subject, paragraphs, unsubscribe }.write(subject.to_owned())
}

/// The pages behind an unsubscribe link.
#[derive(Template)]
#[template(path = "unsubscribe.html")]
pub struct UnsubscribePage {
    /// Whether it is done, rather than offered.
    pub done: bool,
}
