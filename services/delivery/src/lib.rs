//! Delivery: schedules a shipment for every order, dispatches and delivers it when its time
//! comes, and decides whether a parcel can still be stopped.
//!
//! - [`domain`] the rules: a pace, a shipment's plan
//! - [`on_order_placed`], [`on_cancellation_requested`] what it reacts to
//! - [`clock`] what it does when time passes
//! - [`store`] its rows, [`http`] what it answers

mod clock;
mod domain;
mod http;
mod on_cancellation_requested;
mod on_order_placed;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

use chassis::{Descriptor, Service, Subscriptions};

/// What the service is called, and its schema.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "delivery",
    schema: "delivery",
    role: "waybill_delivery",
    port: 8082,
    migrations: || sqlx::migrate!("../../migrations/delivery"),
};

/// What can be set.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    #[command(flatten)]
    pub common: chassis::Settings,

    /// How many seconds of the warehouse's time pass in one second: a parcel waits 20 minutes
    /// there and travels for 40.
    #[arg(long, env = "CLOCK_SPEED", default_value_t = 1.0, value_parser = domain::parse_speed)]
    pub clock_speed: f64,
}

pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    chassis::main(DESCRIPTOR, args, start)
}

/// The whole wiring.
pub async fn start(settings: Settings) -> anyhow::Result<Service> {
    let mut service = Service::connect(DESCRIPTOR, &settings.common).await?;
    let pace = domain::Pace::at_speed(settings.clock_speed);

    let subscriptions = Subscriptions::new()
        .on(on_order_placed::OnOrderPlaced { pace })
        .on(on_cancellation_requested::OnCancellationRequested);
    service.subscribe(subscriptions).await?;

    let clock = clock::run(service.broker.clone(), service.stopping());
    service.spawn("clock", clock);

    let pool = service.pool.clone();
    service.serve(http::api(), move |routes| http::routes(routes, pool.clone())).await?;
    Ok(service)
}
