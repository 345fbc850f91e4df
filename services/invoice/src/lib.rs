//! Invoice: numbers an invoice for every order and a credit note for every cancelled one,
//! without gaps, and renders both as PDF.
//!
//! - [`domain`] the rules: what a number looks like, what a credit note is; [`mod@check`] what
//!   adds up
//! - [`on_order_placed`], [`on_order_cancelled`] what it reacts to: rows with numbers
//! - [`renderer`] makes those rows PDFs and tells everybody; [`paper`] what stands on them,
//!   [`pdf`] how it is drawn
//! - [`store`] its rows, [`http`] what it answers

mod check;
mod domain;
mod http;
mod on_order_cancelled;
mod on_order_placed;
mod paper;
pub mod pdf;
mod renderer;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

use chassis::{Descriptor, Service, Subscriptions};

pub use paper::{AddressLines, Seller};

/// What the service is called, and its schema.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "invoice",
    schema: "invoice",
    role: "waybill_invoice",
    port: 8083,
    migrations: || sqlx::migrate!("../../migrations/invoice"),
};

/// What can be set.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    #[command(flatten)]
    pub common: chassis::Settings,

    #[command(flatten)]
    pub seller: Seller,
}

pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    chassis::main(DESCRIPTOR, args, start)
}

/// The whole wiring.
pub async fn start(settings: Settings) -> anyhow::Result<Service> {
    let mut service = Service::connect(DESCRIPTOR, &settings.common).await?;

    let subscriptions = Subscriptions::new()
        .on(on_order_placed::OnOrderPlaced)
        .on(on_order_cancelled::OnOrderCancelled);
    service.subscribe(subscriptions).await?;

    let renderer = renderer::run(service.broker.clone(), settings.seller, service.stopping());
    service.spawn("renderer", renderer);

    let pool = service.pool.clone();
    service.serve(http::api(), move |routes| http::routes(routes, pool.clone())).await?;
    Ok(service)
}
