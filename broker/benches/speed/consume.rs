//! Reading a backlog and keeping the place in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use broker::{Broker, Handler, HandlerError, Record, Transaction};
use tokio::sync::{Mutex, Notify};

use crate::bare;
use crate::clients::Rounds;
use crate::report::{Aim, Report};
use crate::world::{Log, PARTITIONS, World};

pub async fn run(world: &World, report: &mut Report) {
    report.section("consume");
    let records = world.pick(200_000, 1_000_000);
    let log = world.log().await;
    let broker = log.broker().await;
    log.backlog(world, &broker, records).await;
    fill_bare(world, &log, records).await;
    let pages: [(u32, &str, Aim); 3] = [
        (500, "batches, at most 500 at once (the default)", Aim::None),
        (1000, "batches, at most 1,000 at once", Aim::None),
        (5000, "batches, at most 5,000 at once", Aim::AtLeast(1.3)),
    ];
    let mut of_pages = pages.map(|_| Rounds::default());
    let (mut four, mut one) = (Rounds::default(), Rounds::default());
    for _ in 0..world.rounds {
        for ((page, ..), rounds) in pages.iter().zip(&mut of_pages) {
            let bare = bare::read_all(&log, 0, i64::from(*page), records).await;
            let ours = groups(&broker, "t", 1, *page, records).await;
            rounds.push(rate(records, ours), rate(records, bare));
        }
        let bare = four_cursors(&log, records).await;
        let alone = groups(&broker, "t", 1, 5000, records).await;
        let ours = groups(&broker, "t", 4, 5000, records).await;
        four.push(rate(4 * records, ours), rate(4 * records, bare));
        one.push(rate(4 * records, ours), rate(records, alone));
    }
    for ((_, what, aim), rounds) in pages.iter().zip(&of_pages) {
        report.rates(what, rounds, *aim);
    }
    report.rates("four groups : four cursors, at most 5,000", &four, Aim::AtLeast(1.3));
    report.rates("four groups' deliveries : one group's", &one, Aim::None);

    let records = records / 4;
    broker.create_topic("singles", PARTITIONS as u32).await.unwrap();
    singles(world, &log, records).await;
    let mut rounds = Rounds::default();
    for _ in 0..world.rounds {
        let bare = bare::read_all(&log, 0, 1000, records).await;
        let ours = groups(&broker, "singles", 1, 1000, records).await;
        rounds.push(rate(records, ours), rate(records, bare));
    }
    report.rates("single-record batches, at most 1,000", &rounds, Aim::AtLeast(0.6));
    broker.shutdown().await;
    log.close(world).await;
}

fn rate(records: usize, time: Duration) -> f64 {
    records as f64 / time.as_secs_f64()
}

async fn fill_bare(world: &World, log: &Log, records: usize) {
    let mut session = log.session().await;
    for first in (0..records).step_by(1000) {
        let rows = (first..first + 1000).map(|i| world.value(i));
        bare::copy(&mut session, bare::copy_data(rows)).await;
    }
}

/// One record a batch, forty batches a tick.
async fn singles(world: &World, log: &Log, records: usize) {
    let topic: i32 =
        sqlx::query_scalar("select log.topic_id('singles')").fetch_one(&log.pool).await.unwrap();
    let mut session = log.session().await;
    crate::world::run(&mut session, "set synchronous_commit = off").await;
    for first in (0..records).step_by(40) {
        let bodies: Vec<Vec<u8>> =
            (first..first + 40).map(|i| [&[0; 4][..], world.value(i)].concat()).collect();
        sqlx::query(
            "insert into log.record_batch (topic, partition, lens, body)
             select $1, i % $2, int4send(octet_length(body)), body
               from unnest($3::bytea[]) with ordinality b(body, i)",
        )
        .bind(topic)
        .bind(PARTITIONS)
        .bind(bodies)
        .execute(&mut session)
        .await
        .unwrap();
    }
    log.sequenced().await;
}

async fn four_cursors(log: &Log, records: usize) -> Duration {
    let begun = Instant::now();
    let [a, b, c, d] = [1, 2, 3, 4].map(|reader| bare::read_all(log, reader, 5000, records));
    tokio::join!(a, b, c, d);
    begun.elapsed()
}

/// Counts, and knows when the first came and the last was done.
#[derive(Clone, Default)]
pub struct Count {
    begun: Arc<Mutex<Option<Instant>>>,
    seen: Arc<AtomicUsize>,
    expected: usize,
    done: Arc<Notify>,
}

impl Count {
    pub fn new(expected: usize) -> Count {
        Count { expected, ..Count::default() }
    }

    /// From the first call to the end of the last.
    pub async fn all(&self) -> Duration {
        self.done.notified().await;
        self.begun.lock().await.expect("a first call").elapsed()
    }
}

impl Handler for Count {
    async fn handle(&self, _: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        if self.seen.load(Ordering::Relaxed) == 0 {
            self.begun.lock().await.get_or_insert_with(Instant::now);
        }
        let bytes: usize = records.iter().map(|record| record.value().len()).sum();
        std::hint::black_box(bytes);
        if self.seen.fetch_add(records.len(), Ordering::Relaxed) + records.len() >= self.expected {
            self.done.notify_one();
        }
        Ok(())
    }
}

/// New groups, started at once, that each read the topic from its beginning.
pub async fn groups(
    broker: &Broker,
    topic: &str,
    groups: usize,
    max_batch: u32,
    records: usize,
) -> Duration {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let count = Count::new(groups * records);
    let mut consumers = Vec::new();
    for _ in 0..groups {
        let name = format!("g{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let group = broker.consumer_group(&name).topic(topic, count.clone()).max_batch(max_batch);
        consumers.push(tokio::spawn(group.start()));
    }
    let time = count.all().await;
    for consumer in consumers {
        consumer.await.unwrap().unwrap().stop().await;
    }
    time
}

/// As [`groups`], but they have joined and claimed before the first of them may read.
pub async fn together(
    log: &Log,
    broker: &Broker,
    topic: &str,
    groups: usize,
    max_batch: u32,
    records: usize,
) -> Duration {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let count = Count::new(groups * records);
    let mut consumers = Vec::new();
    for _ in 0..groups {
        let name = format!("t{}", STARTED.fetch_add(1, Ordering::Relaxed));
        sqlx::query("select log.pause($1, $2) from log.subscribe($1, $2, 'earliest')")
            .bind(&name)
            .bind(topic)
            .execute(&log.pool)
            .await
            .unwrap();
        let group = broker.consumer_group(&name).topic(topic, count.clone()).max_batch(max_batch);
        consumers.push(group.start().await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    sqlx::query("update log.subscription set paused_at = null").execute(&log.pool).await.unwrap();
    sqlx::query("select pg_notify('log_tick', '')").execute(&log.pool).await.unwrap();
    let time = count.all().await;
    let stops: Vec<_> =
        consumers.into_iter().map(|consumer| tokio::spawn(consumer.stop())).collect();
    for stop in stops {
        stop.await.unwrap();
    }
    time
}
