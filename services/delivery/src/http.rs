//! What delivery answers.

use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use chassis::{JsonProblem, Problem};
use sqlx::PgPool;
use utoipa::OpenApi;
use uuid::Uuid;

use crate::store::{self, Shipment};

pub fn routes(routes: &mut ServiceConfig, pool: PgPool) {
    routes.app_data(Data::new(pool)).route("/shipments/{order_id}", web::get().to(shipment));
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Waybill delivery"),
    paths(shipment),
    components(schemas(Shipment, JsonProblem))
)]
struct Api;

pub fn api() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// An order's shipment.
#[utoipa::path(
    get,
    path = "/shipments/{order_id}",
    params(("order_id" = Uuid, Path)),
    responses(
        (status = 200, body = Shipment),
        (status = 404, body = JsonProblem, content_type = "application/problem+json"),
    )
)]
async fn shipment(pool: Data<PgPool>, order_id: Path<Uuid>) -> Result<Json<Shipment>, Problem> {
    let found = store::find(&pool, *order_id).await?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("order {order_id} has no shipment (yet)")))
}
