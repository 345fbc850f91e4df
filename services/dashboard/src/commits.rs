//! Commits of the groups that read what is told here, kept for as long as that is: the log keeps
//! their progress for ten minutes or a hundred commits.
//!
//! A look takes whatever was committed since the last, of all groups and partitions in one
//! question, and keeps it as a row a partition. What was trimmed before anybody looked is missing.

use std::time::Duration;

use broker::{Broker, Passed};
use chrono::{DateTime, Utc};
use contracts::{
    Event, InvoiceIssued, MailSent, OrderPlaced, PromotionAnnounced, ShipmentScheduled,
};
use sqlx::PgPool;
use tokio::sync::watch;
use tracing::warn;

/// Well within the ten minutes.
const EVERY: Duration = Duration::from_secs(5);
/// Those that timelines are made of.
const TOPICS: [&str; 5] = [
    OrderPlaced::TOPIC,
    ShipmentScheduled::TOPIC,
    InvoiceIssued::TOPIC,
    MailSent::TOPIC,
    PromotionAnnounced::TOPIC,
];

/// Keeps them until the service stops.
pub async fn run(broker: Broker, pool: PgPool, mut stopping: watch::Receiver<bool>) {
    loop {
        if let Err(error) = look(&broker, &pool).await {
            warn!("commits of the groups are kept late: {error}");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

async fn look(broker: &Broker, pool: &PgPool) -> anyhow::Result<()> {
    let marks: Vec<(i32, i32, i64)> =
        sqlx::query_as("select subscription, partition, seq from dashboard.group_commit_mark")
            .fetch_all(pool)
            .await?;
    let news = broker.commits(&TOPICS, &marks).await?;
    sqlx::query(
        "with news as (
            select * from unnest($1::int[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                                 $8::timestamptz[], $9::int[], $10::bigint[])
                    n(subscription, partition, seq, consumer_group, topic, start, upto, at, generation, transaction)
         ), kept as (
            insert into dashboard.group_commit (subscription, partition, seq, consumer_group, topic, upto, last_at,
                                                starts, ends, at, generations, transactions)
            select subscription, partition, max(seq), consumer_group, topic, max(upto), max(at),
                   array_agg(start order by seq), array_agg(upto order by seq), array_agg(at order by seq),
                   array_agg(generation order by seq), array_agg(transaction order by seq)
              from news group by subscription, partition, consumer_group, topic
             -- In one order, so that two dashboards cannot wait for each other; one of them keeps it.
             order by subscription, partition
            on conflict do nothing
         )
         insert into dashboard.group_commit_mark as m (subscription, partition, seq)
         select subscription, partition, max(seq) from news group by 1, 2 order by 1, 2
         on conflict (subscription, partition) do update set seq = greatest(m.seq, excluded.seq)",
    )
    .bind(news.iter().map(|commit| commit.subscription).collect::<Vec<_>>())
    .bind(news.iter().map(|commit| commit.partition).collect::<Vec<_>>())
    .bind(news.iter().map(|commit| commit.seq).collect::<Vec<_>>())
    .bind(news.iter().map(|commit| commit.consumer_group.clone()).collect::<Vec<_>>())
    .bind(news.iter().map(|commit| commit.topic.clone()).collect::<Vec<_>>())
    .bind(news.iter().map(|commit| commit.start).collect::<Vec<_>>())
    .bind(news.iter().map(|commit| commit.upto).collect::<Vec<_>>())
    .bind(news.iter().map(|commit| commit.at).collect::<Vec<_>>())
    .bind(news.iter().map(|commit| commit.generation).collect::<Vec<_>>())
    .bind(news.iter().map(|commit| commit.transaction).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

/// A record that a group got past, in a way that the log has forgotten.
pub struct Wanted<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub passed: &'a mut Passed,
}

/// Adds what was kept; where a group got past a record several times, one of them.
pub async fn recall(pool: &PgPool, wanted: &mut [Wanted<'_>]) -> sqlx::Result<()> {
    let found: Vec<(i64, DateTime<Utc>, i64, i32, i64)> = sqlx::query_as(
        "select w.nth, c.at, c.transaction, c.generation, c.ends - c.starts
           from unnest($1::text[], $2::int[], $3::text[], $4::bigint[]) with ordinality
                    w(topic, partition, consumer_group, record_offset, nth)
          cross join lateral (
            select * from dashboard.group_commit k
             where k.topic = w.topic and k.partition = w.partition and k.consumer_group = w.consumer_group
               and k.upto > w.record_offset
             order by k.upto limit 1) k
          cross join lateral (
            select * from unnest(k.starts, k.ends, k.at, k.generations, k.transactions)
                            c(starts, ends, at, generation, transaction)
             where c.starts <= w.record_offset and c.ends > w.record_offset
             limit 1) c",
    )
    .bind(wanted.iter().map(|of| of.topic.to_owned()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|of| of.partition).collect::<Vec<_>>())
    .bind(wanted.iter().map(|of| of.passed.consumer_group.clone()).collect::<Vec<_>>())
    .bind(wanted.iter().map(|of| of.offset).collect::<Vec<_>>())
    .fetch_all(pool)
    .await?;
    for (nth, at, transaction, generation, records) in found {
        let Some(of) = wanted.get_mut(nth as usize - 1) else { continue };
        of.passed.at = Some(at);
        of.passed.transaction = Some(transaction);
        of.passed.generation = Some(generation);
        of.passed.records = Some(records);
    }
    Ok(())
}
