//! What can be set from outside.

use std::net::SocketAddr;

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

    /// The log, where it is not in the service's database.
    #[arg(long, env = "BROKER_URL", hide_env_values = true)]
    pub broker_url: Option<String>,

    /// Where to listen for HTTP; port 0 picks a free one. Each service has its own default.
    #[arg(long, env = "HTTP_ADDR")]
    pub http_addr: Option<SocketAddr>,
}

impl Settings {
    /// The log's URL.
    pub fn broker_url(&self) -> &str {
        self.broker_url.as_deref().unwrap_or(&self.database_url)
    }
}
