//! Many groups, and many partitions.

use std::time::{Duration, Instant};

use broker::Broker;

use crate::clients::Rounds;
use crate::consume;
use crate::report::{Aim, Report};
use crate::world::{Log, PARTITIONS, World};

pub async fn run(world: &World, report: &mut Report) {
    report.section("many");
    let log = world.log().await;
    let broker = log.broker().await;
    groups(world, report, &log, &broker).await;
    partitions(world, report, &log, &broker).await;
    broker.shutdown().await;
    log.close(world).await;
}

async fn groups(world: &World, report: &mut Report, log: &Log, broker: &Broker) {
    let records = world.pick(20_000, 100_000);
    log.backlog(world, broker, records).await;
    let (mut ten, mut hundred) = (Rounds::default(), Rounds::default());
    for _ in 0..world.pick(1, world.rounds) {
        let rate = async |groups: usize| {
            let time = consume::together(log, broker, "t", groups, 1000, records).await;
            (groups * records) as f64 / time.as_secs_f64()
        };
        let one = rate(1).await;
        ten.push(rate(10).await, one);
        hundred.push(rate(100).await, one);
    }
    report.rates("deliveries of 10 groups : of one", &ten, Aim::None);
    report.rates("deliveries of 100 groups : of one", &hundred, Aim::AtLeast(0.8));
}

async fn partitions(world: &World, report: &mut Report, log: &Log, broker: &Broker) {
    let counts = [PARTITIONS, 100, 1000];
    for count in counts {
        broker.create_topic(&format!("of{count}"), count as u32).await.unwrap();
    }
    let batches = world.pick(20, 100);
    let mut publishing = [(); 3].map(|()| Vec::new());
    for _ in 0..world.rounds {
        for (count, rates) in counts.iter().zip(&mut publishing) {
            rates.push(publish(world, broker, &format!("of{count}"), batches).await);
        }
    }
    log.sequenced().await;
    let records = world.rounds * batches * 1000;
    let mut consuming = [(); 3].map(|()| Vec::new());
    for _ in 0..world.rounds {
        for (count, rates) in counts.iter().zip(&mut consuming) {
            let topic = format!("of{count}");
            let time = consume::together(log, broker, &topic, 1, 500, records).await;
            rates.push(records as f64 / time.as_secs_f64());
        }
    }
    for (what, rates) in
        [("publishing keyed batches of 1,000", publishing), ("consuming them", consuming)]
    {
        let [few, hundred, thousand] = rates;
        let of = |many: Vec<f64>| Rounds { ours: many, bare: few.clone() };
        report.rates(&format!("{what}, 100 partitions : 8"), &of(hundred), Aim::None);
        report.rates(&format!("{what}, 1,000 partitions : 8"), &of(thousand), Aim::None);
    }
}

async fn publish(world: &World, broker: &Broker, topic: &str, batches: usize) -> f64 {
    let begun = Instant::now();
    for batch in 0..batches {
        let first = batch * 1000;
        broker.publish((first..first + 1000).map(|i| world.keyed(topic, i))).await.unwrap();
    }
    (batches * 1000) as f64 / begun.elapsed().max(Duration::from_micros(1)).as_secs_f64()
}
