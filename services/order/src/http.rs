//! What the order service answers.

use std::time::Instant;

use actix_web::http::header::{CACHE_CONTROL, HeaderMap, LOCATION};
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use broker::Broker;
use chassis::{EventTransaction, JsonProblem, Problem};
use chrono::{SubsecRound, Utc};
use contracts::{CancellationRequested, OrderAnswer};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::sync::watch;
use utoipa::OpenApi;
use uuid::Uuid;

use crate::answers::Answers;
use crate::catalogue::Catalogue;
use crate::domain::{PlaceOrder, Product};
use crate::follow::{self, Followers};
use crate::limits::Limits;
use crate::store::{self, Order};
use crate::writer::{NewOrder, Placed, Writer};

/// What requests need.
#[derive(Clone)]
pub struct State {
    pub pool: PgPool,
    pub broker: Broker,
    pub catalogue: Catalogue,
    pub followers: Followers,
    pub stopping: watch::Receiver<bool>,
    pub writer: Writer,
    pub answers: Answers,
    pub limits: Limits,
}

pub fn routes(routes: &mut ServiceConfig, state: State) {
    routes
        .app_data(Data::new(state))
        .service(web::resource("/products").get(products))
        .service(web::resource("/orders").post(place))
        .service(web::resource("/orders/{order_id}").get(find))
        .service(web::resource("/orders/{order_id}/cancel").post(cancel))
        .service(web::resource("/orders/{order_id}/events").get(events));
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Waybill order"),
    paths(products, place, find, cancel, events),
    components(schemas(PlaceOrder, Product, Order, Accepted, JsonProblem))
)]
struct Api;

pub fn api() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// What can be ordered.
#[utoipa::path(get, path = "/products", responses((status = 200, body = [Product])))]
async fn products(state: Data<State>) -> Json<Vec<Product>> {
    Json(state.catalogue.products().values().cloned().collect())
}

/// An order that was accepted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Accepted {
    order_id: Uuid,
    status: &'static str,
    placed_at: chrono::DateTime<Utc>,
    /// ISO 4217
    currency: String,
    /// Amounts in minor units
    net: i64,
    tax: i64,
    gross: i64,
}

/// Places an order. The answer comes once the order and its event are durable.
///
/// The same `Idempotency-Key` with the same body gets the same answer for a day; where the
/// first request is still under way, the second waits for it.
#[utoipa::path(
    post,
    path = "/orders",
    params(("Idempotency-Key" = String, Header, min_length = 1, max_length = 255, pattern = "^[!-~]([ -~]*[!-~])?$", description = "1 to 255 printable ASCII characters that the client makes up for this order")),
    request_body = PlaceOrder,
    responses(
        (status = 201, body = Accepted, headers(("Location" = String, description = "the order"))),
        (status = 400, description = "no valid JSON, or no Idempotency-Key", body = JsonProblem, content_type = "application/problem+json"),
        (status = 413, body = JsonProblem, content_type = "application/problem+json"),
        (status = 415, body = JsonProblem, content_type = "application/problem+json"),
        (status = 422, description = "a field is wrong, or the key was used with another body", body = JsonProblem, content_type = "application/problem+json"),
        (status = 429, description = "too fast", body = JsonProblem, content_type = "application/problem+json"),
        (status = 503, description = "overloaded: try again with the same key", body = JsonProblem, content_type = "application/problem+json"),
    )
)]
async fn place(
    request: HttpRequest,
    state: Data<State>,
    body: Json<PlaceOrder>,
) -> Result<HttpResponse, Problem> {
    let asked = Instant::now();
    if let Some(client) = request.peer_addr() {
        state.limits.admit(client.ip())?;
    }
    let key = idempotency_key(request.headers())?;
    let body = body.into_inner();
    let fingerprint = serde_json::to_vec(&body).map(|body| Sha256::digest(body).to_vec());
    let fingerprint = fingerprint.map_err(|error| Problem::bad_request(error.to_string()))?;
    let products = state.catalogue.products();
    // Microseconds are what the database keeps; all are to say the same.
    let placed_at = Utc::now().trunc_subsecs(6);
    let order = body.price(|sku| products.get(sku).cloned(), Uuid::now_v7(), placed_at)?;

    let accepted = Accepted {
        order_id: order.order_id,
        status: "placed",
        placed_at,
        currency: order.currency.clone(),
        net: order.total.net,
        tax: order.total.tax,
        gross: order.total.gross,
    };
    let answer = serde_json::to_string(&accepted).unwrap_or_default();
    let trace = chassis::http::trace_of(&request);
    let new = NewOrder { order, key, fingerprint, answer, trace };
    match state.writer.place(new).await? {
        Placed::Answer { order_id, answer, replayed } => {
            let response = HttpResponse::Created()
                .insert_header((LOCATION, format!("/orders/{order_id}")))
                .content_type("application/json")
                .body(answer);
            state.answers.tell(OrderAnswer {
                order_id,
                status: response.status().as_u16(),
                answered_at: Utc::now(),
                took_micros: u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX),
                replayed,
            });
            Ok(response)
        }
        Placed::OtherBody => Err(Problem::new(
            actix_web::http::StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used with another body: make up a new key for a new order",
        )),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Err(Problem::bad_request(
            "the header Idempotency-Key is missing: make up a value for each order, as a UUID",
        ));
    };
    // The draft standard quotes it, most clients do not: both mean the same key.
    let key = value.to_str().unwrap_or_default().trim();
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
    match key.len() {
        1..=255 if key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => {
            Ok(key.to_owned())
        }
        _ => Err(Problem::bad_request(
            "Idempotency-Key must have 1 to 255 printable ASCII characters",
        )),
    }
}

