//! Amounts, counts, rates and dates as text.

use chrono::NaiveDate;

/// How many decimals a currency has (ISO 4217).
fn decimals(currency: &str) -> usize {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// `123456` minor units of EUR as `1,234.56`.
pub(super) fn amount(minor: i64, currency: &str) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let digits = minor.unsigned_abs();
    let decimals = decimals(currency);
    let (whole, fraction) = match decimals {
        0 => (digits, String::new()),
        2 => (digits / 100, format!(".{:02}", digits % 100)),
        _ => (digits / 1000, format!(".{:03}", digits % 1000)),
    };
    format!("{sign}{}{fraction}", count(whole))
}

/// `123456` minor units of EUR as `1,234.56 EUR`.
pub(super) fn money(minor: i64, currency: &str) -> String {
    format!("{} {currency}", amount(minor, currency))
}

/// `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1900` basis points as `19 %`, `550` as `5.5 %`.
pub(super) fn rate(basis_points: u32) -> String {
    let whole = count(u64::from(basis_points / 100));
    let fraction = format!("{:02}", basis_points % 100);
    match fraction.trim_end_matches('0') {
        "" => format!("{whole} %"),
        fraction => format!("{whole}.{fraction} %"),
    }
}

/// A date that no reader takes for another one: `2026-03-14`.
pub(super) fn date(date: NaiveDate) -> String {
    date.format("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_its_currencys_decimals() {
        assert_eq!(amount(123_456, "EUR"), "1,234.56");
        assert_eq!(amount(123_456, "JPY"), "123,456");
        assert_eq!(amount(1_234_567, "KWD"), "1,234.567");
        assert_eq!(money(5, "EUR"), "0.05 EUR");
    }

    #[test]
    fn a_negative_amount_keeps_its_sign_even_below_one() {
        assert_eq!(amount(-5, "EUR"), "-0.05");
        assert_eq!(amount(-100_000, "EUR"), "-1,000.00");
        assert_eq!(amount(i64::MIN, "EUR"), "-92,233,720,368,547,758.08");
    }

    #[test]
    fn a_rate_has_no_needless_decimals() {
        assert_eq!(rate(1900), "19 %");
        assert_eq!(rate(550), "5.5 %");
        assert_eq!(rate(725), "7.25 %");
        assert_eq!(rate(0), "0 %");
    }
}
