//! A credit note was issued: its customer gets it, attached.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::{CreditNoteIssued, MailKind};

use crate::domain::{MailDomain, line_of, pdf_name};
use crate::letter;
use crate::store::{self, Attachment, NewMail};

pub struct OnCreditNoteIssued {
    pub domain: MailDomain,
}

impl Subscriber for OnCreditNoteIssued {
    type Event = CreditNoteIssued;

    async fn handle(
        &self,
        tx: &mut Transaction,
        notes: &[Received<CreditNoteIssued>],
    ) -> Result<(), HandlerError> {
        let mut mails = Vec::with_capacity(notes.len());
        for note in notes {
            let number = line_of(note, "number", &note.number)?;
            let corrects = line_of(note, "corrects", &note.corrects)?;
            mails.push(NewMail {
                subject_id: note.order_id,
                kind: MailKind::CreditNote,
                to: &note.customer,
                letter: letter::credit_note(note, &number, &corrects)?,
                attachment: Some(Attachment { name: pdf_name(&number), bytes: &note.pdf.0 }),
                trace: &note.trace,
            });
        }
        Ok(store::queue(tx, &self.domain, &mails).await?)
    }
}
