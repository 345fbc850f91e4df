//! How fast the log is, as ratios: each number beside what a bare table does in the same rounds.
//! `cargo bench -p broker -- --help` says more.
#![allow(clippy::unwrap_used)]

mod bare;
mod bytes;
mod clients;
mod consume;
mod growth;
mod idle;
mod latency;
mod many;
mod memory;
mod plot;
mod publish;
mod report;
mod world;

use clap::{Parser, ValueEnum};
use report::Report;
use world::World;

const HOW: &str = "\
Each comparison runs both sides in turn on one private Postgres with fsync on, in an odd number of
rounds, and prints the median of the rounds' ratios. Absolute figures say more about the machine
than about the code, and rounds on a busy machine scatter: compare ratios, and only of one run.
Nothing fails for being slow. Records have values of 387 bytes, topics 8 partitions.

publish  One record a commit: 8 sessions that INSERT one record each and wait for its COMMIT, into
         the log and into a bare table; then the same in transactions with BEGIN and COMMIT; then
         8 and 64 callers of one process's `publish`, which share commits, against 8 sessions on
         the bare table. Batches: 4 callers that publish 1,000 records a call, against 4 sessions
         that COPY 1,000 rows. The log's side gives offsets meanwhile; every session has run its
         statement once before.
consume  A group reads a backlog, its progress committed with each batch, against one session that
         pages through a bare table by id and keeps its position in a row, in one transaction.
         Both read pages of the same size. From the first call of the handler to the end of the
         last. Singles: the backlog was published one record a batch.
latency  From the call of `publish` to the handler's first line. The bare hop: an INSERT with a
         NOTIFY, heard by a session that then reads the row. Then an open loop at parts of the top
         rate, each record timed from when it was due, so that a queue counts; drawn as a plot.
growth   What the server takes for a publish of one record, for a tick, for a fetch and for a
         commit of progress, medians, as the log grows, and behind a transaction left open. Without
         fsync, whose noise would hide the rest.
many     Deliveries a second of 1, 10 and 100 groups; publishing and consuming with 8, 100 and
         1,000 partitions.
bytes    WAL written and disk taken by a record, indexes and the log's own tables included.
memory   The peak resident memory of a process that consumes a backlog an hour long, less that of
         the same process before.
idle     CPU of the process and of all of Postgres, and fsyncs, while nothing is published.";

/// The log's speed beside a bare table's
#[derive(Parser)]
#[command(name = "speed", after_long_help = HOW)]
struct Args {
    /// Longer rounds, more of them, and the log grown to 10 million records
    #[arg(long)]
    full: bool,

    /// Only these sections
    #[arg(long, value_name = "SECTION", value_delimiter = ',')]
    only: Vec<Section>,

    /// Rounds of each comparison, an odd number
    #[arg(long)]
    rounds: Option<usize>,

    /// `cargo bench` says so
    #[arg(long, hide = true)]
    bench: bool,

    /// This process is the consumer whose memory is measured
    #[arg(long, hide = true, value_names = ["URL", "RECORDS"], num_args = 2)]
    consumer: Option<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    Publish,
    Consume,
    Latency,
    Growth,
    Many,
    Bytes,
    Memory,
    Idle,
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    if let Some(consumer) = args.consumer {
        return memory::consumer(&consumer[0], consumer[1].parse().unwrap()).await;
    }
    if !args.bench {
        // `cargo test --all-targets` runs this too, and wants to know only that it starts.
        return println!("run me with: cargo bench -p broker");
    }
    let world = World::start(args.full, args.rounds).await;
    let mut report = Report::default();
    for section in Section::value_variants() {
        if !args.only.is_empty() && !args.only.contains(section) {
            continue;
        }
        match section {
            Section::Publish => publish::run(&world, &mut report).await,
            Section::Consume => consume::run(&world, &mut report).await,
            Section::Latency => latency::run(&world, &mut report).await,
            Section::Growth => growth::run(&world, &mut report).await,
            Section::Many => many::run(&world, &mut report).await,
            Section::Bytes => bytes::run(&world, &mut report).await,
            Section::Memory => memory::run(&world, &mut report).await,
            Section::Idle => idle::run(&world, &mut report).await,
        }
    }
    report.print();
    world.stop().await;
}
