//! Clients that work side by side for a while, and comparisons of two sides.

use std::future::Future;
use std::time::{Duration, Instant};

/// What `clients` do in `time`, a second: each loops until the moment that it is given and says
/// how much it did.
pub async fn per_second<F, Fut>(clients: usize, time: Duration, mut client: F) -> f64
where
    F: FnMut(usize, Instant) -> Fut,
    Fut: Future<Output = usize> + Send + 'static,
{
    let begun = Instant::now();
    let tasks: Vec<_> = (0..clients).map(|i| tokio::spawn(client(i, begun + time))).collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    done as f64 / begun.elapsed().as_secs_f64()
}

/// Both sides' figures, round by round.
#[derive(Default)]
pub struct Rounds {
    pub ours: Vec<f64>,
    pub bare: Vec<f64>,
}

impl Rounds {
    pub fn push(&mut self, ours: f64, bare: f64) {
        self.ours.push(ours);
        self.bare.push(bare);
    }

    /// The median of the rounds' ratios.
    pub fn ratio(&self) -> f64 {
        median(self.ours.iter().zip(&self.bare).map(|(ours, bare)| ours / bare))
    }
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
