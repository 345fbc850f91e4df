//! Email: writes each mail that an order or a promotion asks for into a table of its own, in
//! the transaction that handles the event, and sends them from there one by one.
//!
//! - [`domain`] the rules; [`letter`] the words, from `templates/`
//! - `on_*` what it reacts to: a file each
//! - [`store`] what is owed; [`queue`] the same rows as the sender sees them
//! - [`sender`] the actor that takes mail after mail, [`attempt`] one attempt,
//!   [`message`] the mail as MIME, [`smtp`] the way to the server
//! - [`http`] what it answers

mod attempt;
mod domain;
mod http;
mod letter;
mod message;
mod on_credit_note_issued;
mod on_invoice_issued;
mod on_order_cancelled;
mod on_order_placed;
mod on_promotion_announced;
mod on_shipment_delivered;
mod on_shipment_dispatched;
mod queue;
mod sender;
mod smtp;
mod store;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use chassis::{Descriptor, Service, Subscriptions};

/// What the service is called, and its schema.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "email",
    schema: "email",
    role: "waybill_email",
    port: 8084,
    migrations: || sqlx::migrate!("../../migrations/email"),
};

/// What can be set.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    #[command(flatten)]
    pub common: chassis::Settings,

    /// The mail server: smtp://host:port, smtp://user:password@host:587?tls=required, or
    /// smtps://user:password@host.
    #[arg(long, env = "SMTP_URL", hide_env_values = true, default_value = "smtp://127.0.0.1:1025")]
    pub smtp_url: String,

    /// Whom mail is from.
    #[arg(long, env = "MAIL_FROM", default_value = "Waybill <orders@waybill.example>")]
    pub mail_from: String,

    /// The domain that Message-IDs end with; one that is yours.
    #[arg(long, env = "MAIL_DOMAIN", default_value = "waybill.example")]
    pub mail_domain: String,

    /// Where customers reach this service, for the links in mails.
    #[arg(long, env = "PUBLIC_URL", default_value = "http://127.0.0.1:8084")]
    pub public_url: String,

    /// How many mails a second this instance sends at most.
    #[arg(long, env = "MAIL_RATE", default_value = "100")]
    pub mail_rate: std::num::NonZeroU32,

    /// How many mails it sends at once.
    #[arg(long, env = "MAIL_CONNECTIONS", default_value = "2")]
    pub mail_connections: std::num::NonZeroU16,
}

pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    chassis::main(DESCRIPTOR, args, start)
}

/// The whole wiring.
pub async fn start(settings: Settings) -> anyhow::Result<Service> {
    let smtp = smtp::Smtp::new(&settings.smtp_url, settings.mail_connections.get().into())?;
    let from = settings.mail_from.parse();
    let from = from.context("MAIL_FROM is no address like Waybill <orders@waybill.example>")?;
    let domain: domain::MailDomain =
        settings.mail_domain.parse().map_err(anyhow::Error::msg).context("MAIL_DOMAIN")?;
    let public_url =
        settings.public_url.parse().map_err(anyhow::Error::msg).context("PUBLIC_URL")?;
    let mut service = Service::connect(DESCRIPTOR, &settings.common).await?;

    let subscriptions = Subscriptions::new()
        .on(on_order_placed::OnOrderPlaced { domain: domain.clone() })
        .on(on_order_cancelled::OnOrderCancelled { domain: domain.clone() })
        .on(on_shipment_dispatched::OnShipmentDispatched { domain: domain.clone() })
        .on(on_shipment_delivered::OnShipmentDelivered { domain: domain.clone() })
        .on(on_invoice_issued::OnInvoiceIssued { domain: domain.clone() })
        .on(on_credit_note_issued::OnCreditNoteIssued { domain: domain.clone() })
        .on(on_promotion_announced::OnPromotionAnnounced { domain });
    service.subscribe(subscriptions).await?;

    let (pool, broker) = (service.pool.clone(), service.broker.clone());
    let postman = attempt::Postman { pool, broker, smtp, from, public_url };
    let pace = sender::Pace { rate: settings.mail_rate, connections: settings.mail_connections };
    let sender = sender::start(postman, pace, service.stopping());
    service.spawn("sender", sender);

    let state = http::State { pool: service.pool.clone(), broker: service.broker.clone() };
    service.serve(http::api(), move |routes| http::routes(routes, state.clone())).await?;
    Ok(service)
}
