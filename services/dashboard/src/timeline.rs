//! What every subscriber here does with its events: adds each to its order's timeline, to the
//! minute in which it happened and to the times from orders to effects, with the progress of the
//! group, and so exactly once.

use broker::{HandlerError, Transaction};
use chassis::Received;
use chrono::{DateTime, Utc};
use contracts::Event;
use serde_json::Value;
use uuid::Uuid;

/// What an event says, for a timeline and for counting.
pub struct Fact {
    /// The order; of a promotion, the promotion.
    pub subject_id: Uuid,
    pub at: DateTime<Utc>,
    pub details: Value,
    /// Currency, and minor units of it.
    pub amount: Option<(String, i64)>,
    /// What it is called where the time since the order says how fast the system is.
    pub effect: Option<String>,
}

/// The type's bare name, without system and version.
pub fn kind_of(ce_type: &str) -> &str {
    ce_type.split('.').nth(1).unwrap_or(ce_type)
}

/// Adds events of one partition. What stands there already, because the group was moved back,
/// is neither added nor counted again, nor is what was forgotten since.
pub async fn tell<E: Event>(
    tx: &mut Transaction,
    events: &[Received<E>],
    fact: impl Fn(&E) -> Fact,
) -> Result<(), HandlerError> {
    let Some(first) = events.first() else { return Ok(()) };
    let (topic, partition) = (first.record.topic().to_owned(), first.record.partition());
    let facts: Vec<Fact> = events.iter().map(|event| fact(event)).collect();
    let amount = |fact: &Fact| fact.amount.clone().unwrap_or_default();
    sqlx::query(
        "with told as (
            select * from unnest($4::uuid[], $5::timestamptz[], $6::timestamptz[], $7::jsonb[], $8::text[], $9::bigint[], $10::text[], $11::bigint[])
                as t(subject_id, at, published_at, details, currency, amount, effect, record_offset)
             where record_offset >= coalesce((select below from dashboard.forgotten where topic = $1 and partition = $2), 0)
         ), added as (
            insert into dashboard.step (topic, partition, record_offset, subject_id, kind, at, published_at, details)
            select $1, $2, record_offset, subject_id, $3, at, published_at, details from told
            on conflict do nothing
            returning record_offset
         ), effect as (
            select t.record_offset, t.subject_id, t.effect, t.at, o.at as ordered
              from told t join added using (record_offset)
              left join lateral (
                select s.at from dashboard.step s
                 where s.subject_id = t.subject_id and s.kind = 'OrderPlaced' order by s.at limit 1) o on true
             where t.effect is not null
         ), timed as (
            insert into dashboard.delay (minute, effect, partition, bucket, n)
            select date_trunc('minute', at), effect, $2, dashboard.delay_bucket(ordered, at), count(*)
              from effect where ordered is not null group by 1, 2, 4
            on conflict (minute, effect, partition, bucket) do update set n = delay.n + excluded.n
         ), waiting as (
            insert into dashboard.waiting_effect (topic, partition, record_offset, subject_id, effect, at)
            select $1, $2, record_offset, subject_id, effect, at from effect where ordered is null
         )
         insert into dashboard.minute (minute, kind, topic, partition, currency, n, amount)
         select date_trunc('minute', t.at), $3, $1, $2, t.currency, count(*), sum(t.amount)::bigint
           from told t join added using (record_offset)
          group by 1, t.currency
         on conflict (minute, kind, topic, partition, currency)
         do update set n = minute.n + excluded.n, amount = minute.amount + excluded.amount",
    )
    .bind(topic)
    .bind(partition)
    .bind(kind_of(E::TYPE))
    .bind(facts.iter().map(|fact| fact.subject_id).collect::<Vec<_>>())
    .bind(facts.iter().map(|fact| fact.at).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.record.published_at()).collect::<Vec<_>>())
    .bind(facts.iter().map(|fact| fact.details.clone()).collect::<Vec<_>>())
    .bind(facts.iter().map(|fact| amount(fact).0).collect::<Vec<_>>())
    .bind(facts.iter().map(|fact| amount(fact).1).collect::<Vec<_>>())
    .bind(facts.iter().map(|fact| fact.effect.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.record.offset() as i64).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
