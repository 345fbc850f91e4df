//! HTTP errors as RFC 9457 problem details.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

/// An error answer: `application/problem+json` with the status, what is wrong, and for a
/// body that was refused the field.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    pointer: Option<String>,
    retry_after: Option<u32>,
}

/// The body of a [`Problem`], for API descriptions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct JsonProblem {
    /// Always `about:blank`: the status says what kind it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong and what to do.
    detail: String,
    /// Where in the body, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
}

impl Problem {
    /// An error with this status; `detail` says what is wrong and what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), pointer: None, retry_after: None }
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 422 for the field at this JSON pointer, as `/lines/0/quantity`.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Problem {
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        problem.pointer = Some(pointer.into());
        problem
    }

    /// 503: full or cut off, come again in so many seconds.
    pub fn overloaded(detail: impl Into<String>, retry_after: u32) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(retry_after)
    }

    /// Sets `Retry-After`, in seconds.
    pub fn retry_after(mut self, seconds: u32) -> Problem {
        self.retry_after = Some(seconds);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.pointer {
            Some(pointer) => write!(f, "{pointer}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        let mut response = response.json(JsonProblem {
            kind: "about:blank",
            title: title(self.status),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            pointer: self.pointer.clone(),
        });
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// The status' phrase as RFC 9110 has it, which renamed two.
fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
        StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
        status => status.canonical_reason().unwrap_or("Error"),
    }
}

/// What the database says is logged, not told: 503 where it is in trouble, else 500.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Problem {
        broker::Error::from(error).into()
    }
}

impl From<broker::Error> for Problem {
    fn from(error: broker::Error) -> Problem {
        if error.is_transient() {
            tracing::warn!("database in trouble: {error}");
            return Problem::overloaded("the database cannot be reached now; try again", 1);
        }
        tracing::error!("request failed: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed; its log says why")
    }
}
