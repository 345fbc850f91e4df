//! What an implementer writes.

use futures::future::BoxFuture;
use std::future::Future;

use crate::{Error, Record, Transaction};

/// Handles the records of a topic for a consumer group.
pub trait Handler: Send + Sync + 'static {
    /// Handles records of one partition, in offset order, at least one and at most the
    /// subscription's `max_batch`.
    ///
    /// What it does with `tx`, what it publishes through it, and the group's progress commit
    /// together after it returned `Ok`; the handler itself never commits. After an error or a
    /// panic nothing of it is kept: the batch is split until the bad record is alone, and
    /// that one is retried and then diverted. So a call may see records again that an earlier
    /// call saw, but none of whose effects were kept.
    ///
    /// Calls for one partition never overlap, whichever process makes them take effect;
    /// calls for different partitions do.
    fn handle(
        &self,
        tx: &mut Transaction,
        records: &[Record],
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// Why a handler did not handle a batch. Made from any error by `?`.
#[derive(Debug)]
pub struct HandlerError {
    pub(crate) source: Box<dyn std::error::Error + Send + Sync>,
    pub(crate) offset: Option<u64>,
    pub(crate) rejected: bool,
}

impl HandlerError {
    /// The record can never be handled, so that no retry is due.
    pub fn reject(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        HandlerError { source: reason.into(), offset: None, rejected: true }
    }

    /// Names the record of the batch that is to blame, which spares the search for it.
    pub fn at(mut self, record: &Record) -> Self {
        self.offset = Some(record.offset());
        self
    }

    /// Whether the server or the way to it was in trouble: the records are not to blame.
    pub(crate) fn is_transient(&self) -> bool {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&*self.source);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<sqlx::Error>() {
                return crate::error::is_transient(error);
            }
            if let Some(error) = error.downcast_ref::<Error>() {
                return error.is_transient();
            }
            next = error.source();
        }
        false
    }
}

impl std::fmt::Display for HandlerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.source)?;
        let mut next = self.source.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

// No `std::error::Error` for it, or this could not be.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        HandlerError { source: Box::new(error), offset: None, rejected: false }
    }
}

/// [`Handler`] as an object.
pub(crate) trait DynHandler: Send + Sync {
    fn handle<'a>(
        &'a self,
        tx: &'a mut Transaction,
        records: &'a [Record],
    ) -> BoxFuture<'a, Result<(), HandlerError>>;
}

impl<H: Handler> DynHandler for H {
    fn handle<'a>(
        &'a self,
        tx: &'a mut Transaction,
        records: &'a [Record],
    ) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(Handler::handle(self, tx, records))
    }
}
