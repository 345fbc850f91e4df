//! What the dashboard's page "Break it" asks for: processes, the mail server, records and
//! orders, changed while the system runs.
//!
//! - [`http`] the API, on loopback and for whoever knows its token
//! - [`job`] what takes its time, one at a time

mod http;
mod job;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use anyhow::Context;
use broker::{Broker, NewRecord};
use chassis::Problem;
use dashboard::control::{
    Burst, BurstEnd, Change, Count, CountEnd, MAX_BURST, MailServer, Report, Status,
};
use indicatif::ProgressBar;
use mailbox::{Fault, Mailbox};
use private_postgres::Signal;
use sqlx::PgPool;

use crate::client::Client;
use crate::load::Load;
use crate::supervisor::{Supervisor, Watches};
use crate::verify::{self, Mails};
use job::Job;

pub use http::{Listener, Server};

const BURST_CONNECTIONS: u64 = 32;
/// For what is on its way when a count is asked for.
const COUNT_PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer waits for the effect to show.
const EFFECT_PATIENCE: Duration = Duration::from_secs(1);
/// A database that hangs keeps the page waiting no longer.
const QUEUE_PATIENCE: Duration = Duration::from_secs(1);

/// Everything that can be broken.
pub struct Control {
    supervisor: Supervisor,
    mailbox: Arc<Mailbox>,
    mailbox_url: String,
    database_url: String,
    pool: PgPool,
    client: Client,
    burst: Job<Placing, f64>,
    count: Job<(), Report>,
}

/// A burst under way.
struct Placing(ProgressBar);

impl Control {
    pub fn new(
        supervisor: Supervisor,
        mailbox: Arc<Mailbox>,
        mailbox_url: String,
        database_url: String,
        pool: PgPool,
        client: Client,
    ) -> Control {
        let (burst, count) = (Job::default(), Job::default());
        Control { supervisor, mailbox, mailbox_url, database_url, pool, client, burst, count }
    }

    async fn status(&self) -> Status {
        let queued = sqlx::query_scalar("select count(*) from email.mail where status = 'queued'")
            .fetch_one(&self.pool);
        let queued = tokio::time::timeout(QUEUE_PATIENCE, queued).await;
        let burst = self.burst.now(|Placing(bar), _, end| Burst {
            orders: bar.length().unwrap_or(0),
            placed: bar.position(),
            end: end.map(|end| match end {
                Ok(seconds) => BurstEnd::Seconds(*seconds),
                Err(error) => BurstEnd::BrokeOff(error.clone()),
            }),
        });
        let count = self.count.now(|(), since, end| Count {
            since,
            end: end.map(|end| match end {
                Ok(report) => CountEnd::Counted(report.clone()),
                Err(error) => CountEnd::BrokeOff(error.clone()),
            }),
        });
        Status {
            services: self.supervisor.status(),
            mail_server: MailServer {
                takes_mail: !self.mailbox.has_faults(),
                kept: self.mailbox.stats().kept as u64,
                queued: queued.ok().and_then(Result::ok),
            },
            burst,
            count,
        }
    }

    /// Does it, and comes back when the effect shows, or after a second.
    async fn change(&self, change: Change) -> Result<(), Problem> {
        match change {
            Change::Start { service } => seen(self.supervisor.run(&service, true)?).await,
            Change::Stop { service } => seen(self.supervisor.run(&service, false)?).await,
            Change::Scale { service, instances } => {
                seen(self.supervisor.scale(&service, instances)?).await;
            }
            Change::Kill { process } => self.signal(&process, Signal::Kill).await?,
            Change::Pause { process } => self.signal(&process, Signal::Stop).await?,
            Change::Resume { process } => self.signal(&process, Signal::Continue).await?,
            Change::MailServer { takes_mail: true } => self.mailbox.clear_faults(),
            Change::MailServer { takes_mail: false } => {
                self.mailbox.set_fault(Fault::RefuseConnections);
            }
            Change::Poison => self.poison().await.map_err(|error| {
                Problem::overloaded(format!("the record was not published: {error}"), 1)
            })?,
            Change::Burst { orders } => self.place_many(orders)?,
            Change::Count => self.count_everything()?,
        }
        Ok(())
    }

    async fn signal(&self, process: &str, signal: Signal) -> Result<(), Problem> {
        seen(self.supervisor.signal(process, signal)?).await;
        Ok(())
    }

    /// Says that it is an order, and is none.
    async fn poison(&self) -> Result<(), broker::Error> {
        let broker = Broker::connect(&self.database_url).await?;
        let record = NewRecord::new("order", "{\"order_id\":\"poison\"}")
            .key("poison")
            .header("ce_type", "waybill.OrderPlaced.v1")
            .header("content-type", "application/json");
        let published = broker.publish([record]).await;
        broker.shutdown().await;
        published
    }

    fn place_many(&self, orders: u64) -> Result<(), Problem> {
        if !(1..=MAX_BURST).contains(&orders) {
            let detail = format!("a burst is 1 to {MAX_BURST} orders, not {orders}");
            return Err(Problem::bad_request(detail));
        }
        let bar = ProgressBar::hidden();
        bar.set_length(orders);
        let (placing, client) = (Placing(bar.clone()), self.client.clone());
        let load = Load { orders, connections: BURST_CONNECTIONS, rate: None, bar };
        let work = async move {
            let started = Instant::now();
            load.place(&client).await?;
            Ok(started.elapsed().as_secs_f64())
        };
        one_at_a_time(self.burst.start(placing, work), "a burst of orders")
    }

    fn count_everything(&self) -> Result<(), Problem> {
        let (pool, mails) = (self.pool.clone(), Mails::At(self.mailbox_url.clone()));
        let work = async move {
            verify::count(&pool, COUNT_PATIENCE, &mails).await.context("counting broke off")
        };
        one_at_a_time(self.count.start((), work), "a count")
    }
}

fn one_at_a_time(started: bool, what: &str) -> Result<(), Problem> {
    let refused = || {
        let detail = format!("{what} is under way: wait for its end");
        Problem::new(StatusCode::CONFLICT, detail)
    };
    started.then_some(()).ok_or_else(refused)
}

async fn seen(effects: Watches) {
    let _ = tokio::time::timeout(EFFECT_PATIENCE, effects.changed()).await;
}
