//! A message while it comes in, within two bounds: its own, and that on all
//! that come in at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Shared;
use super::reply::{self, Reply};

/// Bytes of messages being received, over all connections.
#[derive(Default)]
pub(crate) struct Receiving(AtomicUsize);

/// The message of one transaction, unstuffed.
pub(crate) struct Body {
    shared: Arc<Shared>,
    bytes: Vec<u8>,
    /// Why the message will be refused once it has all come: its first fault.
    fault: Option<Reply>,
}

impl Body {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Body { shared: Arc::clone(shared), bytes: Vec::new(), fault: None }
    }

    /// Adds a line or a part of one; once there is a fault, only counts as
    /// read, so that the client gets its answer where it looks for it.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        let text = piece.strip_suffix(b"\r\n").unwrap_or(piece);
        if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            self.refuse(reply::BARE_LINE_ENDS);
        } else if self.bytes.len() + piece.len() > self.shared.limits.message_bytes {
            self.refuse(reply::TOO_BIG);
        } else if !self.reserve(piece.len()) {
            self.refuse(reply::NO_ROOM);
        } else {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// The message, or why it is refused.
    pub(crate) fn whole(&self) -> Result<&[u8], Reply> {
        match &self.fault {
            None => Ok(&self.bytes),
            Some(reply) => Err(reply.clone()),
        }
    }

    fn refuse(&mut self, reply: Reply) {
        self.release();
        self.fault = Some(reply);
    }

    fn reserve(&self, bytes: usize) -> bool {
        let limit = self.shared.limits.receiving_bytes;
        let add = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= limit);
        let held = &self.shared.receiving.0;
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.shared.receiving.0.fetch_sub(bytes.len(), Ordering::Relaxed);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.release();
    }
}
