//! The first page: place an order, and watch.

use actix_web::web::{Data, Form};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use broker::PartitionInfo;
use chassis::Problem;
use serde::Deserialize;
use uuid::Uuid;

use crate::http::State;
use crate::orders::{NewOrder, Product};
use crate::pages::groups::{Group, grouped};
use crate::store;
use crate::view::{self, Layout, refused};

/// Whose lanes the first page shows.
const TOPICS: [&str; 4] = ["order", "shipment", "invoice", "mail"];

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    layout: Layout,
    products: Option<Vec<Product>>,
    /// A form that is sent twice is one order.
    key: Uuid,
    lanes: Vec<(&'static str, Vec<PartitionInfo>)>,
    groups: Vec<Group>,
    orders: Vec<Order>,
    mailbox: String,
}

struct Order {
    id: Uuid,
    at: String,
    amount: String,
}

pub async fn show(state: Data<State>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let layout = Layout::new("home", &state, &request);
    let products = match layout.form_token {
        Some(_) => state.orders.products().await,
        None => None,
    };
    let mut lanes = Vec::new();
    for topic in TOPICS {
        lanes.push((topic, state.broker.partitions(topic).await.map_err(refused)?));
    }
    let orders = store::newest_orders(&state.pool).await?;
    let orders = orders.into_iter().map(|(id, at, currency, gross)| Order {
        id,
        at: view::time(at),
        amount: view::money(&currency.unwrap_or_default(), gross.unwrap_or(0)),
    });
    view::page(&HomePage {
        layout,
        products,
        key: Uuid::new_v4(),
        lanes,
        groups: grouped(&state.places.now().await.map_err(refused)?),
        orders: orders.collect(),
        mailbox: state.links.mailbox(),
    })
}

#[derive(Deserialize)]
pub struct Place {
    #[serde(default)]
    form_token: String,
    key: Uuid,
    #[serde(flatten)]
    order: NewOrder,
}

/// Places an order with the order service and leads to its passport.
pub async fn place(
    state: Data<State>,
    request: HttpRequest,
    form: Form<Place>,
) -> Result<HttpResponse, Problem> {
    state.access.admit(&request, &form.form_token)?;
    let placed = state.orders.place(&form.order, &form.key.to_string()).await?;
    let micros = i64::try_from(placed.took.as_micros()).unwrap_or(i64::MAX);
    store::keep_answer(&state.pool, placed.order_id, 201, micros).await?;
    Ok(view::see_other(format!("/orders/{}", placed.order_id)))
}
