//! A trace's steps in this process: spans under OpenTelemetry's names for HTTP, messaging and
//! CloudEvents. Where no spans are exported a step is the trace that it belongs to and nothing
//! else.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use broker::Record;
use contracts::Event;
use opentelemetry::trace::{Link, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::events::{ID, TYPE};
use crate::{Trace, otlp};

/// As the broker calls itself in its own spans.
const SYSTEM: &str = "broker";

/// A step; it ends when it is dropped.
#[derive(Debug)]
pub struct Step {
    trace: Trace,
    context: Option<Context>,
}

impl Trace {
    /// A step that something outside takes part in, as a mail server.
    pub fn step(&self, name: &'static str) -> Step {
        Step::begin(Some(self), || SpanBuilder::from_name(name).with_kind(SpanKind::Client))
    }
}

impl Step {
    /// The trace up to here: what is caused from now on follows this step.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Marks the step as failed.
    pub fn fail(&self, why: impl ToString) {
        if let Some(context) = &self.context {
            context.span().set_status(Status::error(why.to_string()));
        }
    }

    /// A request that is being answered; its address's pattern is known once it is.
    pub(crate) fn serve(request: &ServiceRequest) -> Step {
        let header = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
        let parent = Trace::continued(header);
        Step::begin(parent.as_ref(), || {
            let method = request.method().to_string();
            SpanBuilder::from_name(method.clone()).with_kind(SpanKind::Server).with_attributes([
                KeyValue::new("http.request.method", method),
                KeyValue::new("url.path", request.path().to_owned()),
                KeyValue::new("url.scheme", "http"),
            ])
        })
    }

    pub(crate) fn answered<B: MessageBody>(&self, response: &ServiceResponse<B>) {
        let Some(context) = &self.context else { return };
        let (span, request, status) = (context.span(), response.request(), response.status());
        if let Some(route) = request.match_pattern() {
            span.update_name(format!("{} {route}", request.method()));
            span.set_attribute(KeyValue::new("http.route", route));
        }
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if status.is_server_error() {
            span.set_status(Status::error(""));
        }
    }

    /// An event's making. It is sent when its transaction commits, together with others.
    pub(crate) fn create<E: Event>(parent: &Trace, id: &str, key: &str) -> Step {
        Step::begin(Some(parent), || {
            SpanBuilder::from_name(format!("create {}", E::TOPIC))
                .with_kind(SpanKind::Producer)
                .with_attributes([
                    KeyValue::new("messaging.system", SYSTEM),
                    KeyValue::new("messaging.operation.name", "create"),
                    KeyValue::new("messaging.operation.type", "create"),
                    KeyValue::new("messaging.destination.name", E::TOPIC),
                    KeyValue::new("cloudevents.event_id", id.to_owned()),
                    KeyValue::new("cloudevents.event_type", E::TYPE),
                    KeyValue::new("cloudevents.event_subject", key.to_owned()),
                ])
        })
    }

    /// A record in a handler's hands, in the trace that it came with. The broker's span is that of
    /// the whole batch, in which traces meet: each names the other as a link.
    pub(crate) fn process(record: &Record, group: &str) -> Step {
        let parent = Trace::continued(record.header(crate::events::TRACEPARENT));
        Step::begin(parent.as_ref(), || {
            let batch = tracing::Span::current();
            if let Some(parent) = &parent {
                batch.add_link(parent.span_context());
            }
            let batch = batch.context().span().span_context().clone();
            let links = batch.is_valid().then(|| Link::with_context(batch));
            let text = |name| record.header(name).unwrap_or_default().to_owned();
            SpanBuilder::from_name(format!("process {}", record.topic()))
                .with_kind(SpanKind::Consumer)
                .with_links(links.into_iter().collect())
                .with_attributes([
                    KeyValue::new("messaging.system", SYSTEM),
                    KeyValue::new("messaging.operation.name", "process"),
                    KeyValue::new("messaging.operation.type", "process"),
                    KeyValue::new("messaging.destination.name", record.topic().to_owned()),
                    KeyValue::new(
                        "messaging.destination.partition.id",
                        record.partition().to_string(),
                    ),
                    KeyValue::new("messaging.consumer.group.name", group.to_owned()),
                    KeyValue::new("messaging.message.offset", record.offset() as i64),
                    KeyValue::new("cloudevents.event_id", text(ID)),
                    KeyValue::new("cloudevents.event_type", text(TYPE)),
                ])
        })
    }

    /// What else belongs into the step while it is polled with this.
    pub(crate) fn context(&self) -> Context {
        self.context.clone().unwrap_or_default()
    }

    fn begin(parent: Option<&Trace>, describe: impl FnOnce() -> SpanBuilder) -> Step {
        let Some(tracer) = otlp::tracer() else {
            return Step { trace: parent.cloned().unwrap_or_else(Trace::start), context: None };
        };
        let outside = Context::new();
        let outside = match parent {
            Some(parent) => outside.with_remote_span_context(parent.span_context()),
            None => outside,
        };
        let span = tracer.build_with_context(describe(), &outside);
        let context = outside.with_span(span);
        Step { trace: Trace::of(context.span().span_context()), context: Some(context) }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(context) = &self.context {
            context.span().end();
        }
    }
}
