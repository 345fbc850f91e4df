//! W3C trace context: which request an event goes back to, however many services later.

use opentelemetry::trace::{SpanContext, TraceFlags, TraceState};
use rand::Rng;

/// A `traceparent` of version 00: a trace, the step that is the newest so far, and whether its
/// steps are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(String);

impl Trace {
    /// Continues the trace of a `traceparent` header, or starts one where it is missing or
    /// malformed, as the standard asks.
    pub fn from_header(header: Option<&str>) -> Trace {
        Trace::continued(header).unwrap_or_else(Trace::start)
    }

    /// The trace of a header, where there is a valid one.
    pub(crate) fn continued(header: Option<&str>) -> Option<Trace> {
        let (id, span, sampled) = parse(header?)?;
        Some(Trace(format!("00-{id}-{span}-{:02x}", u8::from(sampled))))
    }

    pub(crate) fn start() -> Trace {
        let mut random = rand::rng();
        let (id, span) = (random.random::<u128>().max(1), random.random::<u64>().max(1));
        Trace(format!("00-{id:032x}-{span:016x}-01"))
    }

    pub(crate) fn of(span: &SpanContext) -> Trace {
        let sampled = u8::from(span.is_sampled());
        Trace(format!("00-{}-{}-{sampled:02x}", span.trace_id(), span.span_id()))
    }

    /// The step to continue from.
    pub(crate) fn span_context(&self) -> SpanContext {
        let Some((id, span, sampled)) = parse(&self.0) else { return SpanContext::NONE };
        let id = u128::from_str_radix(id, 16).unwrap_or_default();
        let span = u64::from_str_radix(span, 16).unwrap_or_default();
        let flags = TraceFlags::default().with_sampled(sampled);
        SpanContext::new(id.into(), span.into(), flags, true, TraceState::NONE)
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Trace, span, and whether it is sampled.
fn parse(header: &str) -> Option<(&str, &str, bool)> {
    let is_hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |text: &str, len| is_hex(text, len) && text.bytes().any(|byte| byte != b'0');
    let mut parts = header.trim().split('-');
    let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let known = version == "00" && parts.next().is_none();
    let later = is_hex(version, 2) && version != "00" && version != "ff";
    if !(known || later) || !is_id(id, 32) || !is_id(span, 16) || !is_hex(flags, 2) {
        return None;
    }
    Some((id, span, u8::from_str_radix(flags, 16).ok()? & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_from_the_step_that_its_header_names() {
        for (header, kept) in [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
            // Not recorded; flags that we do not know are not passed on.
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0a",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            ),
            // A later version may have more to say.
            (
                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
        ] {
            let trace = Trace::from_header(Some(header));
            assert_eq!(trace.as_str(), kept);
            assert_eq!(Trace::of(&trace.span_context()), trace);
        }
    }

    #[test]
    fn what_is_malformed_starts_a_new_one() {
        for header in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1é",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            let trace = Trace::from_header(Some(header));
            assert!(parse(trace.as_str()).is_some(), "{header}");
            assert!(!trace.as_str().contains("4bf92f35"), "{header}");
            assert_ne!(trace, Trace::from_header(Some(header)), "{header}");
        }
    }
}
