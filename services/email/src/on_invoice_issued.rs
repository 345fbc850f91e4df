//! An invoice was issued: its customer gets it, attached.

use broker::{HandlerError, Transaction};
use chassis::{Received, Subscriber};
use contracts::{InvoiceIssued, MailKind};

use crate::domain::{MailDomain, line_of, pdf_name};
use crate::letter;
use crate::store::{self, Attachment, NewMail};

pub struct OnInvoiceIssued {
    pub domain: MailDomain,
}

impl Subscriber for OnInvoiceIssued {
    type Event = InvoiceIssued;

    async fn handle(
        &self,
        tx: &mut Transaction,
        invoices: &[Received<InvoiceIssued>],
    ) -> Result<(), HandlerError> {
        let mut mails = Vec::with_capacity(invoices.len());
        for invoice in invoices {
            let number = line_of(invoice, "number", &invoice.number)?;
            mails.push(NewMail {
                subject_id: invoice.order_id,
                kind: MailKind::Invoice,
                to: &invoice.customer,
                letter: letter::invoice(invoice, &number)?,
                attachment: Some(Attachment { name: pdf_name(&number), bytes: &invoice.pdf.0 }),
                trace: &invoice.trace,
            });
        }
        Ok(store::queue(tx, &self.domain, &mails).await?)
    }
}
