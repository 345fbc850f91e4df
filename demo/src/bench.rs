//! Two comparisons, each of both sides in one run: absolute figures say more about the
//! machine than about the code.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use sqlx::postgres::PgListener;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::Folder;
use crate::client::Client;
use crate::database::Database;
use crate::load::Load;
use crate::processes::{Process, Spec};
use crate::up::ready;
use crate::world::{Ports, World};

const LIGHT_LOAD: u32 = 20;
const LIGHT_ORDERS: u64 = 200;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    folder: Folder,

    /// Orders a round and side
    #[arg(long, default_value_t = 5000)]
    orders: u64,

    /// How many at once
    #[arg(long, default_value_t = 256)]
    connections: u64,

    /// Rounds, each of both sides
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Ports from this one on
    #[arg(long, default_value_t = 18080)]
    port_base: u16,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Apart from the data of `up`: nothing here is delivered.
    let world = World::take(&args.folder.data.join("bench"))?;
    std::fs::create_dir_all(world.logs())?;
    let database = Database::open(&world, None).await?;
    let bench = Bench { logs: world.logs(), ports: Ports::new(Some(args.port_base)), database };
    let end = async {
        bench.writer(&args).await?;
        bench.effect().await
    };
    let end = end.await;
    bench.database.close().await?;
    end.map(|()| ExitCode::SUCCESS)
}

struct Bench {
    logs: std::path::PathBuf,
    ports: Ports,
    database: Database,
}

/// A process's name, its service, and settings of its own.
type Side<'a> = (&'static str, chassis::Descriptor, &'a [(&'static str, &'a str)]);

/// Processes that stop together.
struct Running(Vec<Process>);

impl Running {
    async fn stop(self) {
        self.0.iter().for_each(Process::end);
        for process in self.0 {
            process.ended().await;
        }
    }
}

impl Bench {
    /// Starts services, each with settings of its own; the URL of each.
    async fn start(&self, services: &[Side<'_>]) -> anyhow::Result<(Running, Vec<String>)> {
        let (mut processes, mut urls) = (Vec::new(), Vec::new());
        for (n, (name, service, settings)) in services.iter().enumerate() {
            let addr = self.ports.service(8081 + n as u16);
            let mut env = vec![
                ("DATABASE_URL", self.database.url_of(service.role)?),
                ("HTTP_ADDR", addr.to_string()),
                ("ORDERS_PER_SECOND", "1000000".to_owned()),
            ];
            env.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
            let spec = Spec { name: (*name).to_owned(), service: service.name, env };
            let logs: &Path = &self.logs;
            processes.push(Process::start(spec, logs, |name, end| eprintln!("{name} {end}"))?);
            urls.push((*name, format!("http://{addr}")));
        }
        ready(&urls).await?;
        Ok((Running(processes), urls.into_iter().map(|(_, url)| url).collect()))
    }

    /// Accepted orders a second: the writer actor, against a transaction a request.
    async fn writer(&self, args: &Args) -> anyhow::Result<()> {
        let alone: &[(&str, &str)] = &[("WRITER_BATCH", "1"), ("WRITER_IN_FLIGHT", "8")];
        let (running, urls) = self
            .start(&[
                ("together", order::DESCRIPTOR, &[]),
                ("one-by-one", order::DESCRIPTOR, alone),
            ])
            .await?;
        println!(
            "orders a second at {} connections, {} orders a side:",
            args.connections, args.orders
        );
        println!(
            "{:>8} {:>14} {:>24} {:>8}",
            "round", "writer actor", "a transaction a request", "ratio"
        );
        let mut ratios = Vec::new();
        for round in 1..=args.rounds {
            let load = Load::new(args.orders, args.connections, None);
            let together = load.place(&Client::new(&urls[0])?).await?.per_second();
            let alone = load.place(&Client::new(&urls[1])?).await?.per_second();
            ratios.push(together / alone);
            println!("{round:>8} {together:>14.0} {alone:>24.0} {:>8.2}", together / alone);
        }
        running.stop().await;
        println!("median ratio: {:.2}\n", median(&mut ratios));
        Ok(())
    }

    /// From the 201 to the commit of the shipment, against one commit, one NOTIFY that is
    /// heard, and one commit more.
    async fn effect(&self) -> anyhow::Result<()> {
        let (running, urls) = self
            .start(&[("order", order::DESCRIPTOR, &[]), ("delivery", delivery::DESCRIPTOR, &[])])
            .await?;
        self.caught_up().await?;
        let load = Load::new(LIGHT_ORDERS, 4, Some(LIGHT_LOAD));
        let placed = load.place(&Client::new(&urls[0])?).await?;
        self.caught_up().await?;
        let commits: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
            "select order_id, pg_xact_commit_timestamp(xmin) from delivery.shipment where order_id = any ($1)",
        )
        .bind(placed.at.keys().copied().collect::<Vec<_>>())
        .fetch_all(&self.database.pool)
        .await?;
        running.stop().await;
        let mut effects = Histogram::<u64>::new(3)?;
        for (order_id, committed) in commits {
            let after = committed - placed.at[&order_id];
            effects.record(after.num_microseconds().unwrap_or(0).max(1) as u64)?;
        }
        let floor = self.floor().await?;
        let ms =
            |times: &Histogram<u64>, quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
        println!("from the 201 to the shipment's commit, at {LIGHT_LOAD} orders a second:");
        println!("  effect p50 {:.2} ms, p99 {:.2} ms", ms(&effects, 0.5), ms(&effects, 0.99));
        println!(
            "  floor  p50 {:.2} ms, p99 {:.2} ms (a commit, a NOTIFY, a commit)",
            ms(&floor, 0.5),
            ms(&floor, 0.99)
        );
        println!("  ratio of p50: {:.2}", ms(&effects, 0.5) / ms(&floor, 0.5));
        Ok(())
    }

    /// Waits until delivery has handled all orders.
    async fn caught_up(&self) -> anyhow::Result<()> {
        loop {
            let behind: bool = sqlx::query_scalar(
                "select (select count(*) from orders.customer_order) > (select count(*) from delivery.shipment)",
            )
            .fetch_one(&self.database.pool)
            .await?;
            if !behind {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    async fn floor(&self) -> anyhow::Result<Histogram<u64>> {
        let mut writer = PgConnection::connect(&self.database.url).await?;
        let mut reader = PgConnection::connect(&self.database.url).await?;
        let mut notifier = PgConnection::connect(&self.database.url).await?;
        // Nothing in it is worth waiting for the disk.
        sqlx::query("set synchronous_commit = off").execute(&mut notifier).await?;
        let mut listener = PgListener::connect(&self.database.url).await?;
        listener.listen("floor").await.context("listening")?;
        sqlx::query("create table if not exists public.floor (n bigint)")
            .execute(&mut writer)
            .await?;
        let mut times = Histogram::<u64>::new(3)?;
        // At the same pace: processes that slept in between take longer to do the same.
        let mut pace = tokio::time::interval(std::time::Duration::from_secs(1) / LIGHT_LOAD);
        for _ in 0..LIGHT_ORDERS {
            pace.tick().await;
            let started = Instant::now();
            sqlx::query("insert into public.floor values (1)").execute(&mut writer).await?;
            sqlx::query("select pg_notify('floor', '')").execute(&mut notifier).await?;
            listener.recv().await?;
            sqlx::query("insert into public.floor values (2)").execute(&mut reader).await?;
            times.record(started.elapsed().as_micros() as u64)?;
        }
        Ok(times)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
