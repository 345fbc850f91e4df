//! Dispatches and delivers what is due. Any number of instances may do so at once: each
//! takes rows that no other has in hand.

use std::time::Duration;

use broker::Broker;
use chassis::{EventTransaction, Trace};
use contracts::{ShipmentDelivered, ShipmentDispatched};
use tokio::sync::watch;
use tracing::warn;

use crate::store::{self, Moved};

/// The longest sleep: another instance may have scheduled something meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
const SHORTEST_SLEEP: Duration = Duration::from_millis(5);

pub async fn run(broker: Broker, mut stopping: watch::Receiver<bool>) {
    loop {
        let sleep = match move_what_is_due(&broker).await {
            Ok(0) => until_next(&broker).await.unwrap_or(LONGEST_SLEEP),
            Ok(_) => Duration::ZERO,
            Err(error) => {
                warn!("shipments will be moved later: {error}");
                LONGEST_SLEEP
            }
        };
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Moves a batch of shipments a step on, and says so in the same transaction.
async fn move_what_is_due(broker: &Broker) -> Result<usize, broker::Error> {
    let mut tx = broker.begin().await?;
    let moved = store::move_due(&mut tx).await?;
    for shipment in &moved {
        let trace = Trace::from_header(Some(&shipment.trace));
        match shipment.state {
            Moved::Dispatched { at } => tx.publish_event(
                &ShipmentDispatched {
                    order_id: shipment.order_id,
                    shipment_id: shipment.shipment_id,
                    dispatched_at: at,
                    deliver_at: shipment.deliver_at,
                    tracking_code: shipment.tracking_code.clone(),
                    customer: shipment.customer.clone(),
                },
                &trace,
            )?,
            Moved::Delivered { at } => tx.publish_event(
                &ShipmentDelivered {
                    order_id: shipment.order_id,
                    shipment_id: shipment.shipment_id,
                    delivered_at: at,
                    customer: shipment.customer.clone(),
                },
                &trace,
            )?,
        }
    }
    tx.commit().await?;
    Ok(moved.len())
}

async fn until_next(broker: &Broker) -> Result<Duration, broker::Error> {
    let mut tx = broker.begin().await?;
    let until = store::seconds_to_next(&mut tx).await?;
    let until =
        until.map_or(LONGEST_SLEEP, |seconds| Duration::from_secs_f64(seconds.clamp(0.0, 1.0)));
    Ok(until.clamp(SHORTEST_SLEEP, LONGEST_SLEEP))
}
