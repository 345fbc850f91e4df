//! Who is too fast, and what is too much.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use actix_web::http::StatusCode;
use chassis::Problem;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// After so many requests, clients that were quiet are forgotten.
const REQUESTS_BETWEEN_SWEEPS: u32 = 10_000;

/// One bucket a client address: so many orders a second, and as many at once.
#[derive(Clone)]
pub struct Limits {
    limiter: Arc<DefaultKeyedRateLimiter<IpAddr>>,
    requests: Arc<AtomicU32>,
}

impl Limits {
    pub fn per_second(orders: NonZeroU32) -> Limits {
        Limits {
            limiter: Arc::new(RateLimiter::dashmap(Quota::per_second(orders))),
            requests: Arc::new(AtomicU32::new(0)),
        }
    }

    /// # Errors
    /// 429 with `Retry-After`.
    pub fn admit(&self, client: IpAddr) -> Result<(), Problem> {
        if self.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(REQUESTS_BETWEEN_SWEEPS) {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&client).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "this address places orders too fast")
                .retry_after(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_too_fast_does_not_slow_another() {
        let limits = Limits::per_second(NonZeroU32::new(2).unwrap());
        let (fast, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        assert!(limits.admit(fast).is_ok() && limits.admit(fast).is_ok());
        assert_eq!(limits.admit(fast).unwrap_err().status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(limits.admit(other).is_ok());
    }
}
