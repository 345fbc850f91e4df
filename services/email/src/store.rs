//! The rows of schema `email`: who wants what, and what is owed. What the sender does with
//! them is in [`crate::queue`].

use chassis::Trace;
use chrono::{DateTime, Utc};
use contracts::{Customer, MailKind, PromotionAnnounced};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain::{MailDomain, priority, token};
use crate::letter::Letter;

/// What one INSERT carries at most, unless a single mail is larger.
const MAX_STATEMENT_BYTES: usize = 8 * 1024 * 1024;

/// A mail that is owed.
pub struct NewMail<'a> {
    pub subject_id: Uuid,
    pub kind: MailKind,
    pub to: &'a Customer,
    pub letter: Letter,
    pub attachment: Option<Attachment<'a>>,
    pub trace: &'a Trace,
}

pub struct Attachment<'a> {
    pub name: String,
    pub bytes: &'a [u8],
}

impl NewMail<'_> {
    fn bytes(&self) -> usize {
        let attached = self.attachment.as_ref().map_or(0, |attachment| attachment.bytes.len());
        self.letter.text.len() + self.letter.html.len() + attached
    }
}

/// Queues mails; those that their customer got or is to get already are left out.
pub async fn queue(
    conn: &mut PgConnection,
    domain: &MailDomain,
    mails: &[NewMail<'_>],
) -> sqlx::Result<()> {
    let mut rest = mails;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|mail| {
            bytes += mail.bytes();
            bytes <= MAX_STATEMENT_BYTES
        });
        let (chunk, later) = rest.split_at(fitting.count().max(1));
        queue_chunk(conn, domain, chunk).await?;
        rest = later;
    }
    Ok(())
}