fn not_found(order_id: Uuid) -> Problem {
    Problem::not_found(format!("there is no order {order_id}"))
}

/// An order, as far as it is.
#[utoipa::path(
    get,
    path = "/orders/{order_id}",
    params(("order_id" = Uuid, Path)),
    responses(
        (status = 200, body = Order),
        (status = 404, body = JsonProblem, content_type = "application/problem+json"),
    )
)]
async fn find(state: Data<State>, order_id: Path<Uuid>) -> Result<Json<Order>, Problem> {
    store::find(&state.pool, *order_id).await?.map(Json).ok_or_else(|| not_found(*order_id))
}

/// Asks to cancel an order. Whether its parcel could be stopped is told by the order's
/// `cancellation`, and by its events.
#[utoipa::path(
    post,
    path = "/orders/{order_id}/cancel",
    params(("order_id" = Uuid, Path)),
    responses(
        (status = 200, description = "it is cancelled already", body = Order),
        (status = 202, description = "it was asked for", body = Order),
        (status = 404, body = JsonProblem, content_type = "application/problem+json"),
        (status = 409, description = "the parcel has left", body = JsonProblem, content_type = "application/problem+json"),
    )
)]
async fn cancel(
    request: HttpRequest,
    state: Data<State>,
    order_id: Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let order_id = *order_id;
    let mut tx = state.broker.begin().await?;
    if store::request_cancellation(&mut tx, order_id).await? {
        let event = CancellationRequested { order_id, requested_at: Utc::now().trunc_subsecs(6) };
        tx.publish_event(&event, &chassis::http::trace_of(&request))?;
        tx.commit().await?;
    }
    let order = store::find(&state.pool, order_id).await?.ok_or_else(|| not_found(order_id))?;
    match (order.status.as_str(), order.cancellation.as_deref()) {
        ("cancelled", _) => Ok(HttpResponse::Ok().json(order)),
        (_, Some("requested")) => Ok(HttpResponse::Accepted().json(order)),
        (status, _) => Err(Problem::new(
            actix_web::http::StatusCode::CONFLICT,
            format!("the order is {status}: its parcel cannot be stopped any more"),
        )),
    }
}

/// An order's story as server-sent events, from the start or from after `Last-Event-ID`, and
/// on as it happens.
#[utoipa::path(
    get,
    path = "/orders/{order_id}/events",
    params(
        ("order_id" = Uuid, Path),
        ("Last-Event-ID" = i32, Header, minimum = 0, description = "the id of the last event that was seen"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = JsonProblem, content_type = "application/problem+json"),
        (status = 404, body = JsonProblem, content_type = "application/problem+json"),
        (status = 503, description = "too many follow", body = JsonProblem, content_type = "application/problem+json"),
    )
)]
async fn events(
    request: HttpRequest,
    state: Data<State>,
    order_id: Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    let last = match request.headers().get("last-event-id") {
        None => 0,
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|value| value.trim().parse::<i32>().ok())
            .filter(|last| *last >= 0)
            .ok_or_else(|| {
                Problem::bad_request("Last-Event-ID must be the id of an event, as 3")
            })?,
    };
    store::find(&state.pool, *order_id).await?.ok_or_else(|| not_found(*order_id))?;
    let follower = state.followers.join(*order_id);
    let follower =
        follower.ok_or_else(|| Problem::overloaded("too many orders are followed", 5))?;
    let stream =
        follow::stream(state.pool.clone(), *order_id, last, follower, state.stopping.clone());
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // Compressed, events would sit in the encoder's buffer.
        .insert_header(("content-encoding", "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(stream))
}
