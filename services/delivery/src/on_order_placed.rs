//! An order was placed: a shipment is scheduled.

use broker::{HandlerError, Transaction};
use chassis::{EventTransaction, Received, Subscriber};
use chrono::Utc;
use contracts::{OrderPlaced, ShipmentScheduled};

use crate::domain::{Pace, Plan};
use crate::store;

pub struct OnOrderPlaced {
    pub pace: Pace,
}

impl Subscriber for OnOrderPlaced {
    type Event = OrderPlaced;

    async fn handle(
        &self,
        tx: &mut Transaction,
        orders: &[Received<OrderPlaced>],
    ) -> Result<(), HandlerError> {
        let now = Utc::now();
        let plans: Vec<Plan> =
            orders.iter().map(|order| Plan::for_order(order, now, self.pace)).collect();
        let traces: Vec<_> = orders.iter().map(|order| order.trace.clone()).collect();
        let scheduled = store::schedule(tx, &plans, &traces).await?;
        for (plan, trace) in plans.iter().zip(&traces) {
            // An order that already has its shipment keeps that one.
            if scheduled.contains(&plan.shipment_id) {
                tx.publish_event(
                    &ShipmentScheduled {
                        order_id: plan.order_id,
                        shipment_id: plan.shipment_id,
                        scheduled_at: now,
                        dispatch_at: plan.dispatch_at,
                        deliver_at: plan.deliver_at,
                    },
                    trace,
                )?;
            }
        }
        Ok(())
    }
}
