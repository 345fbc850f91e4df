//! W3C trace context: which request an event goes back to, however many services later.

use rand::Rng;

/// A `traceparent` of version 00.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(String);

impl Trace {
    /// Continues the trace of a `traceparent` header, or starts one where it is missing or
    /// malformed, as the standard asks.
    pub fn from_header(header: Option<&str>) -> Trace {
        match header.and_then(trace_id) {
            Some(id) => Trace::within(id),
            None => Trace::within(&format!("{:032x}", rand::rng().random::<u128>().max(1))),
        }
    }

    /// The next step of the same trace.
    pub fn child(&self) -> Trace {
        Trace::from_header(Some(&self.0))
    }

    fn within(id: &str) -> Trace {
        Trace(format!("00-{id}-{:016x}-01", rand::rng().random::<u64>().max(1)))
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn trace_id(header: &str) -> Option<&str> {
    let hex = |text: &str, len: usize| {
        text.len() == len
            && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && text.bytes().any(|byte| byte != b'0')
    };
    let mut parts = header.trim().split('-');
    let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let known = version == "00" && parts.next().is_none();
    let later = version.len() == 2 && version != "ff";
    ((known || later) && hex(id, 32) && hex(span, 16) && flags.len() == 2).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_on_under_its_id() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::from_header(Some(header));
        assert!(trace.as_str().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert_ne!(trace.as_str(), header);
        assert!(trace.child().as_str().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    }

    #[test]
    fn what_is_malformed_starts_a_new_one() {
        for header in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            let trace = Trace::from_header(Some(header));
            assert!(trace_id(trace.as_str()).is_some(), "{header}");
            assert!(!trace.as_str().contains("4bf92f35"), "{header}");
        }
    }
}
