//! Whether an order's amounts are what its lines come to, without a database.

use std::collections::BTreeMap;

use contracts::{InvalidText, OrderPlaced, TaxLine, Text};

/// Why an order cannot be invoiced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    #[error("the order has no lines")]
    NoLines,
    #[error("currency {0:?} is no ISO 4217 code, as EUR")]
    Currency(String),
    #[error("lines[{line}].sku {invalid}")]
    Sku { line: usize, invalid: InvalidText },
    #[error("lines[{line}] has a negative price")]
    Negative { line: usize },
    #[error("taxes names the rate {0} twice, or no line has it")]
    SurplusRate(u32),
    #[error("taxes lacks the rate {0} of a line")]
    MissingRate(u32),
    #[error("{what} is {stated}, but should be {right}")]
    Sum { what: String, stated: i64, right: i128 },
}

/// Whether an order's amounts are what its lines come to.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(order: &OrderPlaced) -> Result<(), Wrong> {
    if order.lines.is_empty() {
        return Err(Wrong::NoLines);
    }
    if order.currency.len() != 3 || !order.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Wrong::Currency(order.currency.clone()));
    }
    // In 128 bits, where no sum of what a record can hold overflows.
    let mut nets: BTreeMap<u32, i128> = BTreeMap::new();
    for (i, line) in order.lines.iter().enumerate() {
        Text::try_from(line.sku.clone()).map_err(|invalid| Wrong::Sku { line: i, invalid })?;
        if line.unit_price < 0 {
            return Err(Wrong::Negative { line: i });
        }
        let net = i128::from(line.quantity) * i128::from(line.unit_price);
        equal(|| format!("lines[{i}].net"), line.net, net)?;
        *nets.entry(line.tax_rate).or_default() += net;
    }
    let (mut net_total, mut tax_total) = (0, 0);
    for &TaxLine { rate, net, tax } in &order.taxes {
        let lines_net = nets.remove(&rate).ok_or(Wrong::SurplusRate(rate))?;
        equal(|| format!("taxes.net at rate {rate}"), net, lines_net)?;
        let lines_tax = tax_on(lines_net, rate);
        equal(|| format!("taxes.tax at rate {rate}"), tax, lines_tax)?;
        net_total += lines_net;
        tax_total += lines_tax;
    }
    if let Some(rate) = nets.into_keys().next() {
        return Err(Wrong::MissingRate(rate));
    }
    equal(|| "total.net".into(), order.total.net, net_total)?;
    equal(|| "total.tax".into(), order.total.tax, tax_total)?;
    equal(|| "total.gross".into(), order.total.gross, net_total + tax_total)
}

/// Rounded half up, once for all lines of a rate.
fn tax_on(net: i128, rate: u32) -> i128 {
    (net * i128::from(rate) + 5_000) / 10_000
}

fn equal(what: impl FnOnce() -> String, stated: i64, right: i128) -> Result<(), Wrong> {
    match i128::from(stated) == right {
        true => Ok(()),
        false => Err(Wrong::Sum { what: what(), stated, right }),
    }
}

