//! Log aggregation: a service's log lines go to topic `log` too.
//!
//! A line is never waited for. What the buffer cannot hold, or the log cannot take, is dropped
//! and counted: a service must not stop for its log lines.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use broker::Broker;
use chrono::Utc;
use contracts::LogLine;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::events;

/// Lines that may wait.
const BUFFER: usize = 2048;
/// Lines that go together, and how long they wait for company.
const BATCH: usize = 256;
const COMPANY: Duration = Duration::from_millis(200);
/// Of a line's text or one of its fields; the rest is cut off.
const MAX_TEXT: usize = 4096;
const MAX_FIELDS: usize = 32;

/// Lines on their way from the process's subscriber to its broker.
static LINES: Mutex<Option<mpsc::Receiver<LogLine>>> = Mutex::new(None);

/// The subscriber's part.
pub(crate) struct LogTopic {
    service: &'static str,
    lines: mpsc::Sender<LogLine>,
}

impl LogTopic {
    pub fn new(service: &'static str) -> LogTopic {
        let (lines, receiver) = mpsc::channel(BUFFER);
        *LINES.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
        LogTopic { service, lines }
    }
}

impl<S: Subscriber> Layer<S> for LogTopic {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !is_shipped(event.metadata()) {
            return;
        }
        let mut texts = Texts::default();
        event.record(&mut texts);
        let line = LogLine {
            service: self.service.to_owned(),
            process: std::process::id(),
            at: Utc::now(),
            level: event.metadata().level().to_string(),
            target: event.metadata().target().to_owned(),
            message: texts.message,
            fields: texts.fields,
        };
        if self.lines.try_send(line).is_err() {
            dropped(1);
        }
    }
}

/// What publishing itself has to say below a warning stays here: shipping it would give it
/// more to say.
fn is_shipped(of: &Metadata<'_>) -> bool {
    let publishing = ["sqlx", "broker", "chassis::log_topic"];
    *of.level() <= Level::WARN || !publishing.iter().any(|part| of.target().starts_with(part))
}

fn dropped(lines: usize) {
    metrics::counter!("waybill_log_lines_dropped_total").increment(lines as u64);
}

#[derive(Default)]
struct Texts {
    message: String,
    fields: BTreeMap<String, String>,
}

impl Texts {
    fn add(&mut self, field: &Field, mut text: String) {
        if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
            text.truncate(end);
        }
        if field.name() == "message" {
            self.message = text;
        } else if self.fields.len() < MAX_FIELDS {
            self.fields.insert(field.name().to_owned(), text);
        }
    }
}

impl Visit for Texts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }
}

/// Publishes the process's lines until the service stops. Of several services in one process
/// (tests) the first does it.
pub(crate) async fn ship(broker: Broker, mut stopping: watch::Receiver<bool>) {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut lines) = lines else { return };
    // So that the count is there before it rises.
    dropped(0);
    let mut batch = Vec::with_capacity(BATCH);
    let mut stopped = false;
    while !stopped {
        tokio::select! {
            count = lines.recv_many(&mut batch, BATCH) => stopped = count == 0,
            () = asked_to_stop(&mut stopping) => {
                // What was said until now.
                while batch.len() < BUFFER && let Ok(line) = lines.try_recv() {
                    batch.push(line);
                }
                stopped = true;
            }
        }
        publish(&broker, &mut batch).await;
        tokio::select! {
            () = sleep(COMPANY) => {}
            () = asked_to_stop(&mut stopping) => {}
        }
    }
}

async fn asked_to_stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn publish(broker: &Broker, batch: &mut Vec<LogLine>) {
    let count = batch.len();
    if count > 0 && events::publish(broker, batch.drain(..)).await.is_err() {
        // Not a line of the log: it would come here again.
        dropped(count);
    }
}
