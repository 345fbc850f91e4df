//! The order service as its customers meet it: by HTTP, knowing nothing else of it.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use chassis::Problem;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(10);
const PAGE_PATIENCE: Duration = Duration::from_secs(2);
const MAX_ANSWER_BYTES: usize = 256 * 1024;

#[derive(Clone)]
pub struct Orders {
    http: reqwest::Client,
    base: String,
}

/// What can be ordered.
#[derive(Debug, Clone, Deserialize)]
pub struct Product {
    pub sku: String,
    pub name: String,
    pub unit_price: i64,
    pub currency: String,
}

/// The form on the page.
#[derive(Debug, Clone, Deserialize)]
pub struct NewOrder {
    pub name: String,
    pub email: String,
    pub sku: String,
    pub quantity: String,
}

/// An order that was answered with 201.
pub struct Placed {
    pub order_id: Uuid,
    pub took: Duration,
}

impl Orders {
    pub fn new(base: &Url) -> anyhow::Result<Orders> {
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            // Nothing of it leaves for elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Orders { http, base: base.as_str().trim_end_matches('/').to_owned() })
    }

    /// The products; none where the order service does not answer.
    pub async fn products(&self) -> Option<Vec<Product>> {
        let request = self.http.get(format!("{}/products", self.base)).timeout(PAGE_PATIENCE);
        let answer = request.send().await.ok()?.error_for_status().ok()?;
        serde_json::from_slice(&body(answer).await?).ok()
    }

    /// Places an order; the same `key` again is the same order.
    ///
    /// # Errors
    /// What the order service says against it; 502 where it says nothing of sense, 503 where
    /// it cannot be reached.
    pub async fn place(&self, order: &NewOrder, key: &str) -> Result<Placed, Problem> {
        let quantity: i64 = order.quantity.trim().parse().map_err(|_| {
            Problem::field("/quantity", format!("{:?} is no number", order.quantity))
        })?;
        let order = json!({
            "customer": {"name": order.name, "email": order.email},
            "ship_to": {"street": "12 St James's Square", "postal_code": "SW1Y 4LB", "city": "London", "country": "GB"},
            "lines": [{"sku": order.sku, "quantity": quantity}],
        });
        let request = self.http.post(format!("{}/orders", self.base));
        let request = request.header("idempotency-key", key).timeout(PATIENCE).json(&order);
        let asked = Instant::now();
        let answer = request.send().await.map_err(|error| {
            tracing::warn!("the order service cannot be reached: {error}");
            Problem::overloaded(
                format!("the order service does not answer at {}; nothing is known of this order: send the form again", self.base),
                2,
            )
        })?;
        let status = answer.status().as_u16();
        let body = body(answer).await.unwrap_or_default();
        let took = asked.elapsed();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let order_id = body["order_id"].as_str().and_then(|id| id.parse().ok());
        match (status, order_id) {
            (201, Some(order_id)) => Ok(Placed { order_id, took }),
            (400..=599, _) if body["detail"].is_string() => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                let detail = body["detail"].as_str().unwrap_or_default();
                let field =
                    body["pointer"].as_str().map(|at| format!("{at}: ")).unwrap_or_default();
                Err(Problem::new(status, format!("the order service says: {field}{detail}")))
            }
            _ => Err(Problem::new(
                StatusCode::BAD_GATEWAY,
                format!(
                    "the order service answered with {status} and no order: is ORDER_URL right?"
                ),
            )),
        }
    }
}

/// An answer's body; `None` where it breaks off or is too large.
pub async fn body(mut answer: reqwest::Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.ok()? {
        if body.len() + piece.len() > MAX_ANSWER_BYTES {
            return None;
        }
        body.extend_from_slice(&piece);
    }
    Some(body)
}
