//! A running service: its database, its broker, its HTTP server, and how they end.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::ServiceConfig;
use anyhow::Context;
use broker::Broker;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::{Descriptor, Settings, Subscriptions, http, log_topic, telemetry};

/// How long a stop waits for requests that are being answered.
const HTTP_GRACE_SECONDS: u64 = 5;

/// A service's process. Built up by [`connect`](Service::connect),
/// [`subscribe`](Service::subscribe) and [`serve`](Service::serve); taken down by
/// [`stop`](Service::stop).
pub struct Service {
    descriptor: Descriptor,
    /// For reading and for rows without events; events go through `broker`.
    pub pool: PgPool,
    /// The log.
    pub broker: Broker,
    http_addr: SocketAddr,
    server: Option<ServerHandle>,
    stop: watch::Sender<bool>,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

impl Service {
    /// Connects to the database and to the log.
    ///
    /// # Errors
    /// Naming what could not be reached, and what to do.
    pub async fn connect(descriptor: Descriptor, settings: &Settings) -> anyhow::Result<Service> {
        // What is counted before there is a recorder is lost.
        telemetry::metrics();
        let name = descriptor.name;
        let options: PgConnectOptions = settings
            .database_url()?
            .parse()
            .context("DATABASE_URL is no URL like postgres://user:password@host:5432/database")?;
        let target = format!("{}:{}", options.get_host(), options.get_port());
        let pool = PgPoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(
                options
                    .application_name(name)
                    // A session that hangs in a transaction would hold everybody's vacuum back.
                    .options([("idle_in_transaction_session_timeout", "60s")]),
            )
            .await
            .with_context(|| {
                format!("{name} cannot use the database at {target}: is it up, and is DATABASE_URL right?")
            })?;
        let broker = broker::Options::new(settings.broker_url()?)
            .application_name(format!("{name} log"))
            .connect()
            .await
            .with_context(|| format!("{name} cannot use the log: run `{name} migrate` first?"))?;
        let http_addr = settings.http_addr(&descriptor);
        let (stop, stopping) = watch::channel(false);
        let lines = tokio::spawn(log_topic::ship(broker.clone(), stopping));
        let upkeep = tokio::spawn(telemetry::keep_up(stop.subscribe()));
        let tasks = vec![("log lines", lines), ("metrics", upkeep)];
        Ok(Service { descriptor, pool, broker, http_addr, server: None, stop, tasks })
    }

    /// Starts to consume, as a member of the service's group.
    ///
    /// # Errors
    /// Where a topic is missing or not the role's to consume.
    pub async fn subscribe(&self, subscriptions: Subscriptions) -> anyhow::Result<()> {
        // Stopped by the broker's shutdown.
        subscriptions.start(&self.broker, self.descriptor.name).await?;
        Ok(())
    }

    /// Where it listens, once it [serves](Service::serve).
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Completes when the service begins to stop: for streams that would not end by
    /// themselves.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Runs something beside the requests; it is to end when [`stopping`](Service::stopping)
    /// completes.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push((name, tokio::spawn(task)));
    }

    /// Starts to answer requests: the service's `routes`, and those that every service has.
    ///
    /// # Errors
    /// Where the address is taken, naming it.
    pub async fn serve(
        &mut self,
        api: utoipa::openapi::OpenApi,
        routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> anyhow::Result<()> {
        let (addr, server) =
            http::start(self.http_addr, HTTP_GRACE_SECONDS, self.pool.clone(), api, routes)
                .with_context(|| {
                    format!(
                        "{} cannot listen on {}: is the port taken? Set HTTP_ADDR to another",
                        self.descriptor.name, self.http_addr
                    )
                })?;
        self.http_addr = addr;
        self.server = Some(server.handle());
        self.tasks.push((
            "http",
            tokio::task::spawn_local(async move {
                if let Err(error) = server.await {
                    warn!("the HTTP server ended: {error}");
                }
            }),
        ));
        info!("{} listens on http://{addr}", self.descriptor.name);
        Ok(())
    }

    /// Answers what is being asked, finishes the batches in hand, and closes. What is left is
    /// in the database.
    pub async fn stop(self) {
        info!("{} stops", self.descriptor.name);
        self.stop.send_replace(true);
        if let Some(server) = &self.server {
            server.stop(true).await;
        }
        for (name, task) in self.tasks {
            if tokio::time::timeout(Duration::from_secs(HTTP_GRACE_SECONDS), task).await.is_err() {
                warn!("{name} did not stop in time");
            }
        }
        self.broker.shutdown().await;
        self.pool.close().await;
    }
}
