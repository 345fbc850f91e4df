//! Orders to publish; of the bench, too.

use chrono::{DateTime, Utc};
use contracts::{Customer, OrderPlaced};
use uuid::Uuid;

/// An order, as it was placed at that time.
pub fn placed(order_id: Uuid, placed_at: DateTime<Utc>) -> OrderPlaced {
    serde_json::from_value(serde_json::json!({
        "order_id": order_id,
        "placed_at": placed_at,
        "customer": customer(),
        "ship_to": {"street": "1 High St", "postal_code": "SW1Y", "city": "London", "country": "GB"},
        "currency": "EUR",
        "lines": [{"sku": "TEA", "name": "Tea", "quantity": 2, "unit_price": 50, "tax_rate": 700, "net": 100}],
        "taxes": [{"rate": 700, "net": 100, "tax": 7}],
        "total": {"net": 100, "tax": 7, "gross": 107},
        "promotions": false,
    }))
    .unwrap()
}

pub fn customer() -> Customer {
    Customer { name: "Ada <b>Lovelace".parse().unwrap(), email: "ada@example.org".parse().unwrap() }
}
