//! The rules of delivery, without a database.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::{Customer, OrderPlaced, PostalAddress};
use uuid::Uuid;

const HANDLING: Duration = Duration::from_secs(20 * 60);
const TRANSIT: Duration = Duration::from_secs(40 * 60);

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    handling: Duration,
    transit: Duration,
}

impl Pace {
    /// The warehouse's pace, so many times faster than the wall clock.
    pub fn at_speed(speed: f64) -> Pace {
        Pace { handling: HANDLING.div_f64(speed), transit: TRANSIT.div_f64(speed) }
    }
}

/// A speed between a thousandth and a million.
pub fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.001..=1_000_000.0).contains(&speed) => Ok(speed),
        _ => Err("must be a number from 0.001 to 1000000, as 60 for a minute a second".to_owned()),
    }
}

/// A shipment that is to be scheduled.
#[derive(Debug, Clone)]
pub struct Plan {
    pub order_id: Uuid,
    pub shipment_id: Uuid,
    pub customer: Customer,
    pub ship_to: PostalAddress,
    pub tracking_code: String,
    pub dispatch_at: DateTime<Utc>,
    pub deliver_at: DateTime<Utc>,
}

impl Plan {
    pub fn for_order(order: &OrderPlaced, now: DateTime<Utc>, pace: Pace) -> Plan {
        let shipment_id = Uuid::now_v7();
        let dispatch_at = now + pace.handling;
        Plan {
            order_id: order.order_id,
            shipment_id,
            customer: order.customer.clone(),
            ship_to: order.ship_to.clone(),
            tracking_code: tracking_code(shipment_id),
            dispatch_at,
            deliver_at: dispatch_at + pace.transit,
        }
    }
}

/// Two letters, twelve digits and a check digit, so that a mistyped code is noticed.
fn tracking_code(shipment_id: Uuid) -> String {
    // The low bits of a v7 id are random.
    let digits = format!("{:012}", shipment_id.as_u128() % 1_000_000_000_000);
    format!("WB{digits}{}", check_digit(&digits))
}

/// As on a GTIN: weights 3 and 1 from the right, up to the next ten.
fn check_digit(digits: &str) -> u32 {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, digit)| u32::from(digit - b'0') * if i % 2 == 0 { 3 } else { 1 })
        .sum();
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_clock_takes_less_time() {
        let pace = Pace::at_speed(3600.0);
        assert_eq!((pace.handling.as_millis(), pace.transit.as_millis()), (333, 666));
        assert!(
            parse_speed("0").is_err() && parse_speed("NaN").is_err() && parse_speed("x").is_err()
        );
    }

    #[test]
    fn a_tracking_code_checks_itself() {
        // A GTIN-13 from the standard's own example.
        assert_eq!(check_digit("629104150021"), 3);
        let code = tracking_code(Uuid::now_v7());
        assert_eq!((code.len(), &code[..2]), (15, "WB"));
        assert_eq!(check_digit(&code[2..14]).to_string(), code[14..]);
    }
}
