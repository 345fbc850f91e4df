//! Unsubscribing, by RFC 8058: one POST, from a mail program or from a page. A GET changes
//! nothing, for programs that look through mail follow every link in it.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use actix_web::web::{Data, Path};
use askama::Template;
use chassis::{JsonProblem, Problem};

use super::State;
use crate::domain::is_token;
use crate::letter::UnsubscribePage;
use crate::store;

/// The page behind the link in a promotional mail. It changes nothing.
#[utoipa::path(
    get,
    path = "/unsubscribe/{token}",
    params(("token" = String, Path, description = "from a promotional mail")),
    responses(
        (status = 200, content_type = "text/html", body = String),
        (status = 404, body = JsonProblem, content_type = "application/problem+json"),
    )
)]
pub async fn offer(state: Data<State>, token: Path<String>) -> Result<HttpResponse, Problem> {
    match is_token(&token) && store::knows_token(&state.pool, &token).await? {
        true => page(UnsubscribePage { done: false }),
        false => Err(unknown()),
    }
}

/// Unsubscribes whoever holds the token. Asked again, it is done already. The token alone
/// says who and what: the body, `List-Unsubscribe=One-Click`, need not be read.
#[utoipa::path(
    post,
    path = "/unsubscribe/{token}",
    params(("token" = String, Path, description = "from a promotional mail")),
    responses(
        (status = 200, content_type = "text/html", body = String),
        (status = 404, body = JsonProblem, content_type = "application/problem+json"),
    )
)]
pub async fn unsubscribe(state: Data<State>, token: Path<String>) -> Result<HttpResponse, Problem> {
    match is_token(&token) && store::unsubscribe(&state.pool, &token).await? {
        true => page(UnsubscribePage { done: true }),
        false => Err(unknown()),
    }
}

fn unknown() -> Problem {
    Problem::not_found("nobody has this link: is it complete?")
}

fn page(page: UnsubscribePage) -> Result<HttpResponse, Problem> {
    let html = page.render().map_err(|error| {
        tracing::error!("the page was not made: {error}");
        Problem::overloaded("the page cannot be made now", 1)
    })?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-store"))
        // The address of the page is a secret of its reader's.
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ))
        .body(html))
}
