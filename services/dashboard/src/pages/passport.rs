//! An order's passport: all that happened to it, in one timeline, with every group's progress.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::{Passed, Place, Trail};
use chassis::Problem;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::commits::{self, Wanted};
use crate::http::State;
use crate::store::{self, Answer, Attempt, Request, Step};
use crate::view::{self, Layout, Links, refused};

#[derive(Template)]
#[template(path = "passport.html")]
struct PassportPage {
    layout: Layout,
    id: Uuid,
    /// Where nobody told how the request was answered that placed it.
    unanswered: bool,
    /// Where no record of it was heard of yet.
    waiting: bool,
    /// Where records are there and the order's own is not.
    headless: bool,
    keep_days: u32,
    timeline: Vec<Told>,
}

/// An entry of the timeline.
struct Told {
    at: String,
    since: Option<String>,
    kind: String,
    text: String,
    link: Option<(String, &'static str)>,
    record: Option<RecordAt>,
    groups: Vec<GroupAt>,
}

impl Told {
    fn new(at: DateTime<Utc>, kind: String, text: String) -> Told {
        let at = view::time(at);
        Told { at, since: None, kind, text, link: None, record: None, groups: Vec::new() }
    }
}

struct RecordAt {
    topic: String,
    partition: i32,
    offset: i64,
    /// The transaction that it was published with.
    transaction: Option<i64>,
}

/// Where a group is in the record's partition: what lies before its committed offset is done.
struct GroupAt {
    name: String,
    /// Records up to and with this one that it has not committed; 0 where it is past it.
    behind: i64,
    /// When and how it got past it, as far as that is known.
    passed: Option<String>,
    failed: Vec<Failed>,
}

/// An attempt of a group at the record that failed.
struct Failed {
    at: String,
    told: String,
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
    let requests = store::requests(&state.pool, *id).await?;
    let answer = store::answer(&state.pool, *id).await?;
    if steps.is_empty() && requests.is_empty() && answer.is_none() {
        return Err(Problem::not_found(format!(
            "no record of order {id} was heard of (yet); what is older than {} days is forgotten",
            state.keep.days
        )));
    }
    let attempts = store::attempts(&state.pool, *id).await?;
    let records: Vec<_> =
        steps.iter().map(|step| (&*step.topic, step.partition, step.record_offset)).collect();
    let mut trails = state.broker.trails(&records).await.map_err(refused)?;
    recall(&state, &steps, &mut trails).await?;
    let places = state.places.now().await.map_err(refused)?;
    let groups = Groups { places: &places, attempts: &attempts };
    let start = steps.iter().find(|step| step.kind == "OrderPlaced").map(|step| step.at);
    let layout = Layout::new("home", &state, &request);
    let answers = Answers { start };
    let first = requests.iter().find(|request| !request.replayed).map(|of| answers.given(of));
    let first = first.or_else(|| answer.map(seen));
    let (waiting, unanswered) = (steps.is_empty(), first.is_none());
    let again = requests.iter().filter(|request| request.replayed);
    let mut later: Vec<(DateTime<Utc>, Told)> =
        again.map(|request| (request.answered_at, answers.replayed(request))).collect();
    later.extend(
        steps
            .into_iter()
            .zip(trails)
            .map(|(step, trail)| (step.at, told(*id, step, start, &groups, &trail, &state.links))),
    );
    later.sort_by_key(|(at, _)| *at);
    view::page(&PassportPage {
        layout,
        id: *id,
        waiting,
        headless: start.is_none() && !waiting,
        keep_days: state.keep.days,
        unanswered,
        timeline: first.into_iter().chain(later.into_iter().map(|(_, told)| told)).collect(),
    })
}

/// Adds what is kept of commits that the log has forgotten.
async fn recall(state: &State, steps: &[Step], trails: &mut [Trail]) -> sqlx::Result<()> {
    let passed = steps
        .iter()
        .zip(trails)
        .flat_map(|(step, trail)| trail.passed.iter_mut().map(move |passed| (step, passed)));
    let mut forgotten: Vec<Wanted<'_>> = passed
        .filter(|(_, passed)| passed.at.is_none())
        .map(|(step, passed)| Wanted {
            topic: &step.topic,
            partition: step.partition,
            offset: step.record_offset,
            passed,
        })
        .collect();
    commits::recall(&state.pool, &mut forgotten).await
}

/// How answers are told.
struct Answers {
    start: Option<DateTime<Utc>>,
}

impl Answers {
    fn given(&self, request: &Request) -> Told {
        let took = took(request.micros);
        let text = format!(
            "The order service answered after {took}: the order and its record were stored, nothing else had to be waited for."
        );
        self.told(request, status(request.status), text)
    }

