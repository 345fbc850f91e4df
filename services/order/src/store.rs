//! The rows of schema `orders`.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::{Customer, OrderPlaced, PostalAddress};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tracing::warn;
use uuid::Uuid;

use crate::domain::Product;
use crate::writer::NewOrder;

pub async fn products(pool: &PgPool) -> sqlx::Result<Vec<Product>> {
    sqlx::query_as!(
        Product,
        "select sku, name, unit_price, currency, tax_rate from orders.product order by sku"
    )
    .fetch_all(pool)
    .await
}

/// Takes the keys that nobody used before; returns the orders that they were taken for. A
/// key that another transaction is taking is waited for.
pub async fn claim_keys(conn: &mut PgConnection, news: &[NewOrder]) -> sqlx::Result<HashSet<Uuid>> {
    let first = sqlx::query_scalar!(
        r#"insert into orders.idempotency (key, fingerprint, order_id, answer)
           select * from unnest($1::text[], $2::bytea[], $3::uuid[], $4::text[]) n(key, fingerprint, order_id, answer)
            -- In one order, so that two such transactions cannot wait for each other.
            order by key
           on conflict (key) do nothing
           returning order_id"#,
        &news.iter().map(|new| new.key.clone()).collect::<Vec<_>>(),
        &news.iter().map(|new| new.fingerprint.clone()).collect::<Vec<_>>(),
        &news.iter().map(|new| new.order.order_id).collect::<Vec<_>>(),
        &news.iter().map(|new| new.answer.clone()).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await?;
    Ok(first.into_iter().collect())
}

/// What was answered to a key before.
pub struct Stored {
    pub key: String,
    pub fingerprint: Vec<u8>,
    pub order_id: Uuid,
    pub answer: String,
}

pub async fn answers(conn: &mut PgConnection, news: &[NewOrder]) -> sqlx::Result<Vec<Stored>> {
    sqlx::query_as!(
        Stored,
        "select key, fingerprint, order_id, answer from orders.idempotency where key = any ($1)",
        &news.iter().map(|new| new.key.clone()).collect::<Vec<_>>(),
    )
    .fetch_all(conn)
    .await
}

pub async fn insert_orders(conn: &mut PgConnection, orders: &[&OrderPlaced]) -> sqlx::Result<()> {
    sqlx::query!(
        r#"insert into orders.customer_order (order_id, placed_at, customer, ship_to, currency, net, tax, gross)
           select * from unnest($1::uuid[], $2::timestamptz[], $3::jsonb[], $4::jsonb[], $5::text[],
                                $6::bigint[], $7::bigint[], $8::bigint[])"#,
        &orders.iter().map(|order| order.order_id).collect::<Vec<_>>(),
        &orders.iter().map(|order| order.placed_at).collect::<Vec<_>>(),
        &orders.iter().map(|order| Json(&order.customer)).collect::<Vec<_>>() as _,
        &orders.iter().map(|order| Json(&order.ship_to)).collect::<Vec<_>>() as _,
        &orders.iter().map(|order| order.currency.clone()).collect::<Vec<_>>(),
        &orders.iter().map(|order| order.total.net).collect::<Vec<_>>(),
        &orders.iter().map(|order| order.total.tax).collect::<Vec<_>>(),
        &orders.iter().map(|order| order.total.gross).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn insert_lines(conn: &mut PgConnection, orders: &[&OrderPlaced]) -> sqlx::Result<()> {
    let lines = || {
        orders.iter().flat_map(|order| {
            order
                .lines
                .iter()
                .zip(1..)
                .map(move |(line, position)| (order.order_id, position, line))
        })
    };
    sqlx::query!(
        r#"insert into orders.order_line (order_id, position, sku, name, quantity, unit_price, tax_rate, net)
           select * from unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::int[], $6::bigint[], $7::int[], $8::bigint[])"#,
        &lines().map(|(order_id, ..)| order_id).collect::<Vec<_>>(),
        &lines().map(|(_, position, _)| position).collect::<Vec<i32>>(),
        &lines().map(|(.., line)| line.sku.clone()).collect::<Vec<_>>(),
        &lines().map(|(.., line)| line.name.to_string()).collect::<Vec<_>>(),
        &lines().map(|(.., line)| line.quantity as i32).collect::<Vec<_>>(),
        &lines().map(|(.., line)| line.unit_price).collect::<Vec<_>>(),
        &lines().map(|(.., line)| line.tax_rate as i32).collect::<Vec<_>>(),
        &lines().map(|(.., line)| line.net).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An order, as it is answered.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Order {
    pub order_id: Uuid,
    /// placed, scheduled, dispatched, delivered or cancelled
    pub status: String,
    /// requested, accepted or refused; absent where nobody asked
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancellation: Option<String>,
    pub placed_at: DateTime<Utc>,
    #[schema(value_type = Object)]
    pub customer: Json<Customer>,
    #[schema(value_type = Object)]
    pub ship_to: Json<PostalAddress>,
    /// ISO 4217
    pub currency: String,
    #[schema(value_type = Vec<Line>)]
    pub lines: Json<Vec<Line>>,
    /// Amounts in minor units
    pub net: i64,
    pub tax: i64,
    pub gross: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit_note_number: Option<String>,
}

#[derive(Debug, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Line {
    pub sku: String,
    pub name: String,
    pub quantity: i64,
    pub unit_price: i64,
    pub tax_rate: i64,
    pub net: i64,
}

pub async fn find(pool: &PgPool, order_id: Uuid) -> sqlx::Result<Option<Order>> {
    sqlx::query_as!(
        Order,
        r#"select order_id, status, cancellation, placed_at, customer as "customer: Json<Customer>",
                  ship_to as "ship_to: Json<PostalAddress>", currency, net, tax, gross,
                  tracking_code, invoice_number, credit_note_number,
                  (select jsonb_agg(to_jsonb(l) - 'order_id' - 'position' order by l.position)
                     from orders.order_line l where l.order_id = o.order_id) as "lines!: Json<Vec<Line>>"
             from orders.customer_order o where order_id = $1"#,
        order_id
    )
    .fetch_optional(pool)
    .await
}

/// Asks for a cancellation, where nothing is against it yet. Whether that was so.
pub async fn request_cancellation(conn: &mut PgConnection, order_id: Uuid) -> sqlx::Result<bool> {
    let asked = sqlx::query!(
        r#"update orders.customer_order set cancellation = 'requested'
            where order_id = $1 and cancellation is null and status in ('placed', 'scheduled')"#,
        order_id
    )
    .execute(conn)
    .await?;
    Ok(asked.rows_affected() > 0)
}

/// What an event adds to an order's story.
pub struct Entry {
    pub order_id: Uuid,
    pub at: DateTime<Utc>,
    pub data: Value,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// Appends to the stories of orders. What is told of an order that is not ours is left out.
pub async fn append(conn: &mut PgConnection, kind: &str, entries: &[Entry]) -> sqlx::Result<()> {
    let order_ids: Vec<Uuid> = entries.iter().map(|entry| entry.order_id).collect();
    // Whoever appends to an order holds its row: a sequence without gaps needs one at a time.
    sqlx::query!(
        "select order_id from orders.customer_order where order_id = any ($1) order by order_id for update",
        &order_ids
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!(
        r#"insert into orders.order_event (order_id, seq, type, at, data, topic, partition, record_offset)
           select e.order_id,
                  coalesce((select max(h.seq) from orders.order_event h where h.order_id = e.order_id), 0)
                    + row_number() over (partition by e.order_id order by e.ord),
                  $2, e.at, e.data, e.topic, e.partition, e.record_offset
             from unnest($1::uuid[], $3::timestamptz[], $4::jsonb[], $5::text[], $6::int[], $7::bigint[])
                    with ordinality e(order_id, at, data, topic, partition, record_offset, ord)
             join orders.customer_order o on o.order_id = e.order_id"#,
        &order_ids,
        kind,
        &entries.iter().map(|entry| entry.at).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.data.clone()).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.topic.clone()).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.partition).collect::<Vec<_>>(),
        &entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How an event changes its order's row; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub status: Option<&'static str>,
    /// What a cancellation that was requested becomes.
    pub cancellation: Option<&'static str>,
    pub tracking_code: Option<String>,
    pub invoice_number: Option<String>,
    pub credit_note_number: Option<String>,
}

pub async fn change(conn: &mut PgConnection, changes: &[(Uuid, Change)]) -> sqlx::Result<()> {
    let column = |pick: fn(&Change) -> Option<String>| {
        changes.iter().map(|(_, change)| pick(change)).collect::<Vec<_>>()
    };
    sqlx::query!(
        r#"update orders.customer_order o
              set status = coalesce(c.status, o.status),
                  cancellation = case when o.cancellation = 'requested' then coalesce(c.cancellation, o.cancellation) else o.cancellation end,
                  tracking_code = coalesce(c.tracking_code, o.tracking_code),
                  invoice_number = coalesce(c.invoice_number, o.invoice_number),
                  credit_note_number = coalesce(c.credit_note_number, o.credit_note_number)
             from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
                    c(order_id, status, cancellation, tracking_code, invoice_number, credit_note_number)
            where o.order_id = c.order_id"#,
        &changes.iter().map(|(order_id, _)| *order_id).collect::<Vec<_>>(),
        &column(|change| change.status.map(str::to_owned)) as _,
        &column(|change| change.cancellation.map(str::to_owned)) as _,
        &column(|change| change.tracking_code.clone()) as _,
        &column(|change| change.invoice_number.clone()) as _,
        &column(|change| change.credit_note_number.clone()) as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The customers of orders, for events that are to carry them.
pub async fn customers(
    conn: &mut PgConnection,
    order_ids: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, Customer)>> {
    let rows = sqlx::query!(
        r#"select order_id, customer as "customer: Json<Customer>" from orders.customer_order where order_id = any ($1)"#,
        order_ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.order_id, row.customer.0)).collect())
}

/// A step of an order's story.
#[derive(Debug, serde::Serialize)]
pub struct Step {
    pub seq: i32,
    #[serde(rename = "type")]
    pub kind: String,
    pub at: DateTime<Utc>,
    pub data: Value,
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// The steps after `seq`, at most a hundred.
pub async fn steps(pool: &PgPool, order_id: Uuid, after: i32) -> sqlx::Result<Vec<Step>> {
    sqlx::query_as!(
        Step,
        r#"select seq, type as kind, at, data, topic, partition, record_offset as "offset"
             from orders.order_event where order_id = $1 and seq > $2 order by seq limit 100"#,
        order_id,
        after
    )
    .fetch_all(pool)
    .await
}

/// Deletes what was answered to keys a day ago and more.
pub async fn forget_old_keys(pool: PgPool, mut stopping: watch::Receiver<bool>) {
    loop {
        let gone = sqlx::query!(
            "delete from orders.idempotency where created_at < now() - interval '1 day'"
        );
        if let Err(error) = gone.execute(&pool).await {
            warn!("old idempotency keys stay for now: {error}");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(600)) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}
