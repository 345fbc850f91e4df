//! One mail transaction: who sends what to whom, and whether it is taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mailin::{Handler, Response};

use super::Shared;
use super::body::Body;
use super::command::MailFrom;
use super::path;
use super::reply::{self, Reply};
use crate::fault::Fault;
use crate::mail::Envelope;

/// What is known of the transaction under way.
pub(crate) struct Transaction {
    shared: Arc<Shared>,
    /// The command that `mailin` is about to judge: its own lines carry none
    /// of the arguments (see `command`).
    pub(crate) mail: MailFrom,
    pub(crate) recipient: String,
    /// What the last handler had to say, beyond the bare code.
    pub(crate) reply: Option<Reply>,
    pub(crate) envelope: Envelope,
    utf8: bool,
    pub(crate) body: Body,
}

impl Transaction {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let body = Body::new(&shared);
        Transaction {
            shared,
            mail: MailFrom::default(),
            recipient: String::new(),
            reply: None,
            envelope: Envelope::default(),
            utf8: false,
            body,
        }
    }

    /// Forgets sender, recipients and message.
    pub(crate) fn reset(&mut self) {
        self.envelope = Envelope::default();
        self.utf8 = false;
        self.body = Body::new(&self.shared);
    }

    fn open(&mut self) -> Reply {
        let mail = std::mem::take(&mut self.mail);
        if self.shared.faults.fails_all() {
            return reply::TEMP_FAIL;
        }
        let limit = u64::try_from(self.shared.limits.message_bytes).unwrap_or(u64::MAX);
        if mail.size.is_some_and(|size| size > limit) {
            return reply::TOO_BIG;
        }
        self.reset();
        self.envelope.from = mail.address;
        self.utf8 = mail.utf8;
        reply::SENDER_OK
    }

    fn add_recipient(&mut self) -> Reply {
        let address = std::mem::take(&mut self.recipient);
        if self.envelope.to.len() >= self.shared.limits.recipients {
            return reply::TOO_MANY_RECIPIENTS;
        }
        if !self.utf8 && !address.is_ascii() {
            return reply::NEEDS_UTF8;
        }
        match self.shared.faults.for_recipient(&address) {
            Some(Fault::RejectRecipient(_)) => return reply::NO_MAILBOX,
            Some(_) => return reply::RECIPIENT_BUSY,
            None => {}
        }
        let domain = path::domain_of(&address).unwrap_or_default();
        if self.shared.reject_domain.as_ref().is_some_and(|rejected| is_in(domain, rejected)) {
            return reply::NO_MAILBOX;
        }
        self.envelope.to.push(address);
        reply::RECIPIENT_OK
    }
}

/// True of the domain itself and of those below it.
fn is_in(domain: &str, parent: &str) -> bool {
    let (domain, parent) = (domain.to_lowercase(), parent.to_lowercase());
    domain.strip_suffix(&parent).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

/// The transaction as `mailin` and the conversation share it: `mailin` owns
/// its handler and does not lend it back.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Mutex<Transaction>>);

impl Desk {
    pub(crate) fn new(transaction: Transaction) -> Self {
        Desk(Arc::new(Mutex::new(transaction)))
    }

    pub(crate) fn transaction(&self) -> MutexGuard<'_, Transaction> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the reply for the conversation; `mailin` wants only its code.
    fn answer(&self, decide: impl FnOnce(&mut Transaction) -> Reply) -> Response {
        let mut transaction = self.transaction();
        let reply = decide(&mut transaction);
        let code = reply.code;
        transaction.reply = Some(reply);
        Response::custom(code, String::new())
    }
}

impl Handler for Desk {
    fn mail(&mut self, _: std::net::IpAddr, _: &str, _: &str) -> Response {
        self.answer(Transaction::open)
    }

    fn rcpt(&mut self, _: &str) -> Response {
        self.answer(Transaction::add_recipient)
    }

    fn data(&mut self, line: &[u8]) -> std::io::Result<()> {
        self.transaction().body.push(line);
        Ok(())
    }

    // `data_end` stays the default, an OK: after an error there, `mailin`
    // would go on reading commands as if they were the message.
}

#[cfg(test)]
mod tests {
    use super::is_in;

    #[test]
    fn a_domain_holds_those_below_it_and_no_other() {
        assert!(is_in("bounce.invalid", "Bounce.Invalid"));
        assert!(is_in("a.bounce.invalid", "bounce.invalid"));
        assert!(!is_in("nobounce.invalid", "bounce.invalid"));
        assert!(!is_in("invalid", "bounce.invalid"));
    }
}
