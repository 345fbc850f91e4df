//! Talks to the order service as its customers do.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// A client of the order service.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// The answer to an order.
#[derive(Debug, Clone, Deserialize)]
pub struct Accepted {
    pub order_id: Uuid,
    pub currency: String,
    pub gross: i64,
}

/// A step of an order's story.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    pub seq: i32,
    #[serde(rename = "type")]
    pub kind: String,
    pub data: Value,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// A customer's order for two kinds of thing.
pub fn sample_order(name: &str, email: &str) -> Value {
    json!({
        "customer": {"name": name, "email": email},
        "ship_to": {"street": "12 St James's Square", "postal_code": "SW1Y 4LB", "city": "London", "country": "GB"},
        "lines": [{"sku": "TEA-EARL-GREY", "quantity": 2}, {"sku": "POT-CAST-IRON", "quantity": 1}],
    })
}

impl Client {
    pub fn new(base: &str) -> anyhow::Result<Client> {
        let http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5)).build()?;
        Ok(Client { http, base: base.to_owned() })
    }

    /// Places an order; `key` makes a retry the same order.
    pub async fn place(&self, order: &Value, key: Uuid) -> anyhow::Result<Accepted> {
        let response = self
            .http
            .post(format!("{}/orders", self.base))
            .header("idempotency-key", key.to_string())
            .timeout(Duration::from_secs(30))
            .json(order)
            .send()
            .await?;
        let status = response.status();
        let text = response.text().await?;
        if status != 201 {
            bail!("POST /orders was answered with {status}: {text}");
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// Places an order however long it takes: the same key until there is a 201.
    pub async fn place_surely(&self, order: &Value, deadline: Instant) -> anyhow::Result<Accepted> {
        let key = Uuid::new_v4();
        loop {
            match self.place(order, key).await {
                Ok(accepted) => return Ok(accepted),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Follows an order from step `after` on, until the server ends the stream.
    pub async fn follow(
        &self,
        order_id: Uuid,
        after: i32,
        mut on_step: impl FnMut(Step),
    ) -> anyhow::Result<()> {
        let response = self
            .http
            .get(format!("{}/orders/{order_id}/events", self.base))
            .header("last-event-id", after.to_string())
            .send()
            .await?
            .error_for_status()?;
        let mut stream = response.bytes_stream();
        let mut text = Vec::new();
        while let Some(piece) = stream.next().await {
            text.extend_from_slice(&piece?);
            while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = text.drain(..end + 2).collect();
                let event = String::from_utf8_lossy(&event);
                if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                    on_step(serde_json::from_str(data).context("an event that is no step")?);
                }
            }
        }
        Ok(())
    }
}

/// Whether a service answers that it is ready.
pub async fn is_ready(base: &str) -> bool {
    let Ok(client) = reqwest::Client::builder().timeout(Duration::from_secs(2)).build() else {
        return false;
    };
    client
        .get(format!("{base}/readyz"))
        .send()
        .await
        .is_ok_and(|answer| answer.status().is_success())
}
