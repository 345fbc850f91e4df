//! What can be set from outside.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use url::Url;

use crate::Descriptor;

/// Settings that every service has, from the environment or the command line.
#[derive(Debug, Clone, clap::Args)]
// A service's own settings have the same name, and so would their groups.
#[group(skip)]
pub struct Settings {
    /// The service's database, with its own login role.
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        default_value = "postgres://postgres@127.0.0.1:5432/waybill"
    )]
    pub database_url: String,

    /// A file with the password of DATABASE_URL's role, which then stands in no URL.
    #[arg(long, env = "DATABASE_PASSWORD_FILE")]
    pub database_password_file: Option<PathBuf>,

    /// The log, where it is not in the service's database.
    #[arg(long, env = "BROKER_URL", hide_env_values = true)]
    pub broker_url: Option<String>,

    /// Where to listen for HTTP; port 0 picks a free one. Each service has its own default.
    #[arg(long, env = "HTTP_ADDR")]
    pub http_addr: Option<SocketAddr>,
}

impl Settings {
    /// The database's URL, password included.
    ///
    /// # Errors
    /// As [`with_password_of`].
    pub fn database_url(&self) -> anyhow::Result<String> {
        with_password_of(&self.database_url, self.database_password_file.as_deref())
    }

    /// Where to listen for HTTP.
    pub(crate) fn http_addr(&self, descriptor: &Descriptor) -> SocketAddr {
        self.http_addr.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, descriptor.port)))
    }

    /// The log's URL, password included.
    ///
    /// # Errors
    /// As [`with_password_of`].
    pub fn broker_url(&self) -> anyhow::Result<String> {
        self.broker_url.clone().map_or_else(|| self.database_url(), Ok)
    }
}

/// A database's URL with the password that stands in a file, where there is one.
///
/// # Errors
/// Naming the file that cannot be read, or the URL that takes no password.
pub fn with_password_of(url: &str, file: Option<&Path>) -> anyhow::Result<String> {
    let Some(file) = file else { return Ok(url.to_owned()) };
    let password = read_password(file)?;
    let mut url: Url =
        url.parse().context("DATABASE_URL is no URL like postgres://user@host:5432/database")?;
    // It takes what looks quoted as quoted.
    let password = password.replace('%', "%25");
    url.set_password(Some(&password)).map_err(|()| anyhow::anyhow!("DATABASE_URL has no host"))?;
    Ok(url.into())
}

/// A password from a file of its own, without the line's end that editors add.
///
/// # Errors
/// Naming a file that cannot be read or is empty.
pub fn read_password(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("the password file {} cannot be read", file.display()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!password.is_empty(), "the password file {} is empty", file.display());
    Ok(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_from_a_file_is_quoted_and_a_missing_file_named() {
        let file = std::env::temp_dir().join(format!("password-{}", std::process::id()));
        fs::write(&file, "a/b@c:d%\n").unwrap();
        let url = with_password_of("postgres://waybill_order@db:5432/waybill", Some(&file));
        fs::remove_file(&file).unwrap();
        let quoted = "postgres://waybill_order:a%2Fb%40c%3Ad%25@db:5432/waybill";
        assert_eq!(url.unwrap(), quoted);
        let error = with_password_of("postgres://db/waybill", Some(&file)).unwrap_err();
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }
}
