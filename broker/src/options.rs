//! Settings, and the URL with what can be wrong with it.

use sqlx::postgres::PgConnectOptions;

use crate::{Broker, Error};

/// Settings of a connection to the log.
#[derive(Clone)]
pub struct Options {
    url: String,
    application_name: String,
    pub(crate) max_connections: u32,
}

impl Options {
    /// For a URL of the form `postgres://user:password@host:port/database`.
    pub fn new(url: impl Into<String>) -> Self {
        Options { url: url.into(), application_name: "broker".into(), max_connections: 8 }
    }

    /// What `pg_stat_activity` shows this process as. Default: `broker`.
    pub fn application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// The most connections for transactions and publishing; listening, sequencing and each
    /// consumer group need one more each. Default: 8.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Connects, and starts this process's part of the log.
    ///
    /// # Errors
    /// [`Error::Url`] for a URL that cannot be read, [`Error::NotMigrated`] where the
    /// database has no log, [`Error::Restored`] where it has another cluster's,
    /// [`Error::Database`] where it cannot be reached.
    pub async fn connect(self) -> Result<Broker, Error> {
        Broker::start(self).await
    }

    /// What a connection of the broker's is opened with.
    pub(crate) fn connect_options(&self) -> Result<PgConnectOptions, Error> {
        Ok(connect_options(&self.url)?.application_name(&self.application_name))
    }
}

// By hand, or it would show the password.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("url", &without_password(&self.url)).finish_non_exhaustive()
    }
}

/// Reads the URL and names what is wrong with it, without its password.
fn connect_options(url: &str) -> Result<PgConnectOptions, Error> {
    let wrong = |reason: String| Error::Url { url: without_password(url), reason };
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => {}
        Some((scheme, _)) => return Err(wrong(format!("no engine for {scheme:?}"))),
        None => return Err(wrong("it has no scheme".into())),
    }
    let options: PgConnectOptions =
        url.parse().map_err(|error: sqlx::Error| wrong(error.to_string()))?;
    // A session that hangs in a transaction would hold back vacuum, and so everybody.
    Ok(options.options([
        ("idle_in_transaction_session_timeout", "60s"),
        // The log's statements count on seeing what was committed before them.
        ("default_transaction_isolation", "read committed"),
        // They are short. Where the planner thinks otherwise, of functions that it cannot look
        // into, compiling takes longer than they do.
        ("jit", "off"),
    ]))
}

fn without_password(url: &str) -> String {
    // A parameter may be the password, too.
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.rsplit_once('@') {
        Some((login, host)) => match login.split_once("://") {
            Some((scheme, login)) => {
                let user = login.split(':').next().unwrap_or_default();
                format!("{scheme}://{user}@{host}")
            }
            None => format!("…@{host}"),
        },
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_url_is_named_without_its_password() {
        for (url, told) in [
            ("kafka://localhost", "no engine for \"kafka\""),
            ("localhost", "no scheme"),
            ("postgres://me:secret@host:port/db", "port"),
            ("postgres://me@host:port/db?password=secret", "port"),
        ] {
            let text = connect_options(url).unwrap_err().to_string();
            assert!(text.contains(told), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let options = Options::new("postgres://me:secret@host/db");
        assert!(!format!("{options:?}").contains("secret"));
    }
}
