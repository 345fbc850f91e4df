//! The rows of schema `delivery`.

use chassis::Trace;
use chrono::{DateTime, Utc};
use contracts::{Customer, PostalAddress};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::Plan;

/// What one turn of the clock moves at most.
const MOVED_AT_ONCE: i64 = 200;

/// Stores shipments of orders that have none; returns the ids of those.
pub async fn schedule(
    conn: &mut PgConnection,
    plans: &[Plan],
    traces: &[Trace],
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        r#"insert into delivery.shipment
            (order_id, shipment_id, status, customer, ship_to, tracking_code, dispatch_at, deliver_at, due_at, trace)
           select order_id, shipment_id, 'scheduled', customer, ship_to, tracking_code, dispatch_at, deliver_at, dispatch_at, trace
             from unnest($1::uuid[], $2::uuid[], $3::jsonb[], $4::jsonb[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::text[])
               as p(order_id, shipment_id, customer, ship_to, tracking_code, dispatch_at, deliver_at, trace)
           on conflict (order_id) do nothing
           returning shipment_id"#,
        &plans.iter().map(|plan| plan.order_id).collect::<Vec<_>>(),
        &plans.iter().map(|plan| plan.shipment_id).collect::<Vec<_>>(),
        &plans.iter().map(|plan| Json(&plan.customer)).collect::<Vec<_>>() as _,
        &plans.iter().map(|plan| Json(&plan.ship_to)).collect::<Vec<_>>() as _,
        &plans.iter().map(|plan| plan.tracking_code.clone()).collect::<Vec<_>>(),
        &plans.iter().map(|plan| plan.dispatch_at).collect::<Vec<_>>(),
        &plans.iter().map(|plan| plan.deliver_at).collect::<Vec<_>>(),
        &traces.iter().map(|trace| trace.as_str().to_owned()).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await
}

/// A shipment that was stopped.
pub struct Stopped {
    pub order_id: Uuid,
    pub shipment_id: Uuid,
    pub cancelled_at: DateTime<Utc>,
}

/// Cancels those shipments that have not left.
pub async fn cancel_unless_dispatched(
    conn: &mut PgConnection,
    order_ids: &[Uuid],
) -> sqlx::Result<Vec<Stopped>> {
    sqlx::query_as!(
        Stopped,
        r#"update delivery.shipment
              set status = 'cancelled', cancelled_at = now(), due_at = null
            where order_id = any ($1) and status = 'scheduled'
           returning order_id, shipment_id, cancelled_at as "cancelled_at!""#,
        order_ids
    )
    .fetch_all(conn)
    .await
}

/// A shipment that the clock moved.
pub struct MovedShipment {
    pub order_id: Uuid,
    pub shipment_id: Uuid,
    pub customer: Customer,
    pub tracking_code: String,
    pub deliver_at: DateTime<Utc>,
    pub trace: String,
    pub state: Moved,
}

pub enum Moved {
    Dispatched { at: DateTime<Utc> },
    Delivered { at: DateTime<Utc> },
}

/// Moves shipments that are due one step on.
pub async fn move_due(conn: &mut PgConnection) -> sqlx::Result<Vec<MovedShipment>> {
    let rows = sqlx::query!(
        r#"with due as (
               select order_id from delivery.shipment
                where due_at <= now()
                order by due_at limit $1
                  for update skip locked)
           update delivery.shipment s
              set status = case s.status when 'scheduled' then 'dispatched' else 'delivered' end,
                  dispatched_at = coalesce(s.dispatched_at, now()),
                  delivered_at = case s.status when 'dispatched' then now() end,
                  due_at = case s.status when 'scheduled' then s.deliver_at end
             from due where s.order_id = due.order_id
           returning s.order_id, s.shipment_id, s.customer as "customer!: Json<Customer>", s.tracking_code,
                     s.deliver_at, s.trace, s.dispatched_at as "dispatched_at!", s.delivered_at"#,
        MOVED_AT_ONCE
    )
    .fetch_all(conn)
    .await?;
    let moved = rows.into_iter().map(|row| MovedShipment {
        order_id: row.order_id,
        shipment_id: row.shipment_id,
        customer: row.customer.0,
        tracking_code: row.tracking_code,
        deliver_at: row.deliver_at,
        trace: row.trace,
        state: match row.delivered_at {
            Some(at) => Moved::Delivered { at },
            None => Moved::Dispatched { at: row.dispatched_at },
        },
    });
    Ok(moved.collect())
}

/// How long until something is due, in seconds, by the database's clock.
pub async fn seconds_to_next(conn: &mut PgConnection) -> sqlx::Result<Option<f64>> {
    sqlx::query_scalar!(
        r#"select extract(epoch from min(due_at) - clock_timestamp())::float8
             from delivery.shipment where due_at is not null"#
    )
    .fetch_one(conn)
    .await
}

/// A shipment, as it is answered.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Shipment {
    pub order_id: Uuid,
    pub shipment_id: Uuid,
    /// scheduled, dispatched, delivered or cancelled
    pub status: String,
    pub tracking_code: String,
    #[schema(value_type = Object)]
    pub ship_to: Json<PostalAddress>,
    pub dispatch_at: DateTime<Utc>,
    pub deliver_at: DateTime<Utc>,
    pub dispatched_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub cancelled_at: Option<DateTime<Utc>>,
}

pub async fn find(pool: &PgPool, order_id: Uuid) -> sqlx::Result<Option<Shipment>> {
    sqlx::query_as!(
        Shipment,
        r#"select order_id, shipment_id, status, tracking_code, ship_to as "ship_to: Json<PostalAddress>",
                  dispatch_at, deliver_at, dispatched_at, delivered_at, cancelled_at
             from delivery.shipment where order_id = $1"#,
        order_id
    )
    .fetch_optional(pool)
    .await
}
