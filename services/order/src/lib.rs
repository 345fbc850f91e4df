//! Order: takes orders and answers once they are safe; tells each order's story as the other
//! services' events tell it.
//!
//! - [`domain`] what a valid order is and what it costs; [`catalogue`] the prices
//! - [`writer`] the actor that commits many orders at once; [`answers`] how they were answered
//! - [`timeline`], [`on_shipment_cancelled`] what it hears back
//! - [`store`] its rows; [`http`] what it answers, [`follow`] an order live, [`limits`] to whom
//!   it does not

mod answers;
mod catalogue;
mod domain;
mod follow;
mod http;
mod limits;
mod on_shipment_cancelled;
mod store;
mod timeline;
mod writer;

use std::ffi::OsString;
use std::process::ExitCode;

use chassis::{Descriptor, Service, Subscriptions};
use contracts::{
    CancellationRequested, CreditNoteIssued, InvoiceIssued, MailBounced, MailSent, OrderCancelled,
    OrderPlaced, ShipmentDelivered, ShipmentDispatched, ShipmentScheduled,
};
use timeline::Timeline;

/// What the service is called, and its schema: `order` is a reserved word in SQL.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "order",
    schema: "orders",
    role: "waybill_order",
    port: 8081,
    migrations: || sqlx::migrate!("../../migrations/order"),
};

/// What can be set.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    #[command(flatten)]
    pub common: chassis::Settings,

    /// How many orders a second one client address may place; faster ones get 429.
    #[arg(long, env = "ORDERS_PER_SECOND", default_value = "1000")]
    pub orders_per_second: std::num::NonZeroU32,

    /// How many orders one transaction commits at most; 1 for a transaction a request.
    #[arg(long, env = "WRITER_BATCH", default_value = "1000")]
    pub writer_batch: std::num::NonZeroUsize,

    /// How many of the writer's transactions are under way at once.
    #[arg(long, env = "WRITER_IN_FLIGHT", default_value = "2")]
    pub writer_in_flight: std::num::NonZeroUsize,
}

pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    chassis::main(DESCRIPTOR, args, start)
}

/// The whole wiring.
pub async fn start(settings: Settings) -> anyhow::Result<Service> {
    let mut service = Service::connect(DESCRIPTOR, &settings.common).await?;

    let subscriptions = Subscriptions::new()
        .on(Timeline::<OrderPlaced>::new())
        .on(Timeline::<CancellationRequested>::new())
        .on(Timeline::<OrderCancelled>::new())
        .on(Timeline::<ShipmentScheduled>::new())
        .on(Timeline::<ShipmentDispatched>::new())
        .on(Timeline::<ShipmentDelivered>::new())
        .on(on_shipment_cancelled::OnShipmentCancelled)
        .on(Timeline::<InvoiceIssued>::new())
        .on(Timeline::<CreditNoteIssued>::new())
        .on(Timeline::<MailSent>::new())
        .on(Timeline::<MailBounced>::new());
    service.subscribe(subscriptions).await?;

    let catalogue = catalogue::Catalogue::load(service.pool.clone()).await?;
    service.spawn("catalogue", catalogue.clone().keep_fresh(service.stopping()));
    service.spawn("idempotency", store::forget_old_keys(service.pool.clone(), service.stopping()));
    let followers = follow::Followers::default();
    service.spawn("followers", followers.clone().run(service.broker.clone(), service.stopping()));

    let (answers, untold) = answers::buffer();
    service.spawn("answers", untold.publish(service.broker.clone(), service.stopping()));

    let state = http::State {
        pool: service.pool.clone(),
        broker: service.broker.clone(),
        catalogue,
        followers,
        answers,
        stopping: service.stopping(),
        writer: writer::Writer::start(
            service.broker.clone(),
            settings.writer_batch.get(),
            settings.writer_in_flight.get(),
        ),
        limits: limits::Limits::per_second(settings.orders_per_second),
    };
    service.serve(http::api(), move |routes| http::routes(routes, state.clone())).await?;
    Ok(service)
}
