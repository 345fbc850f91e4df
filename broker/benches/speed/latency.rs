//! From `publish` to the handler, alone and under load.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broker::{Broker, Handler, HandlerError, NewRecord, Record, Start, Transaction};
use hdrhistogram::Histogram;
use tokio::time::sleep_until;

use crate::bare::Hop;
use crate::clients::{median, per_second};
use crate::plot::{self, Point};
use crate::report::{Aim, Report, thousands};
use crate::world::World;

/// Between events of the comparison: an idle log.
const PAUSE: Duration = Duration::from_millis(8);

pub async fn run(world: &World, report: &mut Report) {
    report.section("latency");
    let log = world.log().await;
    let broker = log.broker().await;
    let clock = Clock::default();
    let group = broker.consumer_group("clock").topic("t", clock.clone()).start_at(Start::Latest);
    let consumer = group.start().await.unwrap();
    let other = log.broker().await;
    // The groups' first second is the fetching of what they own.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let mut hop = Hop::new(&log).await;
    let [mut here, mut across] = [(); 2].map(|()| (Vec::new(), Vec::new()));
    let mut sides = [(); 3].map(|()| histogram());
    for _ in 0..world.rounds {
        let mut round = [(); 3].map(|()| histogram());
        // Event by event, so that what else the machine does meets all three.
        for i in 0..world.pick(60, 300) {
            tokio::time::sleep(PAUSE).await;
            micros(&mut round[0], hop.once(world.value(i)).await);
            for (n, from) in [&broker, &other].into_iter().enumerate() {
                tokio::time::sleep(PAUSE).await;
                round[n + 1].add(open_loop(world, from, &clock, PAUSE, PAUSE).await).unwrap();
            }
        }
        for (n, (p50, p99)) in [&mut here, &mut across].into_iter().enumerate() {
            p50.push(at(&round[n + 1], 0.5) / at(&round[0], 0.5));
            p99.push(at(&round[n + 1], 0.99) / at(&round[0], 0.99));
        }
        sides.iter_mut().zip(round).for_each(|(all, round)| all.add(round).unwrap());
    }
    let [bare, ours, others] = &sides;
    let figures = |side: &Histogram<u64>, quantile| {
        format!("{:.2} : {:.2} ms", at(side, quantile), at(bare, quantile))
    };
    let hop = "to the handler : a NOTIFY hop";
    let rows = [
        ("one process, p50", ours, 0.5, here.0, Aim::AtMost(1.5)),
        ("one process, p99", ours, 0.99, here.1, Aim::AtMost(1.5)),
        ("across processes, p50", others, 0.5, across.0, Aim::None),
        ("across processes, p99", others, 0.99, across.1, Aim::None),
    ];
    for (what, side, quantile, ratios, aim) in rows {
        println!("  {what}: ratios {ratios:.2?}");
        report.row(&format!("{hop}, {what}"), figures(side, quantile), median(ratios), "", aim);
    }
    other.shutdown().await;

    under_load(world, report, &broker, &clock).await;
    consumer.stop().await;
    broker.shutdown().await;
    log.close(world).await;
}

async fn under_load(world: &World, report: &mut Report, broker: &Broker, clock: &Clock) {
    let top = median([
        top_rate(world, broker).await,
        top_rate(world, broker).await,
        top_rate(world, broker).await,
    ]);
    report.row("top rate of 64 callers with a group reading along", "", top, "/s", Aim::None);
    let mut points = Vec::new();
    for percent in [10, 25, 50, 75, 90] {
        let pause = Duration::from_secs_f64(100.0 / (top * f64::from(percent)));
        let mut of_rounds = (Vec::new(), Vec::new());
        for _ in 0..world.pick(1, 3) {
            // What the last one left behind.
            tokio::time::sleep(Duration::from_millis(500)).await;
            let times = open_loop(world, broker, clock, pause, world.round() * 4).await;
            of_rounds.0.push(at(&times, 0.5));
            of_rounds.1.push(at(&times, 0.99));
        }
        let point = Point { percent, p50: median(of_rounds.0), p99: median(of_rounds.1) };
        report.row(
            &format!("to the handler at {percent}% of it, p50"),
            format!("p99 {:.2} ms at {}/s", point.p99, thousands(top * f64::from(percent) / 100.0)),
            point.p50,
            " ms",
            Aim::None,
        );
        points.push(point);
    }
    report.note(plot::text(&points));
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("speed-latency.svg");
    std::fs::write(&path, plot::svg(&points)).unwrap();
    report.note(format!("The same as a picture: {}", path.display()));
}

async fn top_rate(world: &World, broker: &Broker) -> f64 {
    let value = world.value(0).to_vec();
    per_second(64, world.round(), |_, until| {
        let (broker, value) = (broker.clone(), value.clone());
        async move {
            let mut done = 0;
            while Instant::now() < until {
                // Not due at any time: not timed.
                broker.publish([NewRecord::new("t", value.clone())]).await.unwrap();
                done += 1;
            }
            done
        }
    })
    .await
}

/// Publishes a record every `pause`, whatever became of those before.
async fn open_loop(
    world: &World,
    broker: &Broker,
    clock: &Clock,
    pause: Duration,
    time: Duration,
) -> Histogram<u64> {
    *clock.times.lock().unwrap() = histogram();
    let (begun, count) = (Instant::now(), (time.as_secs_f64() / pause.as_secs_f64()) as u32);
    let mut published = Vec::new();
    for i in 0..count {
        let due = begun + pause * i;
        if due > Instant::now() {
            sleep_until(due.into()).await;
        }
        let due = due.duration_since(clock.epoch).as_nanos().to_string();
        let record = world.record(i as usize).header("due", due);
        let broker = broker.clone();
        published.push(tokio::spawn(async move { broker.publish([record]).await.unwrap() }));
    }
    for publish in published {
        publish.await.unwrap();
    }
    let patience = Instant::now() + Duration::from_secs(30);
    while clock.times.lock().unwrap().len() < u64::from(count) && Instant::now() < patience {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    clock.times.lock().unwrap().clone()
}

/// Times records from when they were due.
#[derive(Clone)]
struct Clock {
    epoch: Instant,
    times: Arc<Mutex<Histogram<u64>>>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { epoch: Instant::now(), times: Arc::new(Mutex::new(histogram())) }
    }
}

impl Handler for Clock {
    async fn handle(&self, _: &mut Transaction, records: &[Record]) -> Result<(), HandlerError> {
        let now = self.epoch.elapsed();
        let mut times = self.times.lock().unwrap();
        for record in records {
            if let Some(due) = record.header("due") {
                micros(&mut times, now - Duration::from_nanos(due.parse()?));
            }
        }
        Ok(())
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

fn micros(times: &mut Histogram<u64>, time: Duration) {
    times.record(time.as_micros() as u64).unwrap();
}

fn at(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1000.0
}
