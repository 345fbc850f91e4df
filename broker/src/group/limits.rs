//! What slows a subscription down in one member: its rate, and a breaker for when everything
//! fails.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::supervise::backoff;

use super::{Breaker, Spec};

pub(crate) struct Limits {
    rate: Option<DefaultDirectRateLimiter>,
    breaker: Breaker,
    given_up_in_a_row: AtomicU32,
}

impl Limits {
    pub fn new(spec: &Spec) -> Limits {
        let burst = NonZeroU32::new(spec.max_batch()).unwrap_or(NonZeroU32::MIN);
        Limits {
            rate: spec
                .max_rate
                .map(|rate| RateLimiter::direct(Quota::per_second(rate).allow_burst(burst))),
            breaker: spec.breaker,
            given_up_in_a_row: AtomicU32::new(0),
        }
    }

    /// Waits until so many records may be handled.
    pub async fn records(&self, count: usize) {
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
        if let (Some(rate), Some(count)) = (&self.rate, count) {
            // More than the burst are never handed out.
            let _ = rate.until_n_ready(count).await;
        }
    }

    /// A record was given up. How long to hold back with it, and with all of this partition,
    /// when so many before it were that the records are hardly to blame.
    pub fn given_up(&self) -> Option<Duration> {
        let before = self.given_up_in_a_row.fetch_add(1, Ordering::Relaxed);
        let beyond = before.checked_sub(self.breaker.failures)?;
        Some(backoff(beyond, self.breaker.pause, self.breaker.max_pause))
    }

    pub fn succeeded(&self) {
        if self.given_up_in_a_row.load(Ordering::Relaxed) > 0 {
            self.given_up_in_a_row.store(0, Ordering::Relaxed);
        }
    }
}
