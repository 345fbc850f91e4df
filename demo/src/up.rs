//! Brings the system up, shows an order going through, and keeps it running.

use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mailbox::Mailbox;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::client::{Client, is_ready};
use crate::control::{self, Control, Listener};
use crate::database::{self, Database};
use crate::plans::{self, SystemArgs};
use crate::story::{self, Teller};
use crate::supervisor::Supervisor;
use crate::world::{Ports, Run, World};
use crate::{Folder, services, verify};

/// For people who watch: what is handled is told, too. Where speed is measured it is not.
const LOG: &str = "info,chassis=debug,sqlx=warn,actix_server=warn";
const READY_IN: Duration = Duration::from_secs(60);
const QUIET_IN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub folder: Folder,

    #[command(flatten)]
    pub system: SystemArgs,

    /// Exit once the order is delivered, invoiced and mailed, and every group is past its records
    #[arg(long)]
    once: bool,

    /// Tell the story as JSON lines, each with its milliseconds since the 201
    #[arg(long)]
    json: bool,
}

pub async fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    args.system.log = Some(LOG);
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let teller = if args.json { Teller::Json } else { Teller::Text };
    let mut stopping = async || {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    let system = tokio::select! {
        system = System::start(&args.folder.data, &args.system, teller) => system?,
        () = stopping() => return Ok(ExitCode::from(130)),
    };
    system.introduce(teller);
    let story = async {
        story::tell(&system.client, &system.mailbox, &system.dashboard.0, teller).await?;
        if args.once { system.quiet().await } else { Ok(()) }
    };
    let story = tokio::select! {
        story = story => story,
        () = stopping() => {
            system.stop().await?;
            return Ok(ExitCode::from(130));
        }
    };
    if !args.once {
        if let Err(error) = &story {
            eprintln!("the story broke off: {error:#}");
        }
        teller.say("\nIt keeps running; Ctrl-C stops it.");
        stopping().await;
    }
    system.stop().await?;
    story.map(|()| ExitCode::SUCCESS)
}

/// Everything, running.
pub struct System {
    pub client: Client,
    pub mailbox: Arc<Mailbox>,
    database: Database,
    supervisor: Supervisor,
    control: control::Server,
    urls: Vec<(&'static str, String)>,
    /// Where the dashboard is, for whoever may only read, and its token.
    dashboard: (String, String),
    // Last: its lock goes when all else is gone.
    _world: World,
}

impl System {
    pub async fn start(data: &Path, args: &SystemArgs, teller: Teller) -> anyhow::Result<System> {
        let ports = Ports::new(args.port_base);
        let world = World::take(data)?;
        std::fs::create_dir_all(world.logs())?;
        for service in services::descriptors() {
            check_free(service.name, ports.service(service.port))?;
        }
        check_free("the mailbox's page", ports.mailbox_http())?;
        check_free("the mailbox", ports.mailbox_smtp())?;

        teller.say("Postgres …");
        let database = Database::open(&world, args.database.url()?).await?;
        teller.say("Mailbox …");
        let mailbox = Arc::new(Mailbox::start(mailbox_options(&world, Some(ports))).await?);

        teller.say("Services …");
        let (deaths, mut died) = mpsc::channel(16);
        let token = database::secret(&world, "dashboard-token")?;
        let listener = Listener::bind(database::random_secret())?;
        let plans = plans::of(args, ports, &database, &mailbox, &token, &listener)?;
        let supervisor = Supervisor::start(plans, &world.logs(), move |name, end| {
            eprintln!("{name} {end}");
            let _ = deaths.try_send(format!("{name} {end}"));
        })?;
        let urls: Vec<_> = services::descriptors()
            .map(|service| (service.name, format!("http://{}", ports.service(service.port))))
            .collect();
        tokio::select! {
            ready = ready(&urls) => ready?,
            Some(death) = died.recv() => bail!("{death}\nSee {}", world.logs().display()),
        }
        let run = Run {
            database_url: database.url.clone(),
            order_url: urls[0].1.clone(),
            mailbox_url: format!("http://{}", ports.mailbox_http()),
        };
        world.announce(&run)?;
        let client = Client::new(&run.order_url)?;
        let control = Control::new(
            supervisor.clone(),
            mailbox.clone(),
            run.mailbox_url,
            run.database_url,
            database.pool.clone(),
            client.clone(),
        );
        let control = control::Server::start(listener, control)?;
        let dashboard = (format!("http://{}", ports.service(dashboard::DESCRIPTOR.port)), token);
        Ok(System {
            client,
            mailbox,
            database,
            supervisor,
            control,
            urls,
            dashboard,
            _world: world,
        })
    }

