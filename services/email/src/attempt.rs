//! One attempt at one mail: compose it, hand it over, mark what became of it.

use std::time::Duration;

use broker::Broker;
use chassis::{EventTransaction, Trace};
use chrono::Utc;
use contracts::{MailBounced, MailSent};
use lettre::message::Mailbox;
use sqlx::PgPool;
use tracing::{info, warn};

use crate::domain::{PublicUrl, backoff, delay_after, one_line};
use crate::message::compose;
use crate::queue::{self, Mail};
use crate::smtp::{Answer, Smtp};

/// With their pauses about a minute.
const MARK_ATTEMPTS: u32 = 16;

/// What attempts need.
pub struct Postman {
    pub pool: PgPool,
    pub broker: Broker,
    pub smtp: Smtp,
    pub from: Mailbox,
    pub public_url: PublicUrl,
}

/// What an attempt says about the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered for good: sent or bounced.
    Settled,
    /// It wants this mail later.
    Deferred,
    /// It takes no mail.
    NoServer(String),
}

impl Postman {
    pub async fn attempt(&self, mail: Mail) -> Outcome {
        queue::hold(&self.pool, &mail, self.try_it(&mail)).await
    }

    async fn try_it(&self, mail: &Mail) -> Outcome {
        let answer = match compose(mail, &self.from, &self.public_url) {
            Ok(message) => {
                let sending = Trace::from_header(Some(&mail.trace)).step("send mail");
                let answer = self.smtp.send(message.envelope(), &message.formatted()).await;
                if let Answer::Refused(why) | Answer::NotNow(why) | Answer::NoServer(why) = &answer
                {
                    sending.fail(why);
                }
                answer
            }
            Err(reason) => Answer::Refused(one_line(&reason)),
        };
        let (word, outcome) = match &answer {
            Answer::Taken => ("sent", Outcome::Settled),
            Answer::Refused(_) => ("bounced", Outcome::Settled),
            Answer::NotNow(_) => ("deferred", Outcome::Deferred),
            Answer::NoServer(why) => ("deferred", Outcome::NoServer(why.clone())),
        };
        metrics::counter!(
            "waybill_mail_attempts_total",
            "kind" => mail.kind.as_str(),
            "outcome" => word
        )
        .increment(1);
        if matches!(answer, Answer::Taken) {
            let waited = (Utc::now() - mail.created_at).to_std().unwrap_or_default();
            metrics::histogram!("waybill_mail_time_to_send_seconds", "kind" => mail.kind.as_str())
                .record(waited.as_secs_f64());
        }
        self.mark(mail, &answer).await;
        outcome
    }

    /// Marks what became of a mail, in spite of a database that is in trouble for a while:
    /// what is not marked is sent again.
    async fn mark(&self, mail: &Mail, answer: &Answer) {
        for failures in 0..MARK_ATTEMPTS {
            let error = match self.try_to_mark(mail, answer).await {
                Ok(()) => return,
                Err(error) => error,
            };
            if !error.is_transient() || failures + 1 == MARK_ATTEMPTS {
                warn!(mail_id = %mail.id, "not marked, it is tried again: {error}");
                return;
            }
            let pause = backoff(failures, Duration::from_millis(50), Duration::from_secs(5));
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_to_mark(&self, mail: &Mail, answer: &Answer) -> Result<(), broker::Error> {
        match answer {
            Answer::Taken => self.sent(mail).await,
            Answer::Refused(reason) => self.bounced(mail, reason).await,
            Answer::NotNow(reason) | Answer::NoServer(reason) => {
                let delay = delay_after(mail.attempts.unsigned_abs());
                Ok(queue::give_back(&self.pool, mail, delay, reason).await?)
            }
        }
    }

    async fn sent(&self, mail: &Mail) -> Result<(), broker::Error> {
        let mut tx = self.broker.begin().await?;
        if let Some(sent_at) = queue::mark_sent(&mut tx, mail).await? {
            let event = MailSent {
                subject_id: mail.subject_id,
                mail_id: mail.id,
                kind: mail.kind,
                message_id: mail.message_id.clone(),
                to: mail.to.clone(),
                sent_at,
            };
            tx.publish_event(&event, &Trace::from_header(Some(&mail.trace)))?;
        }
        tx.commit().await
    }

    async fn bounced(&self, mail: &Mail, reason: &str) -> Result<(), broker::Error> {
        let mut tx = self.broker.begin().await?;
        if let Some(bounced_at) = queue::mark_bounced(&mut tx, mail, reason).await? {
            info!(mail_id = %mail.id, kind = mail.kind.as_str(), "refused for good");
            let event = MailBounced {
                subject_id: mail.subject_id,
                mail_id: mail.id,
                kind: mail.kind,
                message_id: mail.message_id.clone(),
                to: mail.to.clone(),
                bounced_at,
                reason: reason.to_owned(),
            };
            tx.publish_event(&event, &Trace::from_header(Some(&mail.trace)))?;
        }
        tx.commit().await
    }
}
