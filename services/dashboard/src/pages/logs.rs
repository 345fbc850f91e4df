//! Every service's log lines, the newest first: by service, level and order, back in time, and
//! live.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::Record;
use chassis::Problem;
use contracts::{Event, LogLine, OrderAnswer, OrdersAnswered};
use serde::Deserialize;
use uuid::Uuid;

use crate::http::State;
use crate::pages::backward::Backward;
use crate::view::{self, Layout, refused};

/// Lines on one page.
const PAGE: usize = 100;
/// What a filter looks at before it says where it stopped.
const SCAN: usize = 5000;
/// From the worst on.
const LEVELS: [&str; 5] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"];
/// Fields that name orders: a record's key is its order's id.
const ORDER_FIELDS: [&str; 4] = ["order_id", "subject_id", "key", "keys"];
const MAX_TEXT: usize = 2000;

/// As the form sends it: what was left empty comes as an empty string.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    service: String,
    level: String,
    order: String,
    /// Where an earlier page stopped.
    before: String,
}

#[derive(Template)]
#[template(path = "logs.html")]
struct LogsPage {
    layout: Layout,
    asked: Asked,
    levels: [&'static str; 5],
    /// Those that a line was looked at of, to choose from.
    services: BTreeSet<String>,
    lines: Vec<Line>,
    looked_at: usize,
    /// Records of the topic that are no log lines.
    unreadable: usize,
    /// The query of the page with older lines.
    older: Option<String>,
}

struct Line {
    partition: i32,
    offset: u64,
    at: String,
    level: String,
    service: String,
    process: u32,
    message: String,
    fields: Vec<(String, Vec<Word>)>,
}

/// A piece of a field's value.
struct Word {
    text: String,
    order_id: Option<Uuid>,
}

pub async fn show(
    state: Data<State>,
    request: HttpRequest,
    asked: Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let asked = asked.into_inner();
    let filter = Filter::new(&asked)?;
    let partitions = state.broker.partitions(LogLine::TOPIC).await.map_err(refused)?;
    let mut way = Backward::new(&state.broker, LogLine::TOPIC, partitions.iter(), &asked.before)?;
    let (mut lines, mut services) = (Vec::new(), BTreeSet::new());
    let (mut looked_at, mut unreadable) = (0, 0);
    let older = loop {
        if lines.len() >= PAGE || looked_at == SCAN {
            break Some(asked.older(&way.stopped()));
        }
        let Some(record) = way.next().await? else { break None };
        looked_at += 1;
        match lines_of(&record) {
            Ok(told) => {
                services.extend(told.iter().map(|line| view::cut(&line.service, 60)));
                let taken = told.iter().filter(|line| filter.takes(line));
                lines.extend(taken.map(|line| shown(&record, line)));
            }
            Err(_) => unreadable += 1,
        }
    };
    view::page(&LogsPage {
        layout: Layout::new("logs", &state, &request),
        asked,
        levels: LEVELS,
        services,
        lines,
        looked_at,
        unreadable,
        older,
    })
}

impl Asked {
    fn older(&self, before: &str) -> String {
        view::query(&[
            ("service", &self.service),
            ("level", &self.level),
            ("order", &self.order),
            ("before", before),
        ])
    }
}

/// Which lines are shown.
struct Filter<'a> {
    service: &'a str,
    /// How bad at least: a place in [`LEVELS`].
    level: usize,
    order: Option<String>,
}

impl<'a> Filter<'a> {
    fn new(asked: &'a Asked) -> Result<Filter<'a>, Problem> {
        let level = match asked.level.trim() {
            "" => LEVELS.len(),
            text => rank(text).ok_or_else(|| {
                Problem::bad_request(format!(
                    "{:?} is no level: {}",
                    view::cut(text, 40),
                    LEVELS.join(", ")
                ))
            })?,
        };
        let order = match asked.order.trim() {
            "" => None,
            text => Some(view::order_id(text)?.to_string()),
        };
        Ok(Filter { service: asked.service.trim(), level, order })
    }

    fn takes(&self, line: &LogLine) -> bool {
        (self.service.is_empty() || line.service == self.service)
            && rank(&line.level).unwrap_or(LEVELS.len()) <= self.level
            && self.order.as_deref().is_none_or(|order| is_about(line, order))
    }
}

fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| known.eq_ignore_ascii_case(level))
}

/// Whether a line names the order, in a field or in its words.
fn is_about(line: &LogLine, order: &str) -> bool {
    line.fields.values().chain([&line.message]).any(|text| text.contains(order))
}

/// A record's lines, the newest first: answers come many in one.
fn lines_of(record: &Record) -> serde_json::Result<Vec<LogLine>> {
    if record.header("ce_type") != Some(OrdersAnswered::TYPE) {
        return Ok(vec![serde_json::from_slice(record.value())?]);
    }
    let answered: OrdersAnswered = serde_json::from_slice(record.value())?;
    let line = |answer: &OrderAnswer| LogLine {
        service: answered.service.clone(),
        process: answered.process,
        at: answer.answered_at,
        level: "INFO".to_owned(),
        target: String::new(),
        message: format!(
            "answered with {} after {}",
            answer.status,
            view::millis(answer.took_micros as f64 / 1000.0)
        ),
        fields: BTreeMap::from([
            ("order_id".to_owned(), answer.order_id.to_string()),
            ("replayed".to_owned(), answer.replayed.to_string()),
        ]),
    };
    Ok(answered.answers.iter().rev().map(line).collect())
}

fn shown(record: &Record, line: &LogLine) -> Line {
    let fields = line.fields.iter().map(|(name, value)| {
        let value = view::cut(value, MAX_TEXT);
        let words = match ORDER_FIELDS.contains(&name.as_str()) {
            true => value.split(' ').map(word).collect(),
            false => vec![Word { text: value, order_id: None }],
        };
        (view::cut(name, 60), words)
    });
    Line {
        partition: record.partition(),
        offset: record.offset(),
        at: view::date_time(line.at),
        level: view::cut(&line.level, 10),
        service: view::cut(&line.service, 60),
        process: line.process,
        message: view::cut(&line.message, MAX_TEXT),
        fields: fields.collect(),
    }
}

fn word(text: &str) -> Word {
    Word { text: text.to_owned(), order_id: text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(service: &str, level: &str, order: &str) -> bool {
        let line = serde_json::from_value(serde_json::json!({
            "service": "delivery", "process": 7, "at": "2026-01-02T03:04:05Z", "level": "WARN",
            "target": "t", "message": "late",
            "fields": {"keys": "a 01890000-0000-7000-8000-000000000001"}
        }));
        let text = |text: &str| text.to_owned();
        let asked = Asked {
            service: text(service),
            level: text(level),
            order: text(order),
            before: String::new(),
        };
        Filter::new(&asked).unwrap().takes(&line.unwrap())
    }

    #[test]
    fn lines_are_found_by_service_level_and_order() {
        assert!(takes("", "", "") && takes("delivery", "warn", "") && takes("", "INFO", ""));
        assert!(!takes("deliver", "", "") && !takes("", "ERROR", ""));
        assert!(takes("", "", "01890000-0000-7000-8000-000000000001"));
        assert!(takes("", "", " 01890000-0000-7000-8000-000000000001".to_uppercase().as_str()));
        assert!(!takes("", "", "01890000-0000-7000-8000-000000000002"));
    }
}
