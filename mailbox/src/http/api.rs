//! Mailpit's API: <https://mailpit.axllent.org/docs/api-v1/>.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Path, Query, ServiceConfig, delete, get, scope};
use serde::{Deserialize, Serialize};

use super::search::Search;
use super::shape::{self, Message, MessageSummary, Messages};
use super::{Failure, blocking, part, with_mail};
use crate::mail::Mail;
use crate::store::Store;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            scope("/api/v1")
                .route("/info", get().to(info))
                .route("/messages", get().to(messages))
                .route("/messages", delete().to(delete_messages))
                .route("/search", get().to(search))
                .route("/search", delete().to(delete_search))
                .route("/message/{id}", get().to(message))
                .route("/message/{id}/raw", get().to(raw))
                .route("/message/{id}/headers", get().to(headers))
                .route("/message/{id}/part/{part}", get().to(attachment)),
        )
        .route("/livez", get().to(HttpResponse::Ok))
        .route("/readyz", get().to(HttpResponse::Ok));
}

/// Numbers that cannot be read are left at their defaults, as in Mailpit.
#[derive(Deserialize)]
pub(super) struct Paging {
    start: Option<String>,
    limit: Option<String>,
    query: Option<String>,
}

impl Paging {
    pub(super) fn start(&self) -> usize {
        self.start.as_deref().and_then(|start| start.parse().ok()).unwrap_or(0)
    }

    fn limit(&self) -> usize {
        self.limit.as_deref().and_then(|limit| limit.parse().ok()).unwrap_or(50)
    }

    pub(super) fn query(&self) -> &str {
        self.query.as_deref().unwrap_or_default().trim()
    }

    fn search(&self) -> Result<Search, Failure> {
        let search = Search::parse(self.query());
        if search.is_empty() {
            Err(Failure::BadRequest("Error: no search query"))
        } else {
            Ok(search)
        }
    }
}

async fn messages(store: Data<Store>, paging: Query<Paging>) -> HttpResponse {
    let mails = store.list();
    HttpResponse::Ok().json(page_of(&mails, &mails, &paging))
}

async fn search(store: Data<Store>, paging: Query<Paging>) -> Result<HttpResponse, Failure> {
    let search = paging.search()?;
    let found = blocking(move || {
        let mails = store.list();
        let found: Vec<_> = mails.iter().filter(|mail| search.meets(mail)).cloned().collect();
        Ok(page_of(&mails, &found, &paging))
    });
    Ok(HttpResponse::Ok().json(found.await?))
}

fn page_of(all: &[Arc<Mail>], found: &[Arc<Mail>], paging: &Paging) -> Messages {
    let unread = |mails: &[Arc<Mail>]| mails.iter().filter(|mail| !mail.is_read()).count();
    let newest_first = found.iter().rev().skip(paging.start()).take(paging.limit());
    let messages: Vec<_> = newest_first.map(|mail| MessageSummary::new(mail)).collect();
    Messages {
        total: all.len(),
        unread: unread(all),
        count: messages.len(),
        messages_count: found.len(),
        messages_unread: unread(found),
        start: paging.start(),
        tags: [],
        messages,
    }
}

async fn message(store: Data<Store>, id: Path<String>) -> Result<HttpResponse, Failure> {
    let message = with_mail(store, id.into_inner(), |mail| {
        let message = Message::new(mail, mail.content()?);
        mail.read.store(true, Ordering::Relaxed);
        Ok(message)
    });
    Ok(HttpResponse::Ok().json(message.await?))
}

async fn raw(store: Data<Store>, id: Path<String>) -> Result<HttpResponse, Failure> {
    let raw = with_mail(store, id.into_inner(), |mail| Ok(mail.raw()?.into_owned()));
    Ok(part::text(raw.await?))
}

async fn headers(store: Data<Store>, id: Path<String>) -> Result<HttpResponse, Failure> {
    let headers = with_mail(store, id.into_inner(), |mail| Ok(shape::headers(mail.content()?)));
    Ok(HttpResponse::Ok().json(headers.await?))
}

async fn attachment(
    store: Data<Store>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Failure> {
    let (id, part_id) = path.into_inner();
    let attachment = with_mail(store, id, move |mail| {
        let mut attachments = mail.attachments()?.into_iter();
        attachments.find(|attachment| attachment.part_id == part_id).ok_or(Failure::NotFound)
    });
    Ok(part::attachment(attachment.await?))
}

#[derive(Deserialize)]
struct Chosen {
    #[serde(rename = "IDs", default)]
    ids: HashSet<String>,
}

/// Deletes the ids in the body; without a body, or with none in it, all.
async fn delete_messages(store: Data<Store>, body: Bytes) -> Result<HttpResponse, Failure> {
    // Mailpit deletes everything for a body that it cannot read. Not here.
    let ids = match body.is_empty() {
        true => HashSet::new(),
        false => match serde_json::from_slice(&body) {
            Ok(Chosen { ids }) => ids,
            Err(_) => return Err(Failure::BadRequest("Error: the body is not {\"IDs\": [...]}")),
        },
    };
    delete_mails(store, move |mail| ids.is_empty() || ids.contains(&mail.id)).await
}

async fn delete_search(store: Data<Store>, paging: Query<Paging>) -> Result<HttpResponse, Failure> {
    let search = paging.search()?;
    // The text of mails may be on disk, which is not read under a lock.
    let chosen = move |store: &Store| -> HashSet<String> {
        let met = store.list().into_iter().filter(|mail| search.meets(mail));
        met.map(|mail| mail.id.clone()).collect()
    };
    let listed = store.clone();
    let ids = blocking(move || Ok(chosen(&listed))).await?;
    delete_mails(store, move |mail| ids.contains(&mail.id)).await
}

async fn delete_mails(
    store: Data<Store>,
    choose: impl Fn(&Mail) -> bool + Send + 'static,
) -> Result<HttpResponse, Failure> {
    blocking(move || {
        store.delete(choose);
        Ok(HttpResponse::Ok)
    })
    .await
    .map(|ok| ok().content_type("text/plain; charset=utf-8").body("ok"))
}

/// What of Mailpit's answer there is here, and the count of dropped mails.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    version: &'static str,
    messages: usize,
    unread: usize,
    dropped: u64,
    runtime_stats: RuntimeStats,
}

#[derive(Serialize)]
struct RuntimeStats {
    #[serde(rename = "SMTPAccepted")]
    smtp_accepted: u64,
}

async fn info(store: Data<Store>) -> HttpResponse {
    let stats = store.stats();
    HttpResponse::Ok().json(Info {
        version: concat!("mailbox ", env!("CARGO_PKG_VERSION")),
        messages: stats.kept,
        unread: store.list().iter().filter(|mail| !mail.is_read()).count(),
        dropped: stats.dropped,
        runtime_stats: RuntimeStats { smtp_accepted: stats.accepted },
    })
}
