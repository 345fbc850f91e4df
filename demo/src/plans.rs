//! What `waybill up` runs: which services, how many of each, and their settings.

use std::str::FromStr;

use chassis::Descriptor;
use mailbox::Mailbox;

use crate::control::Listener;
use crate::database::{Database, DatabaseArgs};
use crate::processes::Spec;
use crate::services;
use crate::supervisor::Plan;
use crate::world::Ports;

/// An hour of the warehouse in a second.
const CLOCK_SPEED: &str = "3600";

/// How the system is brought up.
#[derive(Debug, Clone, clap::Args)]
pub struct SystemArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,

    /// Listen on ports from this one on, instead of the usual ones
    #[arg(long, value_parser = clap::value_parser!(u16).range(1024..65500))]
    pub port_base: Option<u16>,

    /// Which log lines the services write, unless RUST_LOG says so
    #[arg(skip)]
    pub log: Option<&'static str>,

    /// Run more instances of a service, as `delivery=3`
    #[arg(long, value_name = "SERVICE=N")]
    pub scale: Vec<Scale>,
}

/// So many instances of a service.
#[derive(Debug, Clone)]
pub struct Scale {
    service: &'static str,
    instances: u32,
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Scale, String> {
        let wrong = || "must look like delivery=3, with 1 to 32 instances".to_owned();
        let (name, instances) = text.split_once('=').ok_or_else(wrong)?;
        let service = services::descriptors().find(|service| service.name == name);
        let service = service.ok_or_else(|| format!("there is no service {name:?}"))?.name;
        let instances =
            instances.parse().ok().filter(|n| (1..=32).contains(n)).ok_or_else(wrong)?;
        Ok(Scale { service, instances })
    }
}

/// A plan a service.
pub fn of(
    args: &SystemArgs,
    ports: Ports,
    database: &Database,
    mailbox: &Mailbox,
    dashboard_token: &str,
    control: &Listener,
) -> anyhow::Result<Vec<Plan>> {
    let url_of = |service: Descriptor| format!("http://{}", ports.service(service.port));
    let mailbox_url = format!("http://{}", ports.mailbox_http());
    let mut plans = Vec::new();
    for service in services::descriptors() {
        let scale = args.scale.iter().rev().find(|scale| scale.service == service.name);
        let mut env = vec![
            ("DATABASE_URL", database.url_of(service.role)?),
            ("HTTP_ADDR", ports.service(service.port).to_string()),
            ("CLOCK_SPEED", CLOCK_SPEED.to_owned()),
            ("SMTP_URL", mailbox.smtp_url()),
            ("MAIL_RATE", "1000".to_owned()),
            ("PUBLIC_URL", url_of(email::DESCRIPTOR)),
            ("ORDERS_PER_SECOND", "1000000".to_owned()),
            ("DASHBOARD_URL", url_of(dashboard::DESCRIPTOR)),
            ("ORDER_URL", url_of(order::DESCRIPTOR)),
            ("INVOICE_URL", url_of(invoice::DESCRIPTOR)),
            ("MAILBOX_URL", mailbox_url.clone()),
        ];
        if let Some(log) = args.log.filter(|_| std::env::var_os("RUST_LOG").is_none()) {
            env.push(("RUST_LOG", log.to_owned()));
        }
        let mut group = service.name;
        if service.name == dashboard::DESCRIPTOR.name {
            group = dashboard::GROUP;
            env.push(("DASHBOARD_TOKEN", dashboard_token.to_owned()));
            env.push(("DEMO_CONTROL_URL", control.url.clone()));
            env.push(("DEMO_CONTROL_TOKEN", control.token.clone()));
        }
        plans.push(Plan {
            spec: Spec { name: service.name.to_owned(), service: service.name, env },
            group,
            instances: scale.map_or(1, |scale| scale.instances),
        });
    }
    Ok(plans)
}
