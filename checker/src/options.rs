//! What a run is to be.

use std::path::PathBuf;

use crate::faults::Fault;

/// How long and how hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Two minutes: 50,000 acknowledged records and 30 faults, every kind three times.
    Short,
    /// 100,000 acknowledged records and 60 faults.
    Long,
}

/// What a run is to be.
#[derive(Debug, Clone, clap::Args)]
pub struct RunOptions {
    /// What the other settings are where they are not given.
    #[arg(value_enum, default_value = "short")]
    pub preset: Preset,
    /// Repeats the schedule of a run that printed this.
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many records are to be acknowledged at least.
    #[arg(long)]
    pub records: Option<usize>,
    /// How many faults.
    #[arg(long)]
    pub faults: Option<usize>,
    /// Only these kinds, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub kinds: Vec<Fault>,
    /// Processes that send.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub producers: u32,
    /// Processes in the group: at least two, or nobody could take over.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=20))]
    pub members: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub partitions: u32,
    /// Records a second of all producers together, as long as nothing breaks.
    #[arg(long, default_value_t = 900.0)]
    pub rate: f64,
    /// Keeps the histories in this folder, which must not exist yet. Those of a run that found
    /// something are kept anyhow.
    #[arg(long)]
    pub keep: Option<PathBuf>,
    /// Says it as JSON, for machines; progress goes to standard error.
    #[arg(long)]
    pub json: bool,
}

impl RunOptions {
    pub(crate) fn records(&self) -> usize {
        self.records.unwrap_or(match self.preset {
            Preset::Short => 50_000,
            Preset::Long => 100_000,
        })
    }

    pub(crate) fn faults(&self) -> usize {
        self.faults.unwrap_or(match self.preset {
            Preset::Short => 30,
            Preset::Long => 60,
        })
    }

    pub(crate) fn kinds(&self) -> Vec<Fault> {
        match self.kinds.is_empty() {
            true => Fault::ALL.to_vec(),
            false => self.kinds.clone(),
        }
    }
}
