//! Places many orders, measures when each consumer's effect was committed, and verifies.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Folder;
use crate::client::{Client, sample_order};
use crate::plans::SystemArgs;
use crate::story::Teller;
use crate::up::System;
use crate::verify;
use crate::world::Elsewhere;

/// What each consumer does of its own for an order, by the event that says so.
const EFFECTS: [(&str, &str); 4] = [
    ("delivery: shipment scheduled", "ShipmentScheduled"),
    ("invoice: numbered and rendered", "InvoiceIssued"),
    ("email: confirmation sent", "MailSent"),
    ("delivery: parcel delivered", "ShipmentDelivered"),
];

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: Folder,

    #[command(flatten)]
    system: SystemArgs,

    #[command(flatten)]
    elsewhere: Elsewhere,

    /// How many orders to place
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    orders: u64,

    /// How many at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=2000))]
    connections: u64,

    /// Place so many orders a second at most, to measure at a light load
    #[arg(long)]
    rate: Option<u32>,

    /// How many seconds the consumers may take after the last order
    #[arg(long, default_value_t = 300)]
    patience: u64,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // A system that runs is used; else one is brought up for the time.
    let find = || args.elsewhere.or_on(&args.folder.data, &args.system.database);
    let (run, system) = match find()? {
        Some(run) => (run, None),
        None => {
            let system = System::start(&args.folder.data, &args.system, Teller::Text).await?;
            let run = find()?.context("the running system does not say where it is")?;
            (run, Some(system))
        }
    };
    let pool = PgPool::connect(&run.database_url).await?;

    let load = Load::new(args.orders, args.connections, args.rate);
    let end = match load.place(&Client::new(&run.order_url)?).await {
        Ok(placed) => {
            println!(
                "{} orders in {:.1} s: {:.0} a second, {} at once",
                placed.at.len(),
                placed.seconds,
                placed.per_second(),
                args.connections
            );
            println!("{:<34} {:>12} {:>12}", "", "p50", "p99");
            print_row("201 answered", &placed.answers);
            measure(&pool, &placed.at, &args).await
        }
        Err(error) => Err(error),
    };
    let verified = match end {
        Ok(()) => {
            let patience = Duration::from_secs(args.patience);
            verify::report(&pool, patience, &verify::Mails::At(run.mailbox_url)).await
        }
        Err(error) => Err(error),
    };
    pool.close().await;
    if let Some(system) = system {
        system.stop().await?;
    }
    verified
}

/// When each order was answered.
type Answered = HashMap<Uuid, DateTime<Utc>>;

/// Orders to place.
pub struct Load {
    pub orders: u64,
    pub connections: u64,
    /// The most a second; unlimited without.
    pub rate: Option<u32>,
    /// How many are placed.
    pub bar: ProgressBar,
}

/// Orders that were placed.
pub struct Placed {
    pub at: Answered,
    pub seconds: f64,
    /// How long each answer took, in microseconds.
    pub answers: Histogram<u64>,
}

impl Placed {
    pub fn per_second(&self) -> f64 {
        self.at.len() as f64 / self.seconds
    }
}

impl Load {
    /// So many orders, with a bar in the terminal.
    pub fn new(orders: u64, connections: u64, rate: Option<u32>) -> Load {
        let style = "{bar:40} {pos}/{len} orders, {per_sec}, {eta} left";
        let style = ProgressStyle::with_template(style).unwrap_or(ProgressStyle::default_bar());
        let bar = ProgressBar::new(orders).with_style(style);
        Load { orders, connections, rate, bar }
    }

    pub async fn place(&self, client: &Client) -> anyhow::Result<Placed> {
        let next = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..self.connections {
            let (client, next, bar) = (client.clone(), next.clone(), self.bar.clone());
            let (orders, rate) = (self.orders, self.rate);
            workers.spawn(async move {
                let mut placed = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= orders {
                        return anyhow::Ok(placed);
                    }
                    if let Some(rate) = rate {
                        let due =
                            started + Duration::from_secs_f64(n as f64 / f64::from(rate.max(1)));
                        tokio::time::sleep_until(due.into()).await;
                    }
                    let order = sample_order("Load Test", &format!("load.{n}@example.org"));
                    let asked = Instant::now();
                    let accepted =
                        client.place_surely(&order, asked + Duration::from_secs(60)).await?;
                    placed.push((accepted.order_id, Utc::now(), asked.elapsed()));
                    bar.inc(1);
                }
            });
        }
        let mut at = Answered::new();
        let mut answers = Histogram::<u64>::new(3)?;
        while let Some(placed) = workers.join_next().await {
            for (order_id, answered, took) in placed?? {
                at.insert(order_id, answered);
                answers.record(took.as_micros().max(1) as u64)?;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        Ok(Placed { at, seconds, answers })
    }
}

/// From the 201 until each effect was written, just before its commit.
async fn measure(pool: &PgPool, placed: &Answered, args: &Args) -> anyhow::Result<()> {
    wait_for_effects(pool, placed, args).await?;
    let rows: Vec<(String, String, DateTime<Utc>)> = sqlx::query_as(
        "select key, split_part(headers->>'ce_type', '.', 2), min(at) from log.record
          where topic in ('shipment', 'invoice', 'mail') group by 1, 2",
    )
    .fetch_all(pool)
    .await?;
    for (name, kind) in EFFECTS {
        let mut after = Histogram::<u64>::new(3)?;
        for (key, _, at) in rows.iter().filter(|(_, of, _)| of == kind) {
            let answered = key.parse().ok().and_then(|order_id: Uuid| placed.get(&order_id));
            if let Some(answered) = answered {
                after.record((*at - *answered).num_microseconds().unwrap_or(0).max(1) as u64)?;
            }
        }
        print_row(name, &after);
    }
    Ok(())
}

async fn wait_for_effects(pool: &PgPool, placed: &Answered, args: &Args) -> anyhow::Result<()> {
    let ids: Vec<Uuid> = placed.keys().copied().collect();
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} delivered, {per_sec}, {eta} left");
    let bar = ProgressBar::new(placed.len() as u64)
        .with_style(style.unwrap_or(ProgressStyle::default_bar()));
    let deadline = Instant::now() + Duration::from_secs(args.patience);
    loop {
        let done: i64 = sqlx::query_scalar(
            "select count(*) from orders.customer_order where order_id = any ($1) and status = 'delivered'",
        )
        .bind(&ids)
        .fetch_one(pool)
        .await?;
        bar.set_position(done as u64);
        if done as usize == placed.len() {
            break;
        }
        if Instant::now() > deadline {
            bail!("only {done} of {} orders are delivered after {} s", placed.len(), args.patience);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bar.finish_and_clear();
    Ok(())
}

fn print_row(name: &str, times: &Histogram<u64>) {
    let ms = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    println!("{name:<34} {:>9.1} ms {:>9.1} ms", ms(0.5), ms(0.99));
}
