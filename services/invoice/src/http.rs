//! What invoice answers.

use actix_web::http::header::{
    self, CacheControl, CacheDirective, ContentEncoding, ETag, EntityTag, Header, IfNoneMatch,
};
use actix_web::web::{self, Data, Json, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chassis::{JsonProblem, Problem};
use chrono::NaiveDate;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use utoipa::OpenApi;
use uuid::Uuid;

use crate::domain::Kind;
use crate::store::{self, Found};

pub fn routes(routes: &mut ServiceConfig, pool: PgPool) {
    routes
        .app_data(Data::new(pool))
        .route("/invoices/{order_id}", web::get().to(invoice))
        .route("/invoices/{order_id}/pdf", web::get().to(invoice_pdf))
        .route("/invoices/{order_id}/credit-note/pdf", web::get().to(credit_note_pdf));
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Waybill invoice"),
    paths(invoice, invoice_pdf, credit_note_pdf),
    components(schemas(Documents, Document, Amounts, JsonProblem))
)]
struct Api;

pub fn api() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// An order's documents.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Documents {
    order_id: Uuid,
    invoice: Document,
    /// Only where the order was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    credit_note: Option<Document>,
}

/// An invoice or a credit note. All amounts are in minor units of the currency, a credit
/// note's negative.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Document {
    #[schema(example = "INV-2026-000001")]
    number: String,
    /// In UTC
    issued_on: NaiveDate,
    /// The number of a credit note's invoice
    #[serde(skip_serializing_if = "Option::is_none")]
    corrects: Option<String>,
    /// ISO 4217
    currency: String,
    /// sku, name, quantity, unit_price, tax_rate in basis points, net
    #[schema(value_type = Vec<Object>)]
    lines: serde_json::Value,
    /// rate in basis points, net, tax
    #[schema(value_type = Vec<Object>)]
    taxes: serde_json::Value,
    total: Amounts,
    /// Where the PDF is, on this server
    pdf: String,
    /// Whether it is there yet
    rendered: bool,
    /// Why it is not: it will be tried again
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Amounts {
    net: i64,
    tax: i64,
    /// net and tax
    gross: i64,
}

impl Document {
    fn new(found: Found, pdf: String) -> Document {
        Document {
            number: found.number,
            issued_on: found.issued_on,
            corrects: found.corrects,
            currency: found.currency,
            lines: found.lines,
            taxes: found.taxes,
            total: Amounts { net: found.net, tax: found.tax, gross: found.gross },
            pdf,
            rendered: found.rendered,
            error: found.error,
        }
    }
}

/// An order's invoice, and its credit note if it was cancelled.
#[utoipa::path(
    get,
    path = "/invoices/{order_id}",
    params(("order_id" = Uuid, Path)),
    responses(
        (status = 200, body = Documents),
        (status = 404, body = JsonProblem, content_type = "application/problem+json"),
    )
)]
async fn invoice(pool: Data<PgPool>, order_id: Path<Uuid>) -> Result<Json<Documents>, Problem> {
    let order_id = *order_id;
    let mut found = store::find(&pool, order_id).await?.into_iter();
    let invoice = found.next().ok_or_else(|| not_found(order_id, Kind::Invoice))?;
    let credit_note = found.next();
    Ok(Json(Documents {
        order_id,
        invoice: Document::new(invoice, format!("/invoices/{order_id}/pdf")),
        credit_note: credit_note
            .map(|found| Document::new(found, format!("/invoices/{order_id}/credit-note/pdf"))),
    }))
}

fn not_found(order_id: Uuid, kind: Kind) -> Problem {
    let what = match kind {
        Kind::Invoice => "invoice",
        Kind::CreditNote => "credit note",
    };
    Problem::not_found(format!("order {order_id} has no {what} (yet)"))
}

/// An order's invoice as PDF.
#[utoipa::path(
    get,
    path = "/invoices/{order_id}/pdf",
    params(
        ("order_id" = Uuid, Path),
        ("If-None-Match" = Option<String>, Header, description = "the ETag of the copy at hand"),
    ),
    responses(
        (status = 200, content_type = "application/pdf", body = Vec<u8>, headers(("ETag" = String))),
        (status = 304, description = "the copy at hand is right"),
        (status = 404, body = JsonProblem, content_type = "application/problem+json"),
        (status = 503, description = "it is being rendered", body = JsonProblem, content_type = "application/problem+json"),
    )
)]
async fn invoice_pdf(
    request: HttpRequest,
    pool: Data<PgPool>,
    order_id: Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    pdf(&request, &pool, *order_id, Kind::Invoice).await
}

/// A cancelled order's credit note as PDF.
#[utoipa::path(
    get,
    path = "/invoices/{order_id}/credit-note/pdf",
    params(
        ("order_id" = Uuid, Path),
        ("If-None-Match" = Option<String>, Header, description = "the ETag of the copy at hand"),
    ),
    responses(
        (status = 200, content_type = "application/pdf", body = Vec<u8>, headers(("ETag" = String))),
        (status = 304, description = "the copy at hand is right"),
        (status = 404, body = JsonProblem, content_type = "application/problem+json"),
        (status = 503, description = "it is being rendered", body = JsonProblem, content_type = "application/problem+json"),
    )
)]
async fn credit_note_pdf(
    request: HttpRequest,
    pool: Data<PgPool>,
    order_id: Path<Uuid>,
) -> Result<HttpResponse, Problem> {
    pdf(&request, &pool, *order_id, Kind::CreditNote).await
}

async fn pdf(
    request: &HttpRequest,
    pool: &PgPool,
    order_id: Uuid,
    kind: Kind,
) -> Result<HttpResponse, Problem> {
    let found = store::find_pdf(pool, order_id, kind).await?;
    let found = found.ok_or_else(|| not_found(order_id, kind))?;
    let Some(pdf) = found.pdf else {
        return Err(Problem::overloaded(format!("{} is not rendered yet", found.number), 1));
    };
    let tag = EntityTag::new_strong(format!("{:x}", Sha256::digest(&pdf)));
    let unchanged = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|theirs| theirs.weak_eq(&tag)),
        Err(_) => false,
    };
    let mut response = match unchanged {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    response
        .insert_header(ETag(tag))
        .insert_header(CacheControl(vec![CacheDirective::Private, CacheDirective::NoCache]));
    if unchanged {
        return Ok(response.finish());
    }
    Ok(response
        .content_type("application/pdf")
        // Compressed already, and other bytes would need another tag.
        .insert_header(ContentEncoding::Identity)
        .insert_header((
            header::CONTENT_DISPOSITION,
            format!("inline; filename=\"{}.pdf\"", found.number),
        ))
        .body(pdf))
}
