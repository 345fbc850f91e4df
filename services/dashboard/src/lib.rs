//! The dashboard: shows what happens, live. It knows topics, groups and events, and no other
//! service; what it shows of an order it heard through topics, as group [`GROUP`].
//!
//! - `on_*` what it hears, a file each; [`timeline`] what it does with all of it
//! - [`settle`] effects that were heard of before their order; [`throughput`] how far groups were,
//!   [`commits`] and by which commits
//! - [`store`] its rows, [`retention`] how long they stay
//! - [`live`] what happens now, to every open page: a broadcast reader behind server-sent events
//! - [`places`] where all groups are
//! - [`access`] who may change something; [`shell`] what every answer is wrapped in
//! - [`http`] the routes, [`pages`] behind them; [`view`] how things are written there
//! - [`orders`] the order service, by its address; [`control`] the demo's supervisor, by its own

mod access;
mod commits;
pub mod control;
mod http;
mod live;
mod on_cancellation_requested;
mod on_credit_note_issued;
mod on_invoice_issued;
mod on_log_line;
mod on_mail_bounced;
mod on_mail_sent;
mod on_order_cancelled;
mod on_order_placed;
mod on_orders_answered;
mod on_promotion_announced;
mod on_shipment_cancelled;
mod on_shipment_delivered;
mod on_shipment_dispatched;
mod on_shipment_scheduled;
mod orders;
mod pages;
mod places;
mod retention;
mod settle;
mod shell;
mod store;
mod throughput;
mod timeline;
mod view;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use chassis::{Descriptor, Service, Subscriptions};
use url::Url;

/// What the service is called, and its schema.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "dashboard",
    schema: "dashboard",
    role: "waybill_dashboard",
    port: 8080,
    migrations: || sqlx::migrate!("../../migrations/dashboard"),
};

/// Its consumer group: named after what it is for, as readers of a topic meet it.
pub const GROUP: &str = "analytics";

/// What can be set.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    #[command(flatten)]
    pub common: chassis::Settings,

    /// What has to be known to change anything, 16 characters or more: /login?token=… lets a
    /// browser in. Without it the dashboard only shows.
    #[arg(long, env = "DASHBOARD_TOKEN", hide_env_values = true)]
    pub dashboard_token: Option<String>,

    /// A file with that token.
    #[arg(long, env = "DASHBOARD_TOKEN_FILE")]
    pub dashboard_token_file: Option<PathBuf>,

    /// Where people reach this service, when not by an IP address or localhost.
    #[arg(long, env = "DASHBOARD_URL", default_value = "http://127.0.0.1:8080")]
    pub dashboard_url: Url,

    /// The order service, for orders placed from the page.
    #[arg(long, env = "ORDER_URL", default_value = "http://127.0.0.1:8081")]
    pub order_url: Url,

    /// Where people reach the invoice service, for links to PDFs.
    #[arg(long, env = "INVOICE_URL", default_value = "http://127.0.0.1:8083")]
    pub invoice_url: Url,

    /// Where people reach the mailbox, for links to mails.
    #[arg(long, env = "MAILBOX_URL", default_value = "http://127.0.0.1:8025")]
    pub mailbox_url: Url,

    /// How many days its own tables go back; the log has a retention of its own.
    #[arg(long, env = "DASHBOARD_KEEP_DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub dashboard_keep_days: u32,

    /// How many records of orders they tell of at most: beyond that the oldest go.
    #[arg(long, env = "DASHBOARD_KEEP_ROWS", default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    pub dashboard_keep_rows: u64,
    /// The supervisor of `waybill up`, which alone sets this: it has a page to break things.
    #[arg(long, env = "DEMO_CONTROL_URL", hide = true)]
    pub demo_control_url: Option<Url>,

    /// What the supervisor wants to be shown.
    #[arg(long, env = "DEMO_CONTROL_TOKEN", hide = true, hide_env_values = true)]
    pub demo_control_token: Option<String>,
}

impl Settings {
    /// The token, where there is one.
    fn token(&self) -> anyhow::Result<Option<String>> {
        match (
            self.dashboard_token.as_ref().filter(|token| !token.is_empty()),
            &self.dashboard_token_file,
        ) {
            (Some(token), _) => Ok(Some(token.clone())),
            (None, Some(file)) => {
                chassis::read_password(file).context("DASHBOARD_TOKEN_FILE").map(Some)
            }
            (None, None) => Ok(None),
        }
    }
}

pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    chassis::main(DESCRIPTOR, args, start)
}

/// The whole wiring.
pub async fn start(settings: Settings) -> anyhow::Result<Service> {
    let access = access::Access::new(settings.token()?.as_deref(), &settings.dashboard_url)?;
    let orders = orders::Orders::new(&settings.order_url).context("ORDER_URL")?;
    let control = control::Control::new(
        settings.demo_control_url.as_ref(),
        settings.demo_control_token.as_deref(),
    )?;
    let mut service = Service::connect(DESCRIPTOR, &settings.common).await?;

    let subscriptions = Subscriptions::new()
        .on(on_order_placed::OnOrderPlaced)
        .on(on_cancellation_requested::OnCancellationRequested)
        .on(on_order_cancelled::OnOrderCancelled)
        .on(on_shipment_scheduled::OnShipmentScheduled)
        .on(on_shipment_dispatched::OnShipmentDispatched)
        .on(on_shipment_delivered::OnShipmentDelivered)
        .on(on_shipment_cancelled::OnShipmentCancelled)
        .on(on_invoice_issued::OnInvoiceIssued)
        .on(on_credit_note_issued::OnCreditNoteIssued)
        .on(on_mail_sent::OnMailSent)
        .on(on_mail_bounced::OnMailBounced)
        .on(on_promotion_announced::OnPromotionAnnounced)
        .on(on_log_line::OnLogLine)
        .on(on_orders_answered::OnOrdersAnswered);
    // Stopped by the broker's shutdown.
    subscriptions.start(&service.broker, GROUP).await?;

    let live = live::Live::default();
    service.spawn("live records", live.clone().records(service.broker.clone(), service.stopping()));
    let places = places::Places::of(service.broker.clone());
    service.spawn("live groups", live.clone().groups(places.clone(), service.stopping()));
    if let Some(control) = &control {
        let told = live.clone().system(control.clone(), service.stopping());
        service.spawn("live system", told);
    }

    let pool = || service.pool.clone();
    let keep =
        retention::Keep { days: settings.dashboard_keep_days, rows: settings.dashboard_keep_rows };
    let settling = settle::run(pool(), service.stopping());
    let noting = throughput::run(places.clone(), pool(), service.stopping());
    let keeping = commits::run(service.broker.clone(), pool(), service.stopping());
    let forgetting = retention::run(pool(), keep, service.stopping());
    service.spawn("times to effects", settling);
    service.spawn("throughput", noting);
    service.spawn("commits", keeping);
    service.spawn("retention", forgetting);

    let state = http::State {
        pool: service.pool.clone(),
        broker: service.broker.clone(),
        stopping: service.stopping(),
        links: view::Links::new(&settings.invoice_url, &settings.mailbox_url),
        access,
        orders,
        control,
        live,
        places,
        keep,
    };
    service.serve(http::api(), move |routes| http::routes(routes, state.clone())).await?;
    Ok(service)
}
