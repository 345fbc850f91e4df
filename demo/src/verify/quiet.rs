//! Waits until nothing is on its way any more.

use std::time::{Duration, Instant};

use dashboard::control::{Finding, Told};
use sqlx::PgPool;

use super::report::finding;

/// What is on its way: one row a kind, with how many. Services write lines to topic `log` to the very
/// last, of stopping too: no order waits for those.
const ON_THEIR_WAY: &str = "
    select 'batches without offsets' as what,
           (select count(*) from log.record_batch where topic <> (select log.topic_id('log')))
             - coalesce(sum(cardinality(ids)), 0)::bigint as n
      from log.block where topic <> (select log.topic_id('log'))
    union all
    select format('records that group %s has not handled', consumer_group), sum(lag)::bigint
      from log.group_lag where topic <> 'log' group by consumer_group
    union all
    select 'shipments that are due to move', count(*) from delivery.shipment where due_at is not null
    union all
    select 'documents that are not rendered', count(*) from invoice.document where rendered_at is null
    union all
    select 'mails that are queued', count(*) from email.mail where status = 'queued'";

/// Waits so long; what is on its way then is a finding.
pub async fn wait(pool: &PgPool, patience: Duration) -> sqlx::Result<Vec<Finding>> {
    let deadline = Instant::now() + patience;
    loop {
        let rows: Vec<(String, i64)> = sqlx::query_as(ON_THEIR_WAY).fetch_all(pool).await?;
        let under_way: Vec<String> = rows
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .map(|(what, n)| format!("{n} {what}"))
            .collect();
        if under_way.is_empty() {
            return Ok(Vec::new());
        }
        if Instant::now() > deadline {
            let wrong = Told { first: under_way, more: 0 };
            return Ok(finding("nothing is on its way any more", wrong).into_iter().collect());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
