//! The mail table as the sender's queue.
//!
//! A mail is taken by a short transaction that puts its next attempt off by a lease and is
//! committed before the first word of SMTP: no transaction is open while a server is talked
//! to, and a sender that dies gives its mail back by doing nothing. What becomes of it is
//! marked afterwards; until then the lease is renewed. Between a server's 250 and that mark a crash can come, and then the
//! mail is sent again, under the same Message-ID: at least once, never less.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::{Email, MailKind, Text};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::domain;

/// How long a mail stays with a sender that is not heard of.
const LEASE: Duration = Duration::from_secs(20);
/// A lost renewal or two leave the lease in place.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// A mail in hand.
#[derive(Debug)]
pub struct Mail {
    pub id: Uuid,
    pub message_id: String,
    pub subject_id: Uuid,
    pub kind: MailKind,
    pub to_name: String,
    pub to: Email,
    pub subject: String,
    pub body: Body,
    /// This attempt included.
    pub attempts: i32,
    pub created_at: DateTime<Utc>,
    pub trace: String,
}

#[derive(Debug)]
pub enum Body {
    Written { text: String, html: String, attachment: Option<(String, Vec<u8>)> },
    Promotion { paragraphs: Vec<Text>, token: String },
}

/// Takes the mail that is next: important before promotional, then first in, first out. No
/// other sender has it until the lease ends.
pub async fn take(pool: &PgPool) -> sqlx::Result<Option<Mail>> {
    let row = sqlx::query!(
        r#"with next as (
               select id from email.mail
                where status = 'queued' and next_attempt_at <= now()
                order by priority, next_attempt_at, seq
                limit 1 for update skip locked)
           update email.mail m
              set attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $1)
             from next where m.id = next.id
           returning m.id, message_id, subject_id, kind, to_name, to_address, subject, text, html,
                     attachment_name, attachment, recipient_token, attempts, created_at, trace,
                     (select paragraphs from email.promotion p
                       where p.promotion_id = m.subject_id and m.kind = 'promotion') as "paragraphs: Json<Vec<Text>>""#,
        LEASE.as_secs_f64()
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Mail {
        id: row.id,
        message_id: row.message_id,
        subject_id: row.subject_id,
        kind: domain::kind(&row.kind)
            .ok_or_else(|| sqlx::Error::Decode(format!("no kind of mail: {}", row.kind).into()))?,
        to_name: row.to_name,
        to: row.to_address.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        subject: row.subject,
        body: match row.recipient_token {
            Some(token) => Body::Promotion {
                paragraphs: row.paragraphs.map(|paragraphs| paragraphs.0).unwrap_or_default(),
                token,
            },
            None => Body::Written {
                text: row.text.unwrap_or_default(),
                html: row.html.unwrap_or_default(),
                attachment: row.attachment_name.zip(row.attachment),
            },
        },
        attempts: row.attempts,
        created_at: row.created_at,
        trace: row.trace,
    }))
}

/// Renews the lease for as long as `work` takes. Where the database cannot be reached for longer
/// than a lease, another sender may take the mail too: once more, never less.
pub async fn hold<T>(pool: &PgPool, mail: &Mail, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(RENEW_EVERY) => {}
        }
        let renew = sqlx::query!(
            "update email.mail set next_attempt_at = now() + make_interval(secs => $3)
              where id = $1 and status = 'queued' and attempts = $2
                and next_attempt_at < now() + make_interval(secs => $3)",
            mail.id,
            mail.attempts,
            LEASE.as_secs_f64()
        );
        // In turns with the work, not before it: the answer must not wait for the database.
        tokio::select! {
            done = &mut work => return done,
            renewed = renew.execute(pool) => if let Err(error) = renewed {
                tracing::debug!(mail_id = %mail.id, "the lease was not renewed: {error}");
            }
        }
    }
}

/// Marks a mail as sent; `None` where it already was, by whoever had it when a lease ended.
/// Its bodies go: the customer has them, and the disk need not keep them for ever.
pub async fn mark_sent(
    conn: &mut PgConnection,
    mail: &Mail,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        r#"update email.mail
              set status = 'sent', sent_at = now(), last_error = null,
                  text = null, html = null, attachment = null
            where id = $1 and status = 'queued'
           returning sent_at as "sent_at!""#,
        mail.id
    )
    .fetch_optional(conn)
    .await
}

/// Marks a mail as refused for good; `None` where somebody else has it by now. It keeps its
/// bodies, for whoever corrects the address.
pub async fn mark_bounced(
    conn: &mut PgConnection,
    mail: &Mail,
    reason: &str,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        r#"update email.mail set status = 'bounced', last_error = $3
            where id = $1 and status = 'queued' and attempts = $2
           returning now() as "bounced_at!""#,
        mail.id,
        mail.attempts,
        reason
    )
    .fetch_optional(conn)
    .await
}

/// Gives a mail back, to be taken again after a while; not where somebody else has it by now.
pub async fn give_back(
    pool: &PgPool,
    mail: &Mail,
    delay: Duration,
    reason: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"update email.mail set next_attempt_at = now() + make_interval(secs => $3), last_error = $4
            where id = $1 and status = 'queued' and attempts = $2"#,
        mail.id,
        mail.attempts,
        delay.as_secs_f64(),
        reason
    )
    .execute(pool)
    .await?;
    Ok(())
}
