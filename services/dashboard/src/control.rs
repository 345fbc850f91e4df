//! The demo's supervisor, by its address: what runs, and changes to it. The dashboard knows
//! nothing of processes; a system that was started otherwise has no supervisor.

use std::time::Duration;

use actix_web::http::StatusCode;
use anyhow::bail;
use chassis::Problem;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::orders::body;

const PATIENCE: Duration = Duration::from_secs(5);

/// Where the supervisor tells its [`Status`].
pub const STATUS_PATH: &str = "/status";
/// Where it takes a [`Change`].
pub const CHANGES_PATH: &str = "/changes";
/// What one [`Change::Burst`] places at most.
pub const MAX_BURST: u64 = 1000;

/// All that can be broken, as it is now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub services: Vec<ServiceStatus>,
    pub mail_server: MailServer,
    pub burst: Option<Burst>,
    pub count: Option<Count>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    /// Its consumer group.
    pub group: String,
    /// How many are to run, where it is not stopped.
    pub instances: u32,
    pub max_instances: u32,
    pub can_stop: bool,
    pub processes: Vec<ProcessStatus>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessStatus {
    pub name: String,
    pub state: State,
    pub pid: Option<u32>,
    /// How often it died and was started again.
    pub deaths: u32,
    /// How it died last.
    pub last_end: Option<String>,
    pub can_signal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// On its way up, or waiting to be started again after a death.
    Starting,
    Running,
    /// By SIGSTOP.
    Paused,
    /// Finishing what it has in hand.
    Stopping,
    Stopped,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MailServer {
    pub takes_mail: bool,
    pub kept: u64,
    /// Mails that wait to be sent; `None` while the database does not say.
    pub queued: Option<i64>,
}

/// Many orders at once: the one under way, or the last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Burst {
    pub orders: u64,
    pub placed: u64,
    pub end: Option<BurstEnd>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BurstEnd {
    Seconds(f64),
    BrokeOff(String),
}

/// A recount of everything: the one under way, or the last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Count {
    pub since: DateTime<Utc>,
    pub end: Option<CountEnd>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountEnd {
    Counted(Report),
    BrokeOff(String),
}

/// What `waybill verify` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// How much was counted, as `12 orders`.
    pub counts: Vec<String>,
    /// What is not true; nothing where all is there.
    pub findings: Vec<Finding>,
    pub dead_letters: Told,
}

/// Something that should be true, and what speaks against it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    pub promise: String,
    pub wrong: Told,
}

/// The first of many sentences.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Told {
    pub first: Vec<String>,
    pub more: u64,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Change {
    Start {
        service: String,
    },
    Stop {
        service: String,
    },
    Scale {
        service: String,
        instances: u32,
    },
    /// SIGKILL.
    Kill {
        process: String,
    },
    /// SIGSTOP.
    Pause {
        process: String,
    },
    /// SIGCONT.
    Resume {
        process: String,
    },
    MailServer {
        takes_mail: bool,
    },
    /// A record in topic `order` that no consumer understands.
    Poison,
    /// So many orders at once.
    Burst {
        orders: u64,
    },
    Count,
}

#[derive(Clone)]
pub struct Control {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Control {
    /// `None` where there is no supervisor.
    ///
    /// # Errors
    /// Where only one of the two is there.
    pub fn new(url: Option<&Url>, token: Option<&str>) -> anyhow::Result<Option<Control>> {
        let (url, token) = match (url, token) {
            (Some(url), Some(token)) => (url, token),
            (None, None) => return Ok(None),
            _ => bail!("DEMO_CONTROL_URL and DEMO_CONTROL_TOKEN go together: set both or neither"),
        };
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Some(Control { http, base, token: token.to_owned() }))
    }

    /// # Errors
    /// 503 where the supervisor does not answer.
    pub async fn status(&self) -> Result<Status, Problem> {
        let answer = self.ask(self.http.get(format!("{}{STATUS_PATH}", self.base))).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            Problem::new(
                StatusCode::BAD_GATEWAY,
                format!("the supervisor said what nobody understands: {error}"),
            )
        })
    }

    /// # Errors
    /// What the supervisor says against it; 503 where it does not answer.
    pub async fn change(&self, change: &Change) -> Result<(), Problem> {
        let request = self.http.post(format!("{}{CHANGES_PATH}", self.base));
        self.ask(request.json(change)).await.map(drop)
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, Problem> {
        let answer = request.bearer_auth(&self.token).send().await.map_err(|error| {
            tracing::warn!("the supervisor cannot be reached: {error}");
            Problem::overloaded("the supervisor does not answer: is `waybill up` in trouble?", 2)
        })?;
        let status = StatusCode::from_u16(answer.status().as_u16());
        let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
        let body = body(answer).await.ok_or_else(|| {
            Problem::new(StatusCode::BAD_GATEWAY, "the supervisor's answer broke off")
        })?;
        if status.is_success() {
            return Ok(body);
        }
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = told["detail"].as_str().unwrap_or("it does not say why");
        Err(Problem::new(status, format!("the supervisor says: {detail}")))
    }
}