#[cfg(test)]
pub mod tests {
    use contracts::{Customer, OrderLine, PostalAddress, Total};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// An order of (quantity, price, rate), priced as the order service does.
    fn order(lines: &[(u32, i64, u32)]) -> OrderPlaced {
        let lines: Vec<OrderLine> = lines
            .iter()
            .map(|&(quantity, unit_price, tax_rate)| OrderLine {
                sku: "TEA".into(),
                name: "Tea".parse().unwrap(),
                quantity,
                unit_price,
                tax_rate,
                net: i64::from(quantity) * unit_price,
            })
            .collect();
        let mut nets = BTreeMap::new();
        for line in &lines {
            *nets.entry(line.tax_rate).or_insert(0) += line.net;
        }
        let taxes: Vec<TaxLine> = nets
            .into_iter()
            .map(|(rate, net)| TaxLine { rate, net, tax: (net * i64::from(rate) + 5_000) / 10_000 })
            .collect();
        let (net, tax) =
            taxes.iter().fold((0, 0), |(net, tax), line| (net + line.net, tax + line.tax));
        OrderPlaced {
            order_id: Uuid::now_v7(),
            placed_at: chrono::Utc::now(),
            customer: Customer {
                name: "Ada".parse().unwrap(),
                email: "ada@example.org".parse().unwrap(),
            },
            ship_to: PostalAddress {
                street: "1 Main Street".parse().unwrap(),
                postal_code: "12345".parse().unwrap(),
                city: "Springfield".parse().unwrap(),
                country: "DE".parse().unwrap(),
            },
            currency: "EUR".into(),
            lines,
            taxes,
            total: Total { net, tax, gross: net + tax },
            promotions: false,
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = || order(&[(2, 1240, 700), (1, 5990, 1900)]);
        let told = |change: fn(&mut OrderPlaced)| {
            let mut order = good();
            change(&mut order);
            check(&order).unwrap_err().to_string()
        };
        assert_eq!(check(&good()), Ok(()));
        assert_eq!(told(|o| o.lines.clear()), "the order has no lines");
        assert_eq!(
            told(|o| o.currency = "eur".into()),
            r#"currency "eur" is no ISO 4217 code, as EUR"#
        );
        assert_eq!(
            told(|o| o.lines[1].sku = "A\0".into()),
            "lines[1].sku must not contain control characters"
        );
        assert_eq!(told(|o| o.lines[0].unit_price = -1), "lines[0] has a negative price");
        assert_eq!(told(|o| o.lines[0].net = 1), "lines[0].net is 1, but should be 2480");
        assert_eq!(
            told(|o| o.taxes[0].net = 2481),
            "taxes.net at rate 700 is 2481, but should be 2480"
        );
        assert_eq!(
            told(|o| o.taxes[1].tax = 1139),
            "taxes.tax at rate 1900 is 1139, but should be 1138"
        );
        assert_eq!(told(|o| o.taxes.truncate(1)), "taxes lacks the rate 1900 of a line");
        assert_eq!(
            told(|o| o.taxes.push(o.taxes[0])),
            "taxes names the rate 700 twice, or no line has it"
        );
        assert_eq!(told(|o| o.total.net += 1), "total.net is 8471, but should be 8470");
        assert_eq!(told(|o| o.total.tax -= 1), "total.tax is 1311, but should be 1312");
        assert_eq!(told(|o| o.total.gross = 0), "total.gross is 0, but should be 9782");
    }

    pub fn orders() -> impl Strategy<Value = OrderPlaced> {
        let rate = prop_oneof![Just(0u32), Just(700), Just(1900), 0u32..10_000];
        proptest::collection::vec((1u32..=1000, 0i64..10_000_000, rate), 1..50)
            .prop_map(|lines| order(&lines))
    }

    proptest! {
        /// However little it is off, and in whichever amount.
        #[test]
        fn no_amount_can_be_off(mut order in orders(), which in 0usize..6, at: proptest::sample::Index, by in prop_oneof![Just(-1i64), Just(1), -1_000_000i64..-1]) {
            let (line, tax) = (at.index(order.lines.len()), at.index(order.taxes.len()));
            match which {
                0 => order.lines[line].net += by,
                1 => order.taxes[tax].net += by,
                2 => order.taxes[tax].tax += by,
                3 => order.total.net += by,
                4 => order.total.tax += by,
                _ => order.total.gross += by,
            }
            prop_assert!(check(&order).is_err());
        }

        #[test]
        fn extreme_amounts_do_not_overflow(quantity: u32, unit_price: i64, net: i64, rate: u32, tax: i64) {
            let mut order = order(&[(1, 1, 1); 3]);
            for line in &mut order.lines {
                (line.quantity, line.unit_price, line.net, line.tax_rate) = (quantity, unit_price, net, rate);
            }
            order.taxes = vec![TaxLine { rate, net, tax }];
            let _ = check(&order);
        }
    }
}
