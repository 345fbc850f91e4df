//! Break it: what the demo's supervisor runs, what can be done to it, and what that does to the
//! groups. Only where there is a supervisor.

use std::str::FromStr;

use actix_web::web::{Data, Form};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chassis::Problem;
use serde::Deserialize;
use uuid::Uuid;

use crate::control::{
    BurstEnd, Change, Control, CountEnd, MAX_BURST, ProcessStatus, ServiceStatus, State as Doing,
    Status,
};
use crate::http::State;
use crate::pages::dead_letters::{self, OfGroup};
use crate::pages::groups::{Group, grouped};
use crate::view::{self, Layout, refused};

#[derive(Template)]
#[template(path = "break_it.html")]
struct BreakPage {
    layout: Layout,
    status: Status,
    services: Vec<Service>,
    dead_letters: Vec<OfGroup>,
    /// Of the order that the page places: sent twice, it is one order.
    key: Uuid,
    mailbox: String,
}

/// A service, and where its group is.
struct Service {
    of: ServiceStatus,
    group: Option<Group>,
}

impl Service {
    /// Those that signals may go to.
    fn targets(&self) -> impl Iterator<Item = &ProcessStatus> {
        self.of.processes.iter().filter(|process| process.can_signal)
    }
}

/// As the table says it.
fn doing(process: &ProcessStatus) -> &'static str {
    match process.state {
        Doing::Starting => "starting",
        Doing::Running => "running",
        Doing::Paused => "paused",
        Doing::Stopping => "stopping",
        Doing::Stopped => "stopped",
    }
}

pub async fn show(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let status = control(&state)?.status().await?;
    let mut groups = grouped(&state.places.now().await.map_err(refused)?);
    let services = status.services.iter().map(|of| {
        let at = groups.iter().position(|group| group.name == of.group);
        Service { of: of.clone(), group: at.map(|at| groups.swap_remove(at)) }
    });
    let services = services.collect();
    let mut dead_letters = dead_letters::topics(&state).await?;
    dead_letters.retain(|of| of.records > 0);
    view::page(&BreakPage {
        layout: Layout::new("break", &state, &request),
        services,
        status,
        dead_letters,
        key: Uuid::new_v4(),
        mailbox: state.links.mailbox(),
    })
}

/// As the forms send it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    form_token: String,
    action: String,
    service: String,
    process: String,
    instances: String,
    orders: String,
}

impl Asked {
    /// What to do, and the part of the page where it shows.
    fn change(self) -> Result<(Change, String), Problem> {
        let Asked { action, service, process, instances, orders, .. } = self;
        let at = format!("service-{service}");
        Ok(match action.as_str() {
            "start" => (Change::Start { service }, at),
            "stop" => (Change::Stop { service }, at),
            "scale" => (Change::Scale { service, instances: number(&instances)? }, at),
            "kill" => (Change::Kill { process }, at),
            "pause" => (Change::Pause { process }, at),
            "resume" => (Change::Resume { process }, at),
            "mail-off" => (Change::MailServer { takes_mail: false }, "mail".to_owned()),
            "mail-on" => (Change::MailServer { takes_mail: true }, "mail".to_owned()),
            "poison" => (Change::Poison, "poison".to_owned()),
            "burst" => (Change::Burst { orders: number(&orders)? }, "burst".to_owned()),
            "count" => (Change::Count, "count".to_owned()),
            action => {
                let action = view::cut(action, 40);
                return Err(Problem::bad_request(format!("there is no action {action:?}")));
            }
        })
    }
}

fn number<N: FromStr>(text: &str) -> Result<N, Problem> {
    let wrong = |_| Problem::bad_request(format!("{:?} is no such number", view::cut(text, 40)));
    text.trim().parse().map_err(wrong)
}

/// Asks the supervisor for it and leads back to where it shows.
pub async fn change(
    state: Data<State>,
    request: HttpRequest,
    form: Form<Asked>,
) -> Result<HttpResponse, Problem> {
    state.access.admit(&request, &form.form_token)?;
    let (change, at) = form.into_inner().change()?;
    control(&state)?.change(&change).await?;
    tracing::info!(?change, "asked of the supervisor");
    let at: String = url::form_urlencoded::byte_serialize(at.as_bytes()).collect();
    Ok(view::see_other(format!("/break#{at}")))
}

fn control(state: &State) -> Result<&Control, Problem> {
    state.control.as_ref().ok_or_else(|| {
        Problem::not_found("things can be broken only where `waybill up` runs the system")
    })
}