async fn queue_chunk(
    conn: &mut PgConnection,
    domain: &MailDomain,
    mails: &[NewMail<'_>],
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = mails.iter().map(|_| Uuid::now_v7()).collect();
    let attachments = || mails.iter().map(|mail| mail.attachment.as_ref());
    sqlx::query!(
        r#"insert into email.mail
            (id, message_id, subject_id, kind, to_name, to_address, subject, text, html,
             attachment_name, attachment, priority, trace)
           select id, message_id, subject_id, kind, to_name, to_address, subject, text, html,
                  attachment_name, attachment, priority, trace
             from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::text[], $9::text[], $10::text[], $11::bytea[], $12::smallint[], $13::text[])
               with ordinality
               as m(id, message_id, subject_id, kind, to_name, to_address, subject, text, html,
                    attachment_name, attachment, priority, trace, place)
            order by place
           on conflict on constraint mail_once do nothing"#,
        &ids,
        &ids.iter().map(|id| format!("<{id}@{domain}>")).collect::<Vec<_>>(),
        &mails.iter().map(|mail| mail.subject_id).collect::<Vec<_>>(),
        &mails.iter().map(|mail| mail.kind.as_str()).collect::<Vec<_>>() as _,
        &mails.iter().map(|mail| mail.to.name.as_str()).collect::<Vec<_>>() as _,
        &mails.iter().map(|mail| mail.to.email.as_str()).collect::<Vec<_>>() as _,
        &mails.iter().map(|mail| mail.letter.subject.as_str()).collect::<Vec<_>>() as _,
        &mails.iter().map(|mail| mail.letter.text.as_str()).collect::<Vec<_>>() as _,
        &mails.iter().map(|mail| mail.letter.html.as_str()).collect::<Vec<_>>() as _,
        &attachments().map(|one| one.map(|one| one.name.as_str())).collect::<Vec<_>>() as _,
        &attachments().map(|one| one.map(|one| one.bytes)).collect::<Vec<_>>() as _,
        &mails.iter().map(|mail| priority(mail.kind)).collect::<Vec<_>>(),
        &mails.iter().map(|mail| mail.trace.as_str()).collect::<Vec<_>>() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A customer who wants promotional mail, and since when.
pub struct Wish<'a> {
    pub customer: &'a Customer,
    pub since: DateTime<Utc>,
}

/// Records who wants promotional mail. One who unsubscribed is back if the wish is newer:
/// an old order that is read again brings nobody back.
pub async fn subscribe(conn: &mut PgConnection, wishes: &[Wish<'_>]) -> sqlx::Result<()> {
    sqlx::query!(
        r#"insert into email.recipient as r (token, name, address, subscribed_at)
           select distinct on (lower(address)) token, name, address, since
             from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as w(token, name, address, since)
            -- Always in this order, so that two such statements never wait for each other.
            order by lower(address), since desc
           on conflict (lower(address)) do update
              set name = excluded.name, address = excluded.address,
                  subscribed_at = excluded.subscribed_at, unsubscribed_at = null
            where excluded.subscribed_at > greatest(r.subscribed_at, r.unsubscribed_at)"#,
        &wishes.iter().map(|_| token()).collect::<Vec<_>>(),
        &wishes.iter().map(|wish| wish.customer.name.as_str()).collect::<Vec<_>>() as _,
        &wishes.iter().map(|wish| wish.customer.email.as_str()).collect::<Vec<_>>() as _,
        &wishes.iter().map(|wish| wish.since).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Queues a promotion for everybody who wants it. However many they are, they never pass
/// through this process.
pub async fn queue_promotion(
    conn: &mut PgConnection,
    domain: &MailDomain,
    promotion: &PromotionAnnounced,
    trace: &Trace,
) -> sqlx::Result<u64> {
    sqlx::query!(
        r#"insert into email.promotion (promotion_id, subject, paragraphs, announced_at)
           values ($1, $2, $3, $4) on conflict (promotion_id) do nothing"#,
        promotion.promotion_id,
        promotion.subject.as_str(),
        Json(&promotion.paragraphs) as _,
        promotion.announced_at,
    )
    .execute(&mut *conn)
    .await?;
    let queued = sqlx::query!(
        r#"insert into email.mail
            (id, message_id, subject_id, kind, to_name, to_address, subject, recipient_token, priority, trace)
           select id, '<' || id || '@' || $2::text || '>', $1, 'promotion', name, address, $3, token, $4, $5
             from (select gen_random_uuid() as id, name, address, token
                     from email.recipient where unsubscribed_at is null
                    order by lower(address)) as r
           on conflict on constraint mail_once do nothing"#,
        promotion.promotion_id,
        domain.to_string(),
        promotion.subject.as_str(),
        priority(MailKind::Promotion),
        trace.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(queued.rows_affected())
}

/// Whether a token is somebody's.
pub async fn knows_token(pool: &PgPool, token: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from email.recipient where token = $1) as "known!""#,
        token
    )
    .fetch_one(pool)
    .await
}

/// Unsubscribes whoever holds this token, however often it is asked; false where nobody
/// does. What is queued for them and was never tried is not sent any more.
pub async fn unsubscribe(pool: &PgPool, token: &str) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    let known = sqlx::query!(
        "update email.recipient set unsubscribed_at = coalesce(unsubscribed_at, now()) where token = $1",
        token
    )
    .execute(&mut *tx)
    .await?
    .rows_affected()
        > 0;
    // One that was tried may be under way now, and is needed to say what became of it.
    sqlx::query!(
        "delete from email.mail where recipient_token = $1 and status = 'queued' and attempts = 0",
        token
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(known)
}

/// A mail, as it is answered.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct MailStatus {
    pub mail_id: Uuid,
    /// confirmation, dispatched, delivered, cancellation, invoice or credit_note
    pub kind: String,
    pub to: String,
    pub subject: String,
    /// queued, sent or bounced
    pub status: String,
    /// How often it was tried, a try that is under way included
    pub attempts: i32,
    /// The same in every attempt
    pub message_id: String,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
    /// Why it is not sent yet, or never will be
    pub last_error: Option<String>,
}

/// An order's mails, in the order in which they were written. A handful: each kind at most
/// once. (A promotion's would be everybody's, and are not told.)
pub async fn of_order(pool: &PgPool, order_id: Uuid) -> sqlx::Result<Vec<MailStatus>> {
    sqlx::query_as!(
        MailStatus,
        r#"select id as mail_id, kind, to_address as "to", subject, status, attempts, message_id,
                  created_at, sent_at, last_error
             from email.mail where subject_id = $1 and priority = 0
            order by seq limit 100"#,
        order_id
    )
    .fetch_all(pool)
    .await
}
