//! What can go wrong at the crate's face.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why a mailbox did not start. Each names the thing to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken, or not this machine's.
    #[error("cannot listen for {what} on {addr}: {source}")]
    Bind {
        /// `SMTP` or `HTTP`.
        what: &'static str,
        /// The address asked for.
        addr: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder cannot be made, read or written.
    #[error("cannot keep mails in {folder}: {source}")]
    Folder {
        /// The folder asked for.
        folder: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another mailbox holds the folder.
    #[error("cannot keep mails in {folder}: another mailbox is using it")]
    FolderInUse {
        /// The folder asked for.
        folder: PathBuf,
    },
    /// The name for the greeting could end a line of the protocol.
    #[error("{name:?} is not a host name")]
    Name {
        /// The name asked for.
        name: String,
    },
    /// The server's thread could not be started, or ended at once.
    #[error("cannot start the mailbox's thread: {0}")]
    Thread(io::Error),
}

/// A wait that ended without what it waited for.
#[derive(Debug, thiserror::Error)]
#[error("not seen within {timeout:?}; {kept} mails are kept")]
pub struct WaitError {
    /// The time that was given.
    pub timeout: Duration,
    /// Mails kept when it was up.
    pub kept: usize,
}
