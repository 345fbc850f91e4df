//! Dead letters: why each record was given up, and sending it through its group again.

use actix_web::web::{Data, Form, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::{DeadLetter, Redrive};
use chassis::Problem;
use serde::Deserialize;

use crate::http::State;
use crate::view::{self, Layout, refused};

/// Dead letters on one page.
const PAGE: usize = 50;
/// What one redrive takes: they are all held in memory.
const AT_ONCE: usize = 500;

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct ListPage {
    layout: Layout,
    topics: Vec<OfGroup>,
}

/// A dead-letter topic: of a topic, and of a group that read it.
pub struct OfGroup {
    pub topic: String,
    pub group: String,
    pub records: i64,
}

#[derive(Template)]
#[template(path = "dead_letter.html")]
struct LettersPage {
    layout: Layout,
    topic: String,
    group: String,
    asked: Asked,
    letters: Vec<Letter>,
    /// Where the next page starts.
    next: Option<u64>,
}

#[derive(Template)]
#[template(path = "redrive.html")]
struct RedrivePage {
    layout: Layout,
    topic: String,
    group: String,
    asked: Send,
    letters: Vec<Letter>,
    limit: usize,
}

struct Letter {
    offset: u64,
    at: String,
    key: String,
    reason: String,
    attempts: String,
    /// Topic, partition and offset where it came from.
    source: (String, String, String),
    redriven: Option<String>,
    value: String,
}

pub async fn list(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let topics = topics(&state).await?;
    view::page(&ListPage { layout: Layout::new("dead-letters", &state, &request), topics })
}

/// Every dead-letter topic, by group.
pub async fn topics(state: &State) -> Result<Vec<OfGroup>, Problem> {
    let kept = state.broker.topics_info().await.map_err(refused)?;
    let places = state.places.now().await.map_err(refused)?;
    let mut topics = Vec::new();
    for of in places.chunk_by(|one, next| {
        (&one.consumer_group, &one.topic) == (&next.consumer_group, &next.topic)
    }) {
        let name = format!("{}.{}.dlq", of[0].topic, of[0].consumer_group);
        if let Some(dead) = kept.iter().find(|topic| topic.name == name) {
            topics.push(OfGroup {
                topic: of[0].topic.clone(),
                group: of[0].consumer_group.clone(),
                records: dead.records,
            });
        }
    }
    Ok(topics)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    key: String,
    error: String,
    from: String,
}

pub async fn show(
    state: Data<State>,
    request: HttpRequest,
    path: Path<(String, String)>,
    asked: Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let (topic, group) = path.into_inner();
    let asked = asked.into_inner();
    let which = Redrive {
        key: text(&asked.key).map(Vec::from),
        error: text(&asked.error).map(str::to_owned),
        from: offset(&asked.from)?.unwrap_or(0),
        again: true,
        max_redrives: u32::MAX,
        limit: PAGE + 1,
        ..Redrive::default()
    };
    let mut letters = state.broker.dead_letters(&group, &topic, &which).await.map_err(refused)?;
    let next = letters.get(PAGE).map(|letter| letter.record.offset());
    letters.truncate(PAGE);
    view::page(&LettersPage {
        layout: Layout::new("dead-letters", &state, &request),
        letters: letters.iter().map(letter).collect(),
        topic,
        group,
        asked,
        next,
    })
}

/// What to send again; `confirm` comes from the page that shows what that would be.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Send {
    form_token: String,
    offset: String,
    key: String,
    error: String,
    again: String,
    confirm: String,
}

/// Shows what a redrive would send; does it once that was seen.
pub async fn redrive(
    state: Data<State>,
    request: HttpRequest,
    path: Path<(String, String)>,
    form: Form<Send>,
) -> Result<HttpResponse, Problem> {
    state.access.admit(&request, &form.form_token)?;
    let (topic, group) = path.into_inner();
    let asked = form.into_inner();
    let which = Redrive {
        offsets: offset(&asked.offset)?.map(|offset| vec![offset]),
        key: text(&asked.key).map(Vec::from),
        error: text(&asked.error).map(str::to_owned),
        again: asked.again == "yes",
        limit: AT_ONCE,
        ..Redrive::default()
    };
    if asked.confirm == "yes" {
        let sent = state.broker.redrive(&group, &topic, &which).await.map_err(refused)?;
        tracing::info!(group, topic, records = sent.len(), "redriven from the dashboard");
        return Ok(view::see_other(format!("/dead-letters/{topic}/{group}")));
    }
    let letters = state.broker.dead_letters(&group, &topic, &which).await.map_err(refused)?;
    view::page(&RedrivePage {
        layout: Layout::new("dead-letters", &state, &request),
        letters: letters.iter().map(letter).collect(),
        limit: AT_ONCE,
        topic,
        group,
        asked,
    })
}

fn text(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

fn offset(given: &str) -> Result<Option<u64>, Problem> {
    let wrong = |_| Problem::bad_request(format!("{:?} is no offset", view::cut(given, 40)));
    text(given).map(str::parse).transpose().map_err(wrong)
}

fn letter(dead: &DeadLetter) -> Letter {
    let record = &dead.record;
    let header = |name: &str| record.header(name).unwrap_or("?").to_owned();
    Letter {
        offset: record.offset(),
        at: view::date_time(record.published_at()),
        key: view::cut(&String::from_utf8_lossy(record.key().unwrap_or_default()), 200),
        reason: header("dlq.error"),
        attempts: header("dlq.attempts"),
        source: (header("dlq.topic"), header("dlq.partition"), header("dlq.offset")),
        redriven: dead.redriven_at.map(view::date_time),
        value: view::value(record.value()),
    }
}
