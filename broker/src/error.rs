//! What can go wrong at the crate's face.

use sqlx::postgres::PgDatabaseError;

use crate::record::InvalidRecord;

/// An error of the log. Each says what is wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL names no engine of this crate, or cannot be read.
    #[error(
        "broker URL {url:?}: {reason}; it looks like postgres://user:password@host:5432/database"
    )]
    Url {
        /// The URL without its password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database has no schema `log`, or one of another version.
    #[error("the database has no log that this version knows: run broker::migrate first ({0})")]
    NotMigrated(#[source] sqlx::Error),
    /// The topic does not exist.
    #[error("topic {0:?} does not exist: create it with Broker::create_topic")]
    UnknownTopic(String),
    /// The database was restored into another cluster.
    #[error(
        "the log was restored from another cluster's dump: run broker::migrate as its owner, which adopts it"
    )]
    Restored,
    /// The group, the partition or the offset does not exist, or not now.
    #[error("{0}")]
    Refused(String),
    /// A group's place was deleted by retention before the group read it.
    #[error(
        "group {group:?} is at offset {committed} of {topic}/{partition}, which now starts at {log_start}: \
         seek the group, or tell it what to do with ConsumerGroup::below_log_start"
    )]
    BelowLogStart {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset that the group would read next.
        committed: u64,
        /// The first offset that is still kept.
        log_start: u64,
    },
    /// The login role lacks a right.
    #[error("not permitted on {what}: grant it with log.grant_topic ({source})")]
    Forbidden {
        /// The topics or the group.
        what: String,
        /// What the server said.
        #[source]
        source: sqlx::Error,
    },
    /// A record cannot be published as it is.
    #[error(transparent)]
    Record(#[from] InvalidRecord),
    /// The connection broke while the server was committing: the records may or may not be
    /// in the log. A retry may publish them twice.
    #[error("the connection broke during commit, its outcome is unknown")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// The broker was shut down.
    #[error("the broker was shut down")]
    Closed,
    /// Anything else that the database says.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The migration failed.
    #[error("migration of the log: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl Error {
    /// Reads what a statement of this crate's met.
    pub(crate) fn from_statement(what: impl Into<String>, source: sqlx::Error) -> Error {
        match code(&source).as_deref() {
            Some("42501") => Error::Forbidden { what: what.into(), source },
            Some("LG404") => Error::UnknownTopic(what.into()),
            Some("LG405" | "LG409" | "LG416" | "22007" | "22008" | "22023" | "23514") => {
                Error::Refused(message(&source))
            }
            Some("3F000" | "42P01" | "42883") => Error::NotMigrated(source),
            _ => Error::Database(source),
        }
    }

    /// Whether the server or the way to it is in trouble, so that the same call may succeed
    /// later: not the fault of what was asked.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::OutcomeUnknown(_) => true,
            Error::Database(source) => is_transient(source),
            _ => false,
        }
    }
}

/// For `map_err`, where a statement of this crate's is about `what`.
pub(crate) fn statement(what: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::from_statement(what, source)
}

/// What the server says, and what it advises.
fn message(error: &sqlx::Error) -> String {
    let Some(error) = error.as_database_error() else { return error.to_string() };
    let hint = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint);
    match hint {
        Some(hint) => format!("{} ({hint})", error.message()),
        None => error.message().to_owned(),
    }
}

fn code(error: &sqlx::Error) -> Option<std::borrow::Cow<'_, str>> {
    error.as_database_error().and_then(|error| error.code())
}

/// Lost or refused connections, a server that starts or stops, exhausted resources, and
/// conflicts between transactions.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => code(error).is_some_and(|code| {
            // Not all of class 57: a statement that ran into its time-out would run into it again.
            code.starts_with("57P")
                || matches!(code.get(..2), Some("08" | "53" | "58"))
                || matches!(&*code, "40001" | "40P01" | "55P03" | "25P03")
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Whether an append to a group's progress found the partition taken over.
pub(crate) fn is_fenced(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some("LG001")
            || (error.is_unique_violation() && error.constraint() == Some("progress_pkey"))
    })
}

/// Whether a lock was not had within `lock_timeout`.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("55P03")
}

/// Whether batches that have offsets are not there any more.
pub(crate) fn is_missing(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("LG500")
}

/// Whether another sequencer appended the tick first.
pub(crate) fn is_foreign_tick(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.is_unique_violation()
            && matches!(error.constraint(), Some("tick_pkey" | "block_pkey"))
    })
}
