//! Waiting for a server's first answer, and its log if none comes.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

use crate::{Error, Guard};

/// How a start ended.
pub(crate) enum End {
    Ready,
    /// With its exit status.
    Exited(String),
    /// With the last answer.
    TimedOut(String),
}

const POLL: Duration = Duration::from_millis(10);
/// A stranger on the port may take the connection and say nothing.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// `data` is the folder that the server must say is its own: on the same port there may be another
/// server, and copies of one data folder have one password.
pub(crate) async fn wait_until_ready(
    guard: &mut Guard,
    url: &str,
    data: &Path,
    limit: Duration,
) -> End {
    let until = Instant::now() + limit;
    let options = match PgConnectOptions::from_str(url) {
        Ok(options) => options.disable_statement_logging(),
        Err(error) => return End::TimedOut(error.to_string()),
    };
    loop {
        let answer = tokio::time::timeout(ANSWER_LIMIT, whose(&options)).await;
        match guard.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return End::Exited(status.to_string()),
            Err(error) => return End::Exited(error.to_string()),
        }
        let last = match answer {
            Ok(Ok(folder)) if Path::new(&folder) == data => return End::Ready,
            Ok(Ok(folder)) => format!("the server on its port is that of {folder}"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer on its port".to_owned(),
        };
        if Instant::now() >= until {
            return End::TimedOut(last);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn whose(options: &PgConnectOptions) -> Result<String, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let folder = sqlx::query_scalar("show data_directory").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(folder)
}

/// What a server writes to its log from now on.
pub(crate) struct Log {
    path: PathBuf,
    from: u64,
}

impl Log {
    pub(crate) fn from_here(path: &Path) -> Result<Log, Error> {
        let from = fs::metadata(path).map_err(Error::path("read", path))?.len();
        Ok(Log { path: path.to_owned(), from })
    }

    fn text(&self) -> String {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let from = usize::try_from(self.from).unwrap_or(usize::MAX).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    pub(crate) fn says(&self, words: &str) -> bool {
        self.text().contains(words)
    }

    /// The last lines, for an error's reader.
    pub(crate) fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
