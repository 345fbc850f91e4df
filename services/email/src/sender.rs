//! Sends what is queued: the plain queue and its worker, beside the log's pub-sub.
//!
//! One mail after the other is taken, in order and at a limited rate, and a few are under way
//! at once. A server in trouble stops the taking, so that an outage costs the mails in hand
//! an attempt and the others nothing but time; it goes on when a new connection is welcomed.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use crate::attempt::{Outcome, Postman};
use crate::domain::backoff;
use crate::queue::{self, Mail};

/// How often an empty queue is looked at: one read of an index.
const POLL: Duration = Duration::from_millis(200);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// So many mails deferred one after the other are the server's trouble, not theirs.
const MANY_DEFERRED: u32 = 10;

/// How fast mail goes out.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Mails a second.
    pub rate: NonZeroU32,
    /// Mails under way at once.
    pub connections: NonZeroU16,
}

/// Starts the actor on the current arbiter. Completes when it has ended: after `stopping`,
/// with no mail in hand.
pub fn start(
    postman: Postman,
    pace: Pace,
    stopping: watch::Receiver<bool>,
) -> impl Future<Output = ()> + Send + 'static {
    let postman = Arc::new(postman);
    let (alive, ended) = oneshot::channel();
    let sender = Sender {
        postman: postman.clone(),
        pace,
        stopping,
        under_way: 0,
        taking: false,
        paused: false,
        next_at: Instant::now(),
        troubles: 0,
        deferred: 0,
        _alive: alive,
    };
    // No `Supervisor`: it would start this anew when it ends, and not when it panics. The
    // actor's own lines do not panic; what might is a task, and followed by a pause.
    let addr = sender.start();
    async move {
        // Nobody ever sends; the end is an error, the other side being dropped.
        let _: Result<(), _> = ended.await;
        drop(addr);
        postman.smtp.close().await;
    }
}

struct Sender {
    postman: Arc<Postman>,
    pace: Pace,
    stopping: watch::Receiver<bool>,
    under_way: usize,
    taking: bool,
    paused: bool,
    /// When the rate allows the next mail.
    next_at: Instant,
    /// Pauses since the last mail that was settled.
    troubles: u32,
    /// Mails deferred since then.
    deferred: u32,
    _alive: oneshot::Sender<()>,
}

impl Actor for Sender {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.go_on(ctx);
    }
}

/// Everything that takes time is a task of its own: a panic there leaves this actor alive.
impl Sender {
    /// Takes the next mail, unless one is being taken, all hands are full, or the server is in
    /// trouble. Each of those calls this when it ends, so that one of them is always awaited.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if *self.stopping.borrow() {
            if !self.taking && !self.paused && self.under_way == 0 {
                ctx.terminate();
            }
            return;
        }
        let full = self.under_way >= usize::from(self.pace.connections.get());
        if self.taking || self.paused || full {
            return;
        }
        self.taking = true;
        let take = take(self.postman.clone(), self.next_at, self.stopping.clone());
        ctx.spawn(tokio::spawn(take).into_actor(self).map(|end, this, ctx| {
            this.taking = false;
            match end {
                Ok(Some(mail)) => this.send(mail, ctx),
                Ok(None) => {}
                Err(panic) => this.pause(&format!("taking a mail panicked: {panic}"), ctx),
            }
            this.go_on(ctx);
        }));
    }

    fn send(&mut self, mail: Mail, ctx: &mut Context<Self>) {
        let interval = Duration::from_secs(1) / self.pace.rate.get();
        self.next_at = (self.next_at + interval).max(Instant::now());
        self.under_way += 1;
        let (postman, mail_id) = (self.postman.clone(), mail.id);
        let attempt = tokio::spawn(async move { postman.attempt(mail).await });
        ctx.spawn(attempt.into_actor(self).map(move |end, this, ctx| {
            this.under_way -= 1;
            match end {
                Ok(Outcome::Settled) => (this.troubles, this.deferred) = (0, 0),
                Ok(Outcome::Deferred) => {
                    this.deferred += 1;
                    if this.deferred >= MANY_DEFERRED {
                        this.pause("it defers one mail after the other", ctx);
                    }
                }
                Ok(Outcome::NoServer(reason)) => this.pause(&reason, ctx),
                Err(panic) => {
                    // Its lease gives the mail back.
                    error!(%mail_id, "sending panicked: {panic}");
                    let postman = this.postman.clone();
                    tokio::spawn(async move { postman.smtp.renew().await });
                }
            }
            this.go_on(ctx);
        }));
    }

    fn pause(&mut self, reason: &str, ctx: &mut Context<Self>) {
        if self.paused {
            return;
        }
        if self.troubles == 0 {
            warn!("the mail server is in trouble, mail waits: {reason}");
        }
        self.paused = true;
        let recover = recover(self.postman.clone(), self.troubles, self.stopping.clone());
        self.troubles = self.troubles.saturating_add(1);
        ctx.spawn(tokio::spawn(recover).into_actor(self).map(|end, this, ctx| {
            if let Err(panic) = end {
                error!("looking for the mail server panicked: {panic}");
            }
            (this.paused, this.deferred) = (false, 0);
            this.go_on(ctx);
        }));
    }
}

/// Waits for the rate and then for a mail; `None` once the service stops. Only between two
/// queries does it heed that: a mail that was taken is not to be forgotten.
async fn take(
    postman: Arc<Postman>,
    not_before: Instant,
    mut stopping: watch::Receiver<bool>,
) -> Option<Mail> {
    let mut wake = not_before;
    let mut failures = 0;
    loop {
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return None,
            () = sleep_until(wake) => {}
        }
        let pause = match queue::take(&postman.pool).await {
            Ok(Some(mail)) => return Some(mail),
            Ok(None) => POLL,
            Err(error) => {
                if failures == 0 {
                    warn!("mail waits, the queue cannot be read: {error}");
                }
                failures += 1;
                backoff(failures, POLL, LONGEST_PAUSE)
            }
        };
        wake = Instant::now() + pause;
    }
}

/// Returns once the server welcomes a new connection, or the service stops.
async fn recover(postman: Arc<Postman>, troubles: u32, mut stopping: watch::Receiver<bool>) {
    let look = async {
        for failures in 0u32.. {
            let pause = backoff(troubles.saturating_add(failures), SHORTEST_PAUSE, LONGEST_PAUSE);
            sleep(pause).await;
            if postman.smtp.welcome().await.is_ok() {
                break;
            }
        }
    };
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => {}
        () = look => info!("the mail server welcomes us, mail goes on"),
    }
}