    fn replayed(&self, request: &Request) -> Told {
        let took = took(request.micros);
        let text = format!(
            "The same Idempotency-Key came again: after {took} the first answer was given again, and nothing was done twice."
        );
        self.told(request, format!("{}, replayed", status(request.status)), text)
    }

    fn told(&self, request: &Request, kind: String, text: String) -> Told {
        Told {
            since: since(request.answered_at, self.start),
            ..Told::new(request.answered_at, kind, text)
        }
    }
}

/// What this service saw where it placed the order itself.
fn seen(answer: Answer) -> Told {
    let text = format!(
        "This dashboard had the answer after {}; the order service itself has not told of it (yet).",
        took(answer.micros)
    );
    Told::new(answer.answered_at, status(answer.status), text)
}

fn status(code: i32) -> String {
    let code = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    code.map(|code| code.to_string()).unwrap_or_default()
}

fn took(micros: i64) -> String {
    view::millis(micros as f64 / 1000.0)
}

fn since(at: DateTime<Utc>, start: Option<DateTime<Utc>>) -> Option<String> {
    Some(format!("+{}", took((at - start?).num_microseconds().unwrap_or(0))))
}

fn told(
    id: Uuid,
    step: Step,
    start: Option<DateTime<Utc>>,
    groups: &Groups<'_>,
    trail: &Trail,
    links: &Links,
) -> Told {
    Told {
        at: view::time(step.at),
        since: since(step.at, start),
        text: text(&step),
        link: link(id, &step, links),
        groups: groups.at(&step, trail),
        record: Some(RecordAt {
            topic: step.topic,
            partition: step.partition,
            offset: step.record_offset,
            transaction: trail.published_in,
        }),
        kind: step.kind,
    }
}

/// What is known of the groups that read an order's records.
struct Groups<'a> {
    places: &'a [Place],
    attempts: &'a [Attempt],
}

impl Groups<'_> {
    fn at(&self, step: &Step, trail: &Trail) -> Vec<GroupAt> {
        let here = self
            .places
            .iter()
            .filter(|place| place.topic == step.topic && place.partition == step.partition);
        let at = |place: &Place| {
            let name = &place.consumer_group;
            let by = trail.passed.iter().find(|by| by.consumer_group == *name);
            let failed = self.attempts.iter().filter(|of| {
                of.consumer_group == *name
                    && (&of.topic, of.partition, of.record_offset)
                        == (&step.topic, step.partition, step.record_offset)
            });
            GroupAt {
                name: name.clone(),
                // What is told of one group is of one time: it may have gone on since.
                behind: match by {
                    Some(_) => 0,
                    None => (step.record_offset + 1 - place.committed).max(0),
                },
                passed: by.and_then(passed),
                failed: failed
                    .map(|of| Failed { at: view::time(of.at), told: of.told.clone() })
                    .collect(),
            }
        };
        here.map(at).collect()
    }
}

fn passed(by: &Passed) -> Option<String> {
    let with = match by.records? {
        1 => String::new(),
        records => format!(" with {} others", records - 1),
    };
    Some(format!(
        "since {}{with}, transaction {}, generation {}",
        view::time(by.at?),
        by.transaction?,
        by.generation?
    ))
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
        "ShipmentScheduled" => format!(
            "The parcel is to leave at {} and to arrive at {}.",
            field("dispatch_at"),
            field("deliver_at")
        ),
        "ShipmentDispatched" => format!("The parcel left, tracked as {}.", field("tracking_code")),
        "ShipmentDelivered" => "The parcel arrived.".to_owned(),
        "ShipmentCancelled" => "The parcel was stopped.".to_owned(),
        "InvoiceIssued" => format!("Invoice {}", field("number")),
        "CreditNoteIssued" => format!("Credit note {} for {}", field("number"), field("corrects")),
        "MailSent" => format!("{}, Message-ID {}", field("kind"), field("message_id")),
        "MailBounced" => {
            format!("{}, Message-ID {}: {}", field("kind"), field("message_id"), field("reason"))
        }
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
