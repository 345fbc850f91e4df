//! Whether pages stay as quick as they were when there is a hundred times as much to show.
//! `cargo bench -p dashboard -- --help` says more.
#![allow(clippy::unwrap_used)]

mod fill;
#[path = "../../tests/service/orders.rs"]
mod orders;
mod world;

use chrono::TimeDelta;
use clap::Parser;
use uuid::Uuid;
use world::World;

const HOW: &str = "\
Two dashboards run side by side, each on a database of its own that is filled through the broker:
an order leads to ten records, all of which the dashboard's group reads. Each page is then asked
for from the one and from the other in turn, and the ratio of the medians is printed. What pages
fetch again when something happens is the page itself, so that this is measured, too. Absolute
figures say more about the machine. Nothing fails for being slow.";

/// Pages on a large log beside the same on a small one
#[derive(Parser)]
#[command(name = "pages", after_long_help = HOW)]
struct Args {
    /// Orders in the small one
    #[arg(long, default_value_t = 1000)]
    few: usize,

    /// Orders in the large one
    #[arg(long, default_value_t = 100_000)]
    many: usize,

    /// How often each page is asked for
    #[arg(long, default_value_t = 21)]
    rounds: usize,

    /// `cargo bench` says so
    #[arg(long, hide = true)]
    bench: bool,
}

#[actix_rt::main]
async fn main() {
    let args = Args::parse();
    if !args.bench {
        // `cargo test --all-targets` runs this too, and wants to know only that it starts.
        return println!("run me with: cargo bench -p dashboard");
    }
    let few = Filled::new(args.few).await;
    let many = Filled::new(args.many).await;
    println!(
        "{} orders and {} records : {} orders and {} records, ms, medians of {}\n",
        args.few,
        args.few * fill::RECORDS,
        args.many,
        args.many * fill::RECORDS,
        args.rounds
    );
    println!("| page | ratio | few : many |\n|---|---|---|");
    for page in PAGES {
        let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
        // The first fills caches.
        for round in 0..=args.rounds {
            let (one, other) = (few.ask(page).await, many.ask(page).await);
            if round > 0 {
                of_few.push(one);
                of_many.push(other);
            }
        }
        let (of_few, of_many) = (median(of_few), median(of_many));
        println!("| {page} | {:.2} | {of_few:.1} : {of_many:.1} |", of_many / of_few);
    }
    few.world.stop().await;
    many.world.stop().await;
}

/// What is asked for: pages, and `{…}` for an order in the middle or the first.
const PAGES: [&str; 20] = [
    "the groups' places",
    "/",
    "/orders/{middle}",
    "/topics",
    "/topics/order",
    "/topics/order/records",
    "/topics/invoice/records",
    "/topics/order/records?partition=0&from=60",
    "/topics/order/records?from=@{noon}",
    "/topics/order/records?key={middle}",
    "/topics/order/records?from=earliest&content=nowhere",
    "/logs",
    "/logs?level=ERROR",
    "/logs?service=email",
    "/logs?order={middle}",
    "/groups",
    "/groups/analytics",
    "/dead-letters",
    "/dead-letters/order/analytics",
    "/analytics",
];

/// A dashboard with something to show.
struct Filled {
    world: World,
    middle: Uuid,
    noon: String,
}

impl Filled {
    async fn new(orders: usize) -> Filled {
        let world = World::new().await;
        // Half of it in the time that plots show.
        let ids = fill::fill(&world.broker, orders / 2, TimeDelta::hours(1)).await;
        let noon = chrono::Utc::now().timestamp_millis().to_string();
        fill::fill(&world.broker, orders - orders / 2, TimeDelta::minutes(30)).await;
        world.settled().await;
        Filled { world, middle: ids[ids.len() / 2], noon }
    }

    async fn ask(&self, page: &str) -> f64 {
        let took = match page.starts_with('/') {
            true => {
                let path = page.replace("{middle}", &self.middle.to_string());
                self.world.get(&path.replace("{noon}", &self.noon)).await
            }
            false => self.world.places().await,
        };
        took.as_secs_f64() * 1000.0
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
