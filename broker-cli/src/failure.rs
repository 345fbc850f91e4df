//! What went wrong, how it is told, and the exit code for it.

use std::process::ExitCode;

use broker::{Error, InvalidRecord};

use crate::out::PipeClosed;

/// How a command ends; `broker --help` says when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Missing = 3,
    Forbidden = 4,
    Unreachable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A command line that the parser let pass and that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The server does not even say no.
#[derive(Debug, thiserror::Error)]
#[error("the database does not answer: is that its host and port?")]
pub struct NoAnswer;

pub fn report(error: &anyhow::Error) -> ExitCode {
    let exit = exit_of(error);
    if exit != Exit::Done {
        tell(error);
    }
    exit.into()
}

/// One line of what went wrong, and where there is one, another of what to do.
pub fn tell(error: &anyhow::Error) {
    let mut lines = format!("broker: {}", chain(error));
    if let Some(hint) = cause(error).and_then(hint) {
        lines.push_str("\n  try: ");
        lines.push_str(&hint);
    }
    // Nobody may listen; there is nobody else to tell.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), (lines + "\n").as_bytes());
}

/// All of the chain, each cause once: many an error tells its cause itself.
fn chain(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    // A server's message may have lines.
    told.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cause(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref::<Error>())
}

fn hint(error: &Error) -> Option<String> {
    match error {
        Error::UnknownTopic(topic) => {
            Some(format!("broker topics list, or broker topics create {topic}"))
        }
        Error::NotMigrated(_) | Error::Restored => Some("broker migrate, as its owner".into()),
        Error::Forbidden { source, .. } => {
            let told = source.to_string();
            // What the functions say, and what the row policy on records does.
            let grantable = told.contains("may not") || told.contains("row-level security");
            Some(match grantable {
                true => "broker grant TOPIC publish|consume ROLE, as the log's owner".into(),
                false => "as the role that owns the log, or the group".into(),
            })
        }
        Error::BelowLogStart { group, topic, .. } => {
            Some(format!("broker seek {group} {topic} --to start"))
        }
        _ => None,
    }
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if error.chain().any(|cause| cause.is::<PipeClosed>()) {
        return Exit::Done;
    }
    if error.chain().any(|cause| cause.is::<Usage>()) {
        return Exit::Usage;
    }
    if error.chain().any(|cause| cause.is::<NoAnswer>()) {
        return Exit::Unreachable;
    }
    match cause(error) {
        Some(Error::Url { .. }) => Exit::Usage,
        Some(
            Error::UnknownTopic(_)
            | Error::Refused(_)
            | Error::BelowLogStart { .. }
            | Error::Record(InvalidRecord::Partition { .. }),
        ) => Exit::Missing,
        Some(Error::Forbidden { .. }) => Exit::Forbidden,
        Some(Error::NotMigrated(_) | Error::Restored) => Exit::Unreachable,
        Some(error) if error.is_transient() => Exit::Unreachable,
        Some(Error::Database(source)) => of_server(source),
        _ => Exit::Failed,
    }
}

fn of_server(error: &sqlx::Error) -> Exit {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        // A wrong password, a login that may not, a missing right.
        Some(code) if code.starts_with("28") || code == "42501" => Exit::Forbidden,
        // No such database.
        Some("3D000") => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let source = sqlx::Error::Io(std::io::Error::other("cable cut"));
        let error = anyhow::Error::new(Error::Database(source)).context("reading line 3");
        let told = chain(&error);
        assert_eq!(told.matches("cable cut").count(), 1, "{told}");
        assert!(told.starts_with("reading line 3: database:"), "{told}");
        assert_eq!(exit_of(&error), Exit::Unreachable);
    }
}
