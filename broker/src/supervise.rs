//! Keeps a loop running: an actor whose turn is one async function.

use actix::prelude::*;
use futures::future::BoxFuture;
use rand::Rng;
use std::time::Duration;
use tracing::{error, info};

use crate::Error;

/// Runs `turn` until it returns `Ok`; after an error or a panic again, with backoff.
pub(crate) struct Supervised<F> {
    name: &'static str,
    turn: F,
    failures: u32,
    // Dropped with the actor: tells whoever waits that the loop has ended for good.
    _alive: tokio::sync::mpsc::Sender<()>,
}

impl<F> Supervised<F>
where
    F: Fn() -> BoxFuture<'static, Result<(), Error>> + Unpin + Send + 'static,
{
    pub fn start(
        arbiter: &ArbiterHandle,
        name: &'static str,
        alive: tokio::sync::mpsc::Sender<()>,
        turn: F,
    ) -> Addr<Self> {
        Supervisor::start_in_arbiter(arbiter, move |_| Supervised {
            name,
            turn,
            failures: 0,
            _alive: alive,
        })
    }

    fn run(&mut self, ctx: &mut Context<Self>) {
        // A task of its own: a supervisor does not survive a panic in its actor.
        let started = std::time::Instant::now();
        let turn = tokio::spawn((self.turn)());
        ctx.spawn(turn.into_actor(self).map(move |end, this, ctx| {
            match end {
                Ok(Ok(())) => return ctx.terminate(),
                Ok(Err(trouble)) if trouble.is_transient() => {
                    info!(worker = this.name, "interrupted: {trouble}");
                }
                Ok(Err(trouble)) => error!(worker = this.name, "failed: {trouble}"),
                Err(panic) => error!(worker = this.name, "panicked: {panic}"),
            }
            if started.elapsed() > Duration::from_secs(30) {
                this.failures = 0;
            }
            let pause = backoff(this.failures, Duration::from_millis(50), Duration::from_secs(5));
            this.failures += 1;
            ctx.wait(tokio::time::sleep(pause).into_actor(this).map(|(), this, ctx| this.run(ctx)));
        }));
    }
}

impl<F> Actor for Supervised<F>
where
    F: Fn() -> BoxFuture<'static, Result<(), Error>> + Unpin + Send + 'static,
{
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.run(ctx);
    }
}

impl<F> actix::Supervised for Supervised<F> where
    F: Fn() -> BoxFuture<'static, Result<(), Error>> + Unpin + Send + 'static
{
}

/// Exponential backoff with full jitter above half: `base * 2^failures`, at most `max`.
pub(crate) fn backoff(failures: u32, base: Duration, max: Duration) -> Duration {
    let ceiling = base.saturating_mul(1 << failures.min(20)).min(max);
    ceiling.mul_f64(rand::rng().random_range(0.5..=1.0))
}
