//! What the dashboard answers.

use actix_web::http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, FormConfig, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use broker::Broker;
use chassis::Problem;
use serde::Deserialize;
use sqlx::PgPool;
use tokio::sync::watch;
use utoipa::OpenApi;

use crate::access::Access;
use crate::control::Control;
use crate::live::{self, Live, MAX_PAGES};
use crate::orders::Orders;
use crate::pages::{
    analytics, assets, break_it, dead_letters, groups, home, logs, passport, records, topics,
};
use crate::places::Places;
use crate::retention::Keep;
use crate::shell::shell;
use crate::view::Links;

const MAX_FORM_BYTES: usize = 16 * 1024;

/// What requests need.
#[derive(Clone)]
pub struct State {
    pub pool: PgPool,
    pub broker: Broker,
    pub access: Access,
    pub orders: Orders,
    /// Only in the demo.
    pub control: Option<Control>,
    pub live: Live,
    pub places: Places,
    pub links: Links,
    pub keep: Keep,
    pub stopping: watch::Receiver<bool>,
}

pub fn routes(routes: &mut ServiceConfig, state: State) {
    let forms = FormConfig::default().limit(MAX_FORM_BYTES).error_handler(|error, _| {
        Problem::bad_request(format!("the form is not valid: {error}")).into()
    });
    let mut pages = web::scope("")
        .wrap(from_fn(shell))
        .app_data(forms)
        .service(web::resource("/").get(home::show))
        .service(web::resource("/login").get(log_in))
        .service(web::resource("/live").get(live))
        .service(web::resource("/static/{name}").get(assets::show))
        .service(web::resource("/orders").get(passport::find).post(home::place))
        .service(web::resource("/orders/{order_id}").get(passport::show))
        .service(web::resource("/topics").get(topics::list))
        .service(web::resource("/topics/{topic}").get(topics::show))
        .service(web::resource("/topics/{topic}/records").get(records::show))
        .service(web::resource("/groups").get(groups::list))
        .service(web::resource("/groups/{group}").get(groups::show))
        .service(web::resource("/groups/{group}/pause").post(groups::pause))
        .service(web::resource("/groups/{group}/resume").post(groups::resume))
        .service(web::resource("/groups/{group}/seek").post(groups::seek))
        .service(web::resource("/dead-letters").get(dead_letters::list))
        .service(web::resource("/dead-letters/{topic}/{group}").get(dead_letters::show))
        .service(web::resource("/dead-letters/{topic}/{group}/redrive").post(dead_letters::redrive))
        .service(web::resource("/logs").get(logs::show))
        .service(web::resource("/analytics").get(analytics::show))
        .default_service(web::to(nothing));
    if state.control.is_some() {
        let page = web::resource("/break").get(break_it::show).post(break_it::change);
        pages = pages.service(page);
    }
    routes.app_data(Data::new(state)).service(pages);
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Waybill dashboard",
    description = "Pages for people, and /live: what happens, as server-sent events"
))]
struct Api;

pub fn api() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

async fn nothing(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Err(Problem::not_found(format!("nothing is at {}", request.path())))
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

/// Takes the token out of the address and into a cookie.
async fn log_in(state: Data<State>, query: Query<Token>) -> Result<HttpResponse, Problem> {
    let cookie = state.access.log_in(&query.token)?;
    Ok(HttpResponse::SeeOther()
        .insert_header((LOCATION, "/"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((SET_COOKIE, cookie))
        .finish())
}

async fn live(state: Data<State>) -> Result<HttpResponse, Problem> {
    let viewer = state.live.join(state.stopping.clone()).ok_or_else(|| {
        Problem::overloaded(
            format!("{MAX_PAGES} pages are live already; reload this one instead"),
            5,
        )
    })?;
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // Compressed, events would sit in the encoder's buffer.
        .insert_header(("content-encoding", "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(live::stream(viewer)))
}
