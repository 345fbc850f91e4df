//! What stands on an invoice and on a credit note.

use std::str::FromStr;

use contracts::{OrderLine, PostalAddress, TaxLine, Text};

use crate::domain::Issued;
use crate::pdf::{self, Document, Party};

/// Who issues the documents. The defaults are made up; the VAT number's check digit is wrong
/// (8 would be right), so that it can be nobody's.
#[derive(Debug, Clone, clap::Args)]
pub struct Seller {
    /// The seller's name on every document.
    #[arg(
        id = "seller_name",
        value_name = "SELLER_NAME",
        long = "seller-name",
        env = "SELLER_NAME",
        default_value = "Waybill Trading GmbH"
    )]
    pub name: Text,

    /// The seller's address, its lines separated by `;` or line feeds.
    #[arg(
        id = "seller_address",
        value_name = "SELLER_ADDRESS",
        long = "seller-address",
        env = "SELLER_ADDRESS",
        default_value = "Musterstrasse 12; 20457 Hamburg; Germany"
    )]
    pub address: AddressLines,

    /// The seller's VAT identification number; the default is an example and
    /// nobody's.
    #[arg(
        id = "seller_vat_id",
        value_name = "SELLER_VAT_ID",
        long = "seller-vat-id",
        env = "SELLER_VAT_ID",
        default_value = "DE123456789"
    )]
    pub vat_id: Text,
}

/// An address, line by line: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressLines(Vec<Text>);

impl FromStr for AddressLines {
    type Err = contracts::InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lines = text.split([';', '\n']).map(str::trim).filter(|line| !line.is_empty());
        let lines = lines.map(str::parse).collect::<Result<Vec<Text>, _>>()?;
        match lines.is_empty() {
            true => Err(contracts::InvalidText::Blank),
            false => Ok(AddressLines(lines)),
        }
    }
}

/// A document as it is to be drawn.
pub fn document(seller: &Seller, issued: &Issued) -> Document {
    let draft = &issued.draft;
    let (kind, note) = match &draft.corrects {
        None => (
            pdf::Kind::Invoice,
            format!("Payable within 14 days. Please quote {} when paying.", issued.number),
        ),
        Some(invoice) => (
            pdf::Kind::CreditNote { corrects: invoice.number.clone(), of: invoice.issued_on },
            format!(
                "The order was cancelled. This cancels invoice {}: nothing is left to pay, and what was paid is paid back.",
                invoice.number
            ),
        ),
    };
    Document {
        kind,
        number: issued.number.clone(),
        issued_on: issued.issued_on,
        supplied_on: draft.supplied_on,
        order_id: draft.order_id.to_string(),
        seller: Party {
            name: seller.name.to_string(),
            lines: seller.address.0.iter().map(Text::to_string).collect(),
            vat_id: Some(seller.vat_id.to_string()),
        },
        buyer: Party {
            name: draft.customer.name.to_string(),
            lines: address(&draft.ship_to),
            vat_id: None,
        },
        currency: draft.currency.clone(),
        lines: draft.lines.iter().map(line).collect(),
        taxes: draft.taxes.iter().map(tax).collect(),
        total: pdf::Total {
            net_minor: draft.total.net,
            tax_minor: draft.total.tax,
            gross_minor: draft.total.gross,
        },
        note,
    }
}

fn address(address: &PostalAddress) -> Vec<String> {
    vec![
        address.street.to_string(),
        format!("{} {}", address.postal_code, address.city),
        address.country.to_string(),
    ]
}

fn line(line: &OrderLine) -> pdf::Line {
    pdf::Line {
        sku: line.sku.clone(),
        name: line.name.to_string(),
        quantity: line.quantity,
        unit_price_minor: line.unit_price,
        tax_rate_bp: line.tax_rate,
        net_minor: line.net,
    }
}

fn tax(line: &TaxLine) -> pdf::TaxLine {
    pdf::TaxLine { rate_bp: line.rate, net_minor: line.net, tax_minor: line.tax }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::InvalidText;

    #[test]
    fn an_address_has_lines() {
        let lines = |text: &str| text.parse::<AddressLines>();
        let two = AddressLines(vec!["1 Main Street".parse().unwrap(), "Town".parse().unwrap()]);
        assert_eq!(lines("1 Main Street; Town;"), Ok(two.clone()));
        assert_eq!(lines("1 Main Street\n\nTown\n"), Ok(two));
        assert_eq!(lines(" ; "), Err(InvalidText::Blank));
        assert_eq!(lines("a\tb;c"), Err(InvalidText::ControlCharacter));
    }
}