    /// A table of every address, and a line to paste.
    fn introduce(&self, teller: Teller) {
        let mailbox =
            self.mailbox.http_addr().map(|addr| format!("http://{addr}")).unwrap_or_default();
        if teller == Teller::Json {
            let urls: serde_json::Map<_, _> =
                self.urls.iter().map(|(name, url)| ((*name).to_owned(), json!(url))).collect();
            let pids = self.supervisor.pids().into_iter();
            let pids: serde_json::Map<_, _> = pids.map(|(name, pid)| (name, json!(pid))).collect();
            println!(
                "{}",
                json!({"event": "ready", "urls": urls, "dashboard": self.log_in(), "mailbox": mailbox, "pids": pids})
            );
            return;
        }
        println!("\n  {:<10} {}", "dashboard", self.log_in());
        for (name, url) in self.urls.iter().filter(|(name, _)| *name != dashboard::DESCRIPTOR.name)
        {
            println!("  {name:<10} {url}   (API: {url}/openapi.json)");
        }
        println!("  {:<10} {mailbox}   (SMTP: {})", "mailbox", self.mailbox.smtp_addr());
        println!("  {:<10} {}", "postgres", self.database.url);
        println!("\nPlace an order yourself:\n\n{}\n", curl(&self.urls[0].1));
    }

    /// The dashboard's first page, for whoever may change things there.
    fn log_in(&self) -> String {
        let (dashboard, token) = &self.dashboard;
        format!("{dashboard}/login?token={token}")
    }

    /// Waits until nothing is on its way that `verify` counts: what the story tells of is not all
    /// of it, for a group that tells nobody of its work, as analytics, may come last.
    async fn quiet(&self) -> anyhow::Result<()> {
        let left = verify::quiet::wait(&self.database.pool, QUIET_IN).await?;
        let Some(left) = left.first() else { return Ok(()) };
        bail!("after {} s there are still {}", QUIET_IN.as_secs(), left.wrong.first.join(", "))
    }

    /// Stops everything, the services first; what they have in hand they finish.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.control.stop().await;
        self.supervisor.stop().await;
        // Where somebody still looks at it, it stops with that.
        if let Some(mailbox) = Arc::into_inner(self.mailbox) {
            mailbox.stop().await;
        }
        self.database.close().await
    }
}

/// The mailbox of a run; without ports it is only for reading what earlier runs left.
pub fn mailbox_options(world: &World, ports: Option<Ports>) -> mailbox::Options {
    let mut options =
        mailbox::Options { folder: Some(world.mails()), ..mailbox::Options::default() };
    if let Some(ports) = ports {
        options.smtp = ports.mailbox_smtp();
        options.http = Some(ports.mailbox_http());
    }
    // An address that is refused for good, to be tried without code.
    options.reject_domain = Some("bounce.invalid".to_owned());
    // All mails of long runs: `verify` counts them.
    options.limits.kept_mails = 500_000;
    options.limits.kept_bytes = 8 * 1024 * 1024 * 1024;
    options
}

/// Before anything is started, so that the error names the port and not a process's death.
fn check_free(what: &str, addr: SocketAddr) -> anyhow::Result<()> {
    TcpListener::bind(addr).map(drop).with_context(|| {
        format!(
            "{what} cannot listen on {addr}: is the port taken? Set --port-base to move all ports"
        )
    })
}

pub async fn ready(urls: &[(&'static str, String)]) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_IN;
    for (name, url) in urls {
        while !is_ready(url).await {
            if Instant::now() > deadline {
                bail!("{name} is not ready at {url} after {} s", READY_IN.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

fn curl(order_url: &str) -> String {
    let colour = std::io::stdout().is_terminal();
    let (bold, plain) = if colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    format!(
        "{bold}curl -i {order_url}/orders -H 'content-type: application/json' -H \"idempotency-key: $(uuidgen || date +%s%N)\" \\\n  \
         -d '{}'{plain}",
        json!({
            "customer": {"name": "Ada Lovelace", "email": "ada@example.org"},
            "ship_to": {"street": "12 St James Square", "postal_code": "SW1Y 4LB", "city": "London", "country": "GB"},
            "lines": [{"sku": "TEA-EARL-GREY", "quantity": 2}],
        })
    )
}
