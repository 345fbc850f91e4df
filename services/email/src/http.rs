//! What the email service answers.

mod promotions;
mod unsubscribe;

use actix_web::web::{self, Data, Json, Query, ServiceConfig};
use broker::Broker;
use chassis::{JsonProblem, Problem};
use serde::Deserialize;
use sqlx::PgPool;
use utoipa::OpenApi;
use uuid::Uuid;

use crate::store::{self, MailStatus};
use promotions::{Announce, Announced};

/// What requests need.
#[derive(Clone)]
pub struct State {
    pub pool: PgPool,
    pub broker: Broker,
}

pub fn routes(routes: &mut ServiceConfig, state: State) {
    routes
        .app_data(Data::new(state))
        .service(web::resource("/mails").get(mails))
        .service(web::resource("/promotions").post(promotions::announce))
        .service(
            web::resource("/unsubscribe/{token}")
                .get(unsubscribe::offer)
                .post(unsubscribe::unsubscribe),
        );
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Waybill email"),
    paths(mails, promotions::announce, unsubscribe::offer, unsubscribe::unsubscribe),
    components(schemas(MailStatus, Announce, Announced, JsonProblem))
)]
struct Api;

pub fn api() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct OfOrder {
    order_id: Uuid,
}

/// An order's mails, and how far each is. Empty for an order that is not known (yet).
#[utoipa::path(
    get,
    path = "/mails",
    params(OfOrder),
    responses(
        (status = 200, body = [MailStatus]),
        (status = 400, description = "no order_id, or none that is a UUID", body = JsonProblem, content_type = "application/problem+json"),
    )
)]
async fn mails(
    state: Data<State>,
    query: Query<OfOrder>,
) -> Result<Json<Vec<MailStatus>>, Problem> {
    Ok(Json(store::of_order(&state.pool, query.order_id).await?))
}
