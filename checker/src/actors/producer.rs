//! Sends records in every way that there is, from several tasks at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::{Broker, Error, NewRecord};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ActorOptions;
use crate::database::TOPIC;
use crate::history::{How, Line, Outcome, Recorder};

const WORKERS: u64 = 4;
const KEYS: u32 = 4;
/// After so long nothing is waited for, and the outcome is unknown.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(
    options: &ActorOptions,
    broker: Broker,
    recorder: Recorder,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (recorder, ops) = (Arc::new(recorder), Arc::new(AtomicU64::new(0)));
    let (stopping, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    for n in 0..WORKERS {
        let worker = Worker {
            name: format!("{}.{}.{n}", options.name, options.life),
            broker: broker.clone(),
            recorder: recorder.clone(),
            ops: ops.clone(),
            rng: StdRng::seed_from_u64(options.seed.wrapping_add(n)),
            seconds_a_record: WORKERS as f64 / options.rate,
            sent: 0,
        };
        workers.spawn(worker.work(stopped.clone()));
    }
    tokio::pin!(stop);
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                Some(ended) => ended??,
                None => return Ok(()),
            },
            () = &mut stop, if !*stopping.borrow() => drop(stopping.send_replace(true)),
        }
    }
}

struct Worker {
    name: String,
    broker: Broker,
    recorder: Arc<Recorder>,
    ops: Arc<AtomicU64>,
    rng: StdRng,
    seconds_a_record: f64,
    sent: u64,
}

impl Worker {
    async fn work(mut self, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
        while !*stopped.borrow() {
            let records = self.records();
            let how = match self.rng.random_range(0..10) {
                0..6 => How::Publish,
                6..9 => How::Transaction,
                _ => How::Rollback,
            };
            let op = self.ops.fetch_add(1, Ordering::Relaxed);
            let count = records.len();
            self.recorder.write(Line::Invoke { op, how, records: records.clone() })?;
            let result = match tokio::time::timeout(PATIENCE, self.send(how, records)).await {
                Ok(result) => result,
                Err(_) => Err((Outcome::Unknown, "no answer for 30 seconds".to_owned())),
            };
            let (outcome, why) = match result {
                Ok(()) => (Outcome::Ok, None),
                Err((outcome, why)) => (outcome, Some(why)),
            };
            let pause = match outcome {
                Outcome::Ok => count as f64 * self.seconds_a_record,
                _ => 0.05,
            };
            self.recorder.write(Line::Complete { op, outcome, why })?;
            let pause = pause * self.rng.random_range(0.0..2.0);
            tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        }
        Ok(())
    }

    /// One or some, of this worker's own keys. A value says who sent it as how many'th, so it is
    /// never used again, whatever becomes of it.
    fn records(&mut self) -> Vec<(String, String)> {
        let count = if self.rng.random_bool(0.5) { 1 } else { self.rng.random_range(2..=20) };
        let record = |_| {
            self.sent += 1;
            let key = self.rng.random_range(0..KEYS);
            (format!("{}.{key}", self.name), format!("{}.{}", self.name, self.sent))
        };
        (0..count).map(record).collect()
    }

    async fn send(
        &mut self,
        how: How,
        records: Vec<(String, String)>,
    ) -> Result<(), (Outcome, String)> {
        let values: Vec<String> = records.iter().map(|(_, value)| value.clone()).collect();
        let records = records.into_iter().map(|(key, value)| NewRecord::new(TOPIC, value).key(key));
        if how == How::Publish {
            return self.broker.publish(records).await.map_err(told);
        }
        // Nothing of a transaction is kept that was not asked to commit.
        let failed = |error: sqlx::Error| (Outcome::Failed, error.to_string());
        let mut tx = self.broker.begin().await.map_err(told)?;
        for record in records {
            tx.publish(record).map_err(told)?;
        }
        sqlx::query("insert into ledger select * from unnest($1::text[])")
            .bind(values)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        // Open for a while, now and then for long: later transactions overtake it.
        let open = if self.rng.random_bool(0.02) { 1000 } else { 10 };
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..open))).await;
        match how {
            How::Rollback => {
                drop(tx);
                Ok(())
            }
            _ => tx.commit().await.map_err(told),
        }
    }
}

/// As the broker's documentation has it: after any other error nothing was stored.
fn told(error: Error) -> (Outcome, String) {
    match error {
        Error::OutcomeUnknown(_) => (Outcome::Unknown, error.to_string()),
        _ => (Outcome::Failed, error.to_string()),
    }
}
