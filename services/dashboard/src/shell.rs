//! What every answer is wrapped in: the headers that OWASP asks for, and errors as pages for
//! whoever reads pages.

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use askama::Template;
use chassis::Problem;

use crate::http::State;

const MAX_QUERY_BYTES: usize = 4096;

const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Not no-referrer: with that, browsers send forms with `Origin: null`.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    status: u16,
    title: &'a str,
    detail: String,
}

pub async fn shell(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let reads_pages = reads_pages(request.headers());
    let mut response = match refusal(&request) {
        Some(problem) => request.error_response(problem).map_into_right_body(),
        None => next.call(request).await?.map_into_left_body(),
    };
    let page = match response.response().error().and_then(|error| error.as_error::<Problem>()) {
        Some(problem) if reads_pages => as_page(problem),
        _ => None,
    };
    if let Some(mut page) = page {
        if let Some(after) = response.headers().get(header::RETRY_AFTER) {
            page.headers_mut().insert(header::RETRY_AFTER, after.clone());
        }
        let (request, _) = response.into_parts();
        response = ServiceResponse::new(request, page).map_into_right_body();
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

fn refusal(request: &ServiceRequest) -> Option<Problem> {
    let state = request.app_data::<Data<State>>()?;
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if !state.access.is_own_host(host.unwrap_or_default()) {
        return Some(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this dashboard answers at an IP address, at localhost and at the host of DASHBOARD_URL",
        ));
    }
    (request.query_string().len() > MAX_QUERY_BYTES).then(|| {
        let detail = format!("the query has more than {MAX_QUERY_BYTES} bytes: make it shorter");
        Problem::new(StatusCode::URI_TOO_LONG, detail)
    })
}

fn reads_pages(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn as_page(problem: &Problem) -> Option<HttpResponse> {
    let status = problem.status();
    let title = status.canonical_reason().unwrap_or("Error");
    let page = ProblemPage { status: status.as_u16(), title, detail: problem.to_string() };
    Some(
        HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .body(page.render().ok()?),
    )
}
