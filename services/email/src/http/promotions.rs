//! Announces a promotion. The service itself takes it off the topic again, as anybody else
//! may: the answer does not wait for a million mails to be written.

use actix_web::web::{Data, Json};
use actix_web::{HttpRequest, HttpResponse};
use chassis::{EventTransaction, JsonProblem, Problem};
use chrono::{SubsecRound, Utc};
use contracts::{PromotionAnnounced, Text};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{Array, ArrayBuilder};
use uuid::Uuid;

use super::State;

const MAX_PARAGRAPHS: usize = 20;

/// A promotion, as it is sent.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"subject": "Spring tea is here", "paragraphs": ["It was picked last week."]}))]
pub struct Announce {
    #[schema(schema_with = chassis::schema::text)]
    subject: String,
    #[schema(schema_with = paragraphs)]
    paragraphs: Vec<String>,
}

/// A promotion that was accepted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Announced {
    promotion_id: Uuid,
}

fn paragraphs() -> Array {
    let paragraphs = ArrayBuilder::new().items(chassis::schema::text());
    paragraphs.min_items(Some(1)).max_items(Some(MAX_PARAGRAPHS)).build()
}

impl Announce {
    fn check(self) -> Result<(Text, Vec<Text>), Problem> {
        let subject = self.subject.try_into().map_err(|error| told("/subject", error))?;
        if !(1..=MAX_PARAGRAPHS).contains(&self.paragraphs.len()) {
            let detail = format!("must have 1 to {MAX_PARAGRAPHS} paragraphs");
            return Err(Problem::field("/paragraphs", detail));
        }
        let text = |(i, text): (usize, String)| {
            text.try_into().map_err(|error| told(&format!("/paragraphs/{i}"), error))
        };
        let paragraphs = self.paragraphs.into_iter().enumerate().map(text);
        Ok((subject, paragraphs.collect::<Result<_, _>>()?))
    }
}

fn told(pointer: &str, error: contracts::InvalidText) -> Problem {
    Problem::field(pointer, error.to_string())
}

/// Announces a promotion to everybody who wants such mail.
#[utoipa::path(
    post,
    path = "/promotions",
    request_body = Announce,
    responses(
        (status = 202, description = "it is announced, and will be mailed", body = Announced),
        (status = 400, description = "no valid JSON", body = JsonProblem, content_type = "application/problem+json"),
        (status = 413, body = JsonProblem, content_type = "application/problem+json"),
        (status = 415, body = JsonProblem, content_type = "application/problem+json"),
        (status = 422, description = "a field is wrong, missing or unknown", body = JsonProblem, content_type = "application/problem+json"),
        (status = 503, body = JsonProblem, content_type = "application/problem+json"),
    )
)]
pub async fn announce(
    request: HttpRequest,
    state: Data<State>,
    body: Json<Announce>,
) -> Result<HttpResponse, Problem> {
    let (subject, paragraphs) = body.into_inner().check()?;
    let promotion_id = Uuid::now_v7();
    let announced_at = Utc::now().trunc_subsecs(6);
    let event = PromotionAnnounced { promotion_id, announced_at, subject, paragraphs };
    let mut tx = state.broker.begin().await?;
    tx.publish_event(&event, &chassis::http::trace_of(&request))?;
    tx.commit().await?;
    Ok(HttpResponse::Accepted().json(Announced { promotion_id }))
}
