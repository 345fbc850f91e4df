//! What a valid order is and what it costs, without a database.

use chassis::Problem;
use chrono::{DateTime, Utc};
use contracts::{
    Customer, InvalidText, OrderLine, OrderPlaced, PostalAddress, TaxLine, Text, Total,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const MAX_LINES: usize = 50;
const MAX_QUANTITY: i64 = 1000;
const CURRENCY: &str = "EUR";

/// An order as a client sends it. Prices are not the client's to say.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "customer": {"name": "Ada Lovelace", "email": "ada@example.org"},
    "ship_to": {"street": "12 St James's Square", "postal_code": "SW1Y 4LB", "city": "London", "country": "GB"},
    "lines": [{"sku": "TEA-EARL-GREY", "quantity": 2}],
}))]
pub struct PlaceOrder {
    customer: PlaceCustomer,
    ship_to: PlaceAddress,
    /// 1 to 50, each product once
    #[schema(min_items = 1, max_items = 50)]
    lines: Vec<PlaceLine>,
    /// Whether the customer wants promotional mail.
    #[serde(default)]
    promotions: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PlaceCustomer {
    #[schema(schema_with = chassis::schema::text)]
    name: String,
    #[schema(schema_with = chassis::schema::email)]
    email: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PlaceAddress {
    #[schema(schema_with = chassis::schema::text)]
    street: String,
    #[schema(schema_with = chassis::schema::text)]
    postal_code: String,
    #[schema(schema_with = chassis::schema::text)]
    city: String,
    /// ISO 3166-1 alpha-2
    #[schema(pattern = "^[A-Z]{2}$")]
    country: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PlaceLine {
    /// A product of `GET /products`
    sku: String,
    #[schema(minimum = 1, maximum = 1000)]
    quantity: i64,
}

/// A product that can be ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Product {
    pub sku: String,
    pub name: String,
    /// Net price of one, in minor units
    pub unit_price: i64,
    /// ISO 4217
    pub currency: String,
    /// Tax rate in basis points: 1900 is 19 %
    pub tax_rate: i32,
}

impl PlaceOrder {
    /// Checks the order and prices it: what comes out is valid.
    ///
    /// # Errors
    /// A 422 that names the first field that is wrong.
    pub fn price(
        self,
        product: impl Fn(&str) -> Option<Product>,
        order_id: Uuid,
        placed_at: DateTime<Utc>,
    ) -> Result<OrderPlaced, Problem> {
        let customer = Customer {
            name: text("/customer/name", self.customer.name)?,
            email: self.customer.email.try_into().map_err(at("/customer/email"))?,
        };
        let ship_to = PostalAddress {
            street: text("/ship_to/street", self.ship_to.street)?,
            postal_code: text("/ship_to/postal_code", self.ship_to.postal_code)?,
            city: text("/ship_to/city", self.ship_to.city)?,
            country: country(self.ship_to.country)?,
        };
        if self.lines.is_empty() || self.lines.len() > MAX_LINES {
            return Err(Problem::field("/lines", format!("must have 1 to {MAX_LINES} lines")));
        }
        let mut lines: Vec<OrderLine> = Vec::with_capacity(self.lines.len());
        for (i, line) in self.lines.into_iter().enumerate() {
            if let Some(first) = lines.iter().position(|priced| priced.sku == line.sku) {
                return Err(Problem::field(
                    format!("/lines/{i}/sku"),
                    format!("is ordered in line {first} already: add the quantities up"),
                ));
            }
            lines.push(price_line(i, line, &product)?);
        }
        let taxes = taxes(&lines);
        let total = total(&taxes);
        Ok(OrderPlaced {
            order_id,
            placed_at,
            customer,
            ship_to,
            currency: CURRENCY.to_owned(),
            lines,
            taxes,
            total,
            promotions: self.promotions,
        })
    }
}

fn at(pointer: &str) -> impl Fn(InvalidText) -> Problem {
    move |invalid| Problem::field(pointer, invalid.to_string())
}

fn text(pointer: &str, text: String) -> Result<Text, Problem> {
    text.try_into().map_err(at(pointer))
}

fn country(code: String) -> Result<Text, Problem> {
    match code.as_bytes() {
        [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => {
            text("/ship_to/country", code)
        }
        _ => Err(Problem::field(
            "/ship_to/country",
            "must be two capital letters, as DE (ISO 3166-1)",
        )),
    }
}

fn price_line(
    i: usize,
    line: PlaceLine,
    product: impl Fn(&str) -> Option<Product>,
) -> Result<OrderLine, Problem> {
    if !(1..=MAX_QUANTITY).contains(&line.quantity) {
        return Err(Problem::field(
            format!("/lines/{i}/quantity"),
            format!("must be from 1 to {MAX_QUANTITY}"),
        ));
    }
    let Some(product) = product(&line.sku) else {
        return Err(Problem::field(
            format!("/lines/{i}/sku"),
            "is no product that is sold here: see GET /products",
        ));
    };
    Ok(OrderLine {
        sku: product.sku,
        name: text(&format!("/lines/{i}/sku"), product.name)?,
        quantity: line.quantity as u32,
        unit_price: product.unit_price,
        tax_rate: product.tax_rate as u32,
        net: line.quantity * product.unit_price,
    })
}

/// Tax is due on the sum of a rate's lines, so that rounding happens once a rate.
fn taxes(lines: &[OrderLine]) -> Vec<TaxLine> {
    let mut rates: Vec<u32> = lines.iter().map(|line| line.tax_rate).collect();
    rates.sort_unstable();
    rates.dedup();
    let tax_line = |rate: u32| {
        let net =
            lines.iter().filter(|line| line.tax_rate == rate).map(|line| line.net).sum::<i64>();
        TaxLine { rate, net, tax: (net * i64::from(rate) + 5_000) / 10_000 }
    };
    rates.into_iter().map(tax_line).collect()
}

fn total(taxes: &[TaxLine]) -> Total {
    let net = taxes.iter().map(|line| line.net).sum();
    let tax = taxes.iter().map(|line| line.tax).sum();
    Total { net, tax, gross: net + tax }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn product(sku: &str) -> Option<Product> {
        let (unit_price, tax_rate) = match sku {
            "TEA" => (1240, 700),
            "POT" => (5990, 1900),
            "PENNY" => (1, 1900),
            _ => return None,
        };
        Some(Product {
            sku: sku.into(),
            name: sku.into(),
            unit_price,
            currency: "EUR".into(),
            tax_rate,
        })
    }

    fn order() -> Value {
        json!({
            "customer": {"name": "Ada Lovelace", "email": "ada@example.org"},
            "ship_to": {"street": "12 St James's Square", "postal_code": "SW1Y 4LB", "city": "London", "country": "GB"},
            "lines": [{"sku": "TEA", "quantity": 3}, {"sku": "POT", "quantity": 1}, {"sku": "PENNY", "quantity": 3}],
        })
    }

    fn price(order: Value) -> Result<OrderPlaced, Problem> {
        serde_json::from_value::<PlaceOrder>(order).unwrap().price(product, Uuid::nil(), Utc::now())
    }

    #[test]
    fn tax_is_rounded_once_a_rate() {
        let order = price(order()).unwrap();
        assert_eq!(
            order.taxes,
            [
                TaxLine { rate: 700, net: 3720, tax: 260 },
                TaxLine { rate: 1900, net: 5993, tax: 1139 }
            ]
        );
        assert_eq!(order.total, Total { net: 9713, tax: 1399, gross: 11112 });
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (pointer, value, told) in [
            ("/customer/name", json!("Ada\r\nBcc: eve@example.org"), "control characters"),
            ("/customer/email", json!("ada"), "mail address"),
            ("/ship_to/city", json!("  "), "blank"),
            ("/ship_to/country", json!("Germany"), "two capital letters"),
            ("/lines", json!([]), "1 to 50"),
            ("/lines/0/quantity", json!(0), "1 to 1000"),
            ("/lines/1/quantity", json!(1_000_000_000), "1 to 1000"),
            ("/lines/1/quantity", json!(-1), "1 to 1000"),
            ("/lines/2/sku", json!("GOLD"), "no product"),
            ("/lines/2/sku", json!("TEA"), "line 0 already"),
        ] {
            let mut bad = order();
            *bad.pointer_mut(pointer).unwrap() = value;
            let problem = price(bad).unwrap_err().to_string();
            assert!(problem.starts_with(pointer) && problem.contains(told), "{problem}");
        }
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        let mut bad = order();
        bad["lines"][0]["unit_price"] = json!(1);
        let error = serde_json::from_value::<PlaceOrder>(bad).unwrap_err().to_string();
        assert!(error.contains("unit_price"), "{error}");
    }
}
