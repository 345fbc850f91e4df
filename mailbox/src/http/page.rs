//! The web page: a list, one mail, no script.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Data, Path, Query, ServiceConfig, get};
use askama::Template;

use super::api::Paging;
use super::part::{self, percent_encoded};
use super::search::Search;
use super::{Failure, blocking, with_mail};
use crate::mail::{Address, Mail};
use crate::mime::{Attachment, Content};
use crate::store::{Stats, Store};

/// Headers and attachments shown of one mail; a hostile one has a million.
const SHOWN: usize = 500;

/// Mails on one page of the list.
const PAGE: usize = 50;

const STYLE: &str = include_str!("../../templates/style.css");

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/", get().to(list))
        .route("/style.css", get().to(style))
        // These before the one below, which would take them for ids.
        .route("/view/latest", get().to(latest))
        .route("/view/{id}.html", get().to(view_html))
        .route("/view/{id}.txt", get().to(view_text))
        .route("/view/{id}", get().to(view));
}

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage {
    mails: Vec<Arc<Mail>>,
    stats: Stats,
    query: String,
    /// Of those that match, the first shown, counted from 1; 0 of none.
    first: usize,
    last: usize,
    found: usize,
    newer: Option<String>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "view.html")]
struct ViewPage {
    id: String,
    subject: String,
    received: String,
    from: String,
    to: String,
    cc: String,
    envelope_from: String,
    envelope_to: String,
    content: Content,
}

async fn list(store: Data<Store>, paging: Query<Paging>) -> Result<HttpResponse, Failure> {
    let page = blocking(move || {
        let mut mails = store.list();
        mails.reverse();
        let query = paging.query().to_owned();
        let search = Search::parse(&query);
        if !search.is_empty() {
            mails.retain(|mail| search.meets(mail));
        }
        let (found, start) = (mails.len(), paging.start().min(mails.len()));
        let mails: Vec<_> = mails.into_iter().skip(start).take(PAGE).collect();
        let last = start + mails.len();
        let link = |start: usize| format!("/?start={start}&query={}", percent_encoded(&query));
        Ok(ListPage {
            first: if mails.is_empty() { 0 } else { start + 1 },
            last,
            found,
            newer: (start > 0).then(|| link(start.saturating_sub(PAGE))),
            older: (last < found).then(|| link(last)),
            stats: store.stats(),
            mails,
            query,
        })
    });
    html_page(&page.await?)
}

/// To the newest mail that matches, or to the list where none does, as in Mailpit: a link to a
/// mail whose id here nobody knows.
async fn latest(store: Data<Store>, paging: Query<Paging>) -> Result<HttpResponse, Failure> {
    let found = blocking(move || {
        let search = Search::parse(paging.query());
        let mails = store.list();
        Ok(mails.iter().rev().find(|mail| search.meets(mail)).map(|mail| mail.id.clone()))
    });
    let address = found.await?.map_or_else(|| "/".to_owned(), |id| format!("/view/{id}"));
    Ok(HttpResponse::Found().insert_header((LOCATION, address)).finish())
}

async fn view(store: Data<Store>, id: Path<String>) -> Result<HttpResponse, Failure> {
    let page = with_mail(store, id.into_inner(), |mail| {
        let mut content = mail.content()?;
        content.headers.truncate(SHOWN);
        content.attachments.truncate(SHOWN);
        mail.read.store(true, Ordering::Relaxed);
        Ok(ViewPage {
            id: mail.id.clone(),
            subject: mail.subject.clone(),
            received: time(mail),
            from: addresses(std::slice::from_ref(&mail.from)),
            to: addresses(&mail.to),
            cc: addresses(&mail.cc),
            envelope_from: format!("<{}>", mail.envelope.from),
            envelope_to: mail.envelope.to.join(", "),
            content,
        })
    });
    html_page(&page.await?)
}

async fn view_html(store: Data<Store>, id: Path<String>) -> Result<HttpResponse, Failure> {
    let html = |mail: &Mail| mail.html()?.ok_or(Failure::NotFound);
    Ok(part::html(with_mail(store, id.into_inner(), html).await?))
}

async fn view_text(store: Data<Store>, id: Path<String>) -> Result<HttpResponse, Failure> {
    let text = |mail: &Mail| mail.text()?.ok_or(Failure::NotFound);
    Ok(part::text(with_mail(store, id.into_inner(), text).await?))
}

async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "max-age=60"))
        .content_type("text/css; charset=utf-8")
        .body(STYLE)
}

fn html_page(page: &impl Template) -> Result<HttpResponse, Failure> {
    let html = page.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        Failure::Unreadable
    })?;
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(html))
}

impl ListPage {
    /// What a row says of its mail where the subject is.
    fn subject<'a>(&self, mail: &'a Mail) -> &'a str {
        if mail.subject.trim().is_empty() { "(no subject)" } else { &mail.subject }
    }

    fn from(&self, mail: &Mail) -> String {
        match (mail.from.address.as_str(), mail.envelope.from.as_str()) {
            ("", "") => "(nobody: a bounce)".to_owned(),
            ("", sender) => sender.to_owned(),
            _ => addresses(std::slice::from_ref(&mail.from)),
        }
    }

    fn to(&self, mail: &Mail) -> String {
        mail.envelope.to.join(", ")
    }

    fn time(&self, mail: &Mail) -> String {
        time(mail)
    }

    fn machine_time(&self, mail: &Mail) -> String {
        mail.received_at.to_rfc3339()
    }
}

impl ViewPage {
    fn title(&self) -> &str {
        if self.subject.trim().is_empty() { "(no subject)" } else { &self.subject }
    }

    fn part_link(&self, attachment: &Attachment) -> String {
        format!("/api/v1/message/{}/part/{}", self.id, attachment.part_id)
    }
}

fn time(mail: &Mail) -> String {
    mail.received_at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn addresses(list: &[Address]) -> String {
    let shown = list.iter().map(|one| match (one.name.as_str(), one.address.as_str()) {
        ("", address) => address.to_owned(),
        (name, "") => name.to_owned(),
        (name, address) => format!("{name} <{address}>"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
