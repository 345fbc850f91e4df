//! An order's passport: all that happened to it, in one timeline, with every group's progress.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::Place;
use chassis::Problem;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::http::State;
use crate::store::{self, Answer, Step};
use crate::view::{self, Layout, Links, refused};

#[derive(Template)]
#[template(path = "passport.html")]
struct PassportPage {
    layout: Layout,
    id: Uuid,
    answer: Option<Told>,
    /// Where no record of it was heard of yet.
    waiting: bool,
    /// Where records are there and the order's own is not.
    headless: bool,
    keep_days: u32,
    steps: Vec<Told>,
}

/// A line of the timeline.
struct Told {
    at: String,
    since: Option<String>,
    kind: String,
    text: String,
    link: Option<(String, &'static str)>,
    record: Option<RecordAt>,
    groups: Vec<GroupAt>,
}

struct RecordAt {
    topic: String,
    partition: i32,
    offset: i64,
}

/// Where a group is in the record's partition: what lies before its committed offset is done.
struct GroupAt {
    name: String,
    /// Records up to and with this one that it has not committed; 0 where it is past it.
    behind: i64,
}

#[derive(Deserialize)]
pub struct Find {
    id: String,
}

/// The form that takes an id leads here.
pub async fn find(query: Query<Find>) -> Result<HttpResponse, Problem> {
    Ok(view::see_other(format!("/orders/{}", view::order_id(&query.id)?)))
}

pub async fn show(
    state: Data<State>,
    request: HttpRequest,
    id: Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let steps = store::steps(&state.pool, *id).await?;
    let answer = store::answer(&state.pool, *id).await?;
    if steps.is_empty() && answer.is_none() {
        return Err(Problem::not_found(format!(
            "no record of order {id} was heard of (yet); what is older than {} days is forgotten",
            state.keep.days
        )));
    }
    let places = state.places.now().await.map_err(refused)?;
    let start = steps.iter().find(|step| step.kind == "OrderPlaced").map(|step| step.at);
    view::page(&PassportPage {
        layout: Layout::new("home", &state, &request),
        id: *id,
        waiting: steps.is_empty(),
        headless: start.is_none() && !steps.is_empty(),
        keep_days: state.keep.days,
        answer: answer.map(answered),
        steps: steps
            .into_iter()
            .map(|step| told(*id, step, start, &places, &state.links))
            .collect(),
    })
}

fn answered(answer: Answer) -> Told {
    let took = view::millis(answer.micros as f64 / 1000.0);
    Told {
        at: view::time(answer.answered_at),
        since: None,
        kind: format!("{} Created", answer.status),
        text: format!(
            "The order service answered after {took}: the order and its record were stored, nothing else had to be waited for."
        ),
        link: None,
        record: None,
        groups: Vec::new(),
    }
}

fn told(
    id: Uuid,
    step: Step,
    start: Option<DateTime<Utc>>,
    places: &[Place],
    links: &Links,
) -> Told {
    let since =
        start.map(|start| (step.at - start).num_microseconds().unwrap_or(0) as f64 / 1000.0);
    let here = places
        .iter()
        .filter(|place| place.topic == step.topic && place.partition == step.partition);
    Told {
        at: view::time(step.at),
        since: since.map(|ms| format!("+{}", view::millis(ms))),
        text: text(&step),
        link: link(id, &step, links),
        groups: here
            .map(|place| GroupAt {
                name: place.consumer_group.clone(),
                behind: (step.record_offset + 1 - place.committed).max(0),
            })
            .collect(),
        record: Some(RecordAt {
            topic: step.topic,
            partition: step.partition,
            offset: step.record_offset,
        }),
        kind: step.kind,
    }
}

fn text(step: &Step) -> String {
    let field = |name: &str| step.details[name].as_str().unwrap_or_default();
    match step.kind.as_str() {
        "OrderPlaced" => {
            let gross = step.details["gross"].as_i64().unwrap_or(0);
            let lines = step.details["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
            let lines: Vec<String> = lines.iter().map(order_line).collect();
            format!("{} for {}", view::money(field("currency"), gross), lines.join(", "))
        }
        "CancellationRequested" => "The customer asked to cancel.".to_owned(),
        "OrderCancelled" => "Cancelled before the parcel left.".to_owned(),
        "ShipmentScheduled" => "The parcel has its time in the warehouse.".to_owned(),
        "ShipmentDispatched" => format!("The parcel left, tracked as {}.", field("tracking_code")),
        "ShipmentDelivered" => "The parcel arrived.".to_owned(),
        "ShipmentCancelled" => "The parcel was stopped.".to_owned(),
        "InvoiceIssued" => format!("Invoice {}", field("number")),
        "CreditNoteIssued" => format!("Credit note {} for {}", field("number"), field("corrects")),
        "MailSent" => format!("{}, Message-ID {}", field("kind"), field("message_id")),
        "MailBounced" => format!("{}: {}", field("kind"), field("reason")),
        "PromotionAnnounced" => field("subject").to_owned(),
        _ => step.details.to_string(),
    }
}

fn order_line(line: &Value) -> String {
    format!("{} × {}", line["quantity"], line["sku"].as_str().unwrap_or_default())
}

fn link(id: Uuid, step: &Step, links: &Links) -> Option<(String, &'static str)> {
    match step.kind.as_str() {
        "InvoiceIssued" => Some((links.pdf(id, "pdf"), "Open the PDF")),
        "CreditNoteIssued" => Some((links.pdf(id, "credit-note/pdf"), "Open the PDF")),
        "MailSent" => {
            let message_id = step.details["message_id"].as_str().unwrap_or_default();
            Some((links.mail(message_id), "Open in the mailbox"))
        }
        _ => None,
    }
}
