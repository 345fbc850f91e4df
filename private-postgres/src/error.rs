//! What can go wrong, in words that name it and say what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why there is no server. Every message names what is wrong and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing found on the machine, nothing in the cache, and the download failed.
    #[error(
        "no Postgres {} or newer on this machine, and none could be fetched ({cause}): \
         set DATABASE_URL to a running server, or PG_BIN to a folder with `postgres` and `initdb`, \
         or install Postgres",
        crate::binaries::OLDEST
    )]
    NoBinaries {
        /// Why the download failed.
        cause: String,
    },
    /// `PG_BIN` is set, but not to a folder of programs that run.
    #[error("PG_BIN is {}, which is of no use: {cause}", path.display())]
    PgBin {
        /// The folder that was named.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The programs of a folder do not run.
    #[error("the programs in {} are of no use: {cause}", path.display())]
    UnusableBinaries {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Path {
        /// What was tried, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// We are root, Postgres refuses root, and its user cannot get to the folder.
    #[error(
        "the server would run as user `{user}`, which cannot reach {}, because {} is closed to it: \
         choose another folder, or run as a user other than root",
        path.display(), closed.display()
    )]
    Unreachable {
        /// The folder that is needed.
        path: PathBuf,
        /// The folder on the way to it that is closed.
        closed: PathBuf,
        /// The server's user.
        user: String,
    },
    /// We are root, Postgres refuses root, and there is no other user.
    #[error(
        "Postgres refuses to run as root, and there is no user `postgres` or `nobody` to run it as: \
         add one, or run as a user other than root, or set DATABASE_URL to a running server"
    )]
    NoServerUser,
    /// The folder holds something else.
    #[error("{} is not empty and not a Postgres data folder: choose another", .0.display())]
    NotADataFolder(PathBuf),
    /// The data was written by another major version.
    #[error(
        "{} was written by Postgres {found}, and the programs here are Postgres {have}: \
         set PG_BIN to those of {found}, or move the folder away to begin anew",
        path.display()
    )]
    OtherVersion {
        /// The data folder.
        path: PathBuf,
        /// Who wrote it.
        found: String,
        /// What we have.
        have: u32,
    },
    /// The data is there, its password is not.
    #[error(
        "{} is missing, and with it the password of the data folder beside it: \
         put it back, or move that folder away to begin anew",
        .0.display()
    )]
    PasswordMissing(PathBuf),
    /// Another live process runs a server on this data folder.
    #[error("another process runs a server on {}: stop it first, or choose another folder", .0.display())]
    InUse(PathBuf),
    /// A server of an earlier run still lives on the folder and does not stop.
    #[error("a server of an earlier run (process {pid}) still runs on {} and does not stop: end it by hand", path.display())]
    LeftOver {
        /// The data folder.
        path: PathBuf,
        /// The server's process.
        pid: u32,
    },
    /// The data folder could not be made.
    #[error("initdb failed for {}: {output}", path.display())]
    InitDb {
        /// The data folder.
        path: PathBuf,
        /// What it said.
        output: String,
    },
    /// The port is someone else's.
    #[error("port {port} of 127.0.0.1 is taken: stop what listens there, or choose another port")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The server ended before it answered.
    #[error("Postgres ended while starting ({status}); the end of {}:\n{tail}", log.display())]
    Exited {
        /// How it ended.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// The server runs but does not answer.
    #[error("Postgres did not answer within {limit:?} ({last}); the end of {}:\n{tail}", log.display())]
    NotReady {
        /// How long we waited.
        limit: Duration,
        /// The last answer.
        last: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// The server stopped, but not cleanly: it recovers at its next start.
    #[error("Postgres did not stop cleanly ({status}): it will recover at its next start")]
    UncleanStop {
        /// How it ended.
        status: String,
    },
    /// A helper program could not be run.
    #[error("cannot run `{program}`: {source}")]
    Run {
        /// The program.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Work on a blocking thread was cut short: a bug of ours, or the runtime is shutting down.
    #[error("interrupted: {0}")]
    Interrupted(String),
}

impl Error {
    /// For `map_err`: names the verb and the path.
    pub(crate) fn path(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Path { doing, path: path.to_owned(), source }
    }

    /// For `map_err`: names the program.
    pub(crate) fn run(program: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Run { program: program.display().to_string(), source }
    }
}

/// Runs blocking work where it disturbs no one.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Interrupted(error.to_string())),
    }
}
