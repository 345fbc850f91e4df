//! Handles records in the consumer group, with an effect for each.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use broker::{Broker, Handler, HandlerError, NewRecord, Record, Retry, Transaction};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::ActorOptions;
use crate::database::{ECHO, GROUP, TOPIC};
use crate::history::{Line, Recorder};

/// The least that the broker takes: a zombie is to lose its partitions soon.
const SESSION_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn run(
    options: &ActorOptions,
    broker: Broker,
    recorder: Recorder,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let effects = std::sync::Arc::new(Effects {
        process: format!("{}.{}", options.name, options.life),
        recorder,
        rng: Mutex::new(StdRng::seed_from_u64(options.seed)),
    });
    let join = async {
        loop {
            let group = broker
                .consumer_group(GROUP)
                .topic(TOPIC, Shared(effects.clone()))
                .session_timeout(SESSION_TIMEOUT)
                .max_batch(100)
                .retry(Retry { pause: Duration::from_millis(5), ..Retry::default() });
            match group.start().await {
                Ok(group) => return group,
                Err(error) => eprintln!("not in the group yet: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::pin!(stop);
    let group = tokio::select! {
        group = join => group,
        () = &mut stop => return Ok(()),
    };
    stop.await;
    group.stop().await;
    Ok(())
}

struct Shared(std::sync::Arc<Effects>);

struct Effects {
    process: String,
    recorder: Recorder,
    rng: Mutex<StdRng>,
}

impl Handler for Shared {
    async fn handle(&self, tx: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        let values = records
            .iter()
            .map(|record| Ok(std::str::from_utf8(record.value())?.to_owned()))
            .collect::<Result<Vec<_>, HandlerError>>()?;
        let offsets: Vec<i64> = records.iter().map(|record| record.offset() as i64).collect();
        let echoes: Vec<bool> = values.iter().map(|value| value.ends_with('0')).collect();
        let (work, fails) = {
            let mut rng = self.0.rng.lock().unwrap_or_else(PoisonError::into_inner);
            (rng.random_range(0..20), rng.random_bool(0.02))
        };
        let xid: String = sqlx::query_scalar(WRITE)
            .bind(&self.0.process)
            .bind(records[0].partition())
            .bind(&offsets)
            .bind(&values)
            .bind(&echoes)
            .fetch_one(&mut **tx)
            .await?;
        self.0
            .recorder
            .write(Line::Handle {
                xid,
                partition: records[0].partition(),
                first: offsets[0],
                count: records.len(),
                fails,
            })
            // The broker would take an error or a panic for a bad record's.
            .unwrap_or_else(|error| {
                eprintln!("{error:#}");
                std::process::abort()
            });
        for value in
            values.into_iter().zip(echoes).filter_map(|(value, echo)| echo.then_some(value))
        {
            tx.publish(NewRecord::new(ECHO, value))?;
        }
        tokio::time::sleep(Duration::from_millis(work)).await;
        match fails {
            // The records are to blame, as far as the broker knows: it looks for the bad one.
            true => Err(HandlerError::from(std::io::Error::other("fails now and then"))),
            false => Ok(()),
        }
    }
}

/// Begins with the words by which `faults::zombie` knows a member at work.
const WRITE: &str = "with effects as (insert into effect (process, partition, record_offset, value, echo)
        select $1, $2, e.record_offset, e.value, e.echo
          from unnest($3::bigint[], $4::text[], $5::bool[]) with ordinality e(record_offset, value, echo, at)
         order by e.at)
    select pg_current_xact_id()::text";
