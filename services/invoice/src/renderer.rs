//! The queue of documents that have a number but no PDF yet, and its worker. Any number of
//! instances may work at it: each takes rows that no other has in hand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use broker::{Broker, Transaction};
use chassis::{EventTransaction, Trace};
use chrono::{DateTime, SubsecRound, Utc};
use contracts::{CreditNoteIssued, InvoiceIssued, Pdf};
use tokio::sync::watch;
use tracing::warn;

use crate::domain::{Corrected, Draft, Issued};
use crate::paper::{self, Seller};
use crate::pdf;
use crate::store::{self, Row};

/// Between looks when there is nothing to do.
const IDLE: Duration = Duration::from_millis(100);
const IN_TROUBLE: Duration = Duration::from_millis(500);

pub async fn run(broker: Broker, seller: Seller, mut stopping: watch::Receiver<bool>) {
    let seller = Arc::new(seller);
    loop {
        let sleep = match render_some(&broker, &seller).await {
            Ok(0) => IDLE,
            Ok(_) => Duration::ZERO,
            Err(error) => {
                warn!("documents will be rendered later: {error}");
                IN_TROUBLE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(sleep) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
    }
}

/// Renders a few documents, stores them, and says so in the same transaction. One that fails
/// is put off, and costs the others nothing.
async fn render_some(broker: &Broker, seller: &Arc<Seller>) -> Result<usize, broker::Error> {
    let mut tx = broker.begin().await?;
    let queued = store::take_unrendered(&mut tx).await?;
    let taken = queued.len();
    if taken == 0 {
        return Ok(0);
    }
    // All at once, each on a thread of its own: it is nothing but computing.
    let renderings: Vec<_> = queued
        .into_iter()
        .map(|queued| {
            let (id, number, failures) = (queued.id, queued.number.clone(), queued.failures);
            let seller = seller.clone();
            let rendering = tokio::task::spawn_blocking(move || render(&seller, queued));
            (id, number, failures, rendering)
        })
        .collect();
    // Microseconds are what the database keeps; row and event are to say the same.
    let now = Utc::now().trunc_subsecs(6);
    let (mut rendered, mut failed) = (Vec::new(), Vec::new());
    for (id, number, failures, rendering) in renderings {
        let rendering = rendering.await.map_err(anyhow::Error::from).flatten();
        match rendering.and_then(|(issued, pdf)| publish(&mut tx, issued, pdf, now)) {
            Ok(pdf) => rendered.push((id, pdf)),
            Err(error) => {
                // Once is enough; the row and GET go on saying so.
                if failures == 0 {
                    warn!(number, "not rendered, will be tried again: {error:#}");
                }
                failed.push((id, format!("{error:#}")));
            }
        }
    }
    store::keep_pdfs(&mut tx, rendered, now).await?;
    store::put_off(&mut tx, failed).await?;
    tx.commit().await?;
    Ok(taken)
}

fn render(seller: &Seller, queued: Row) -> anyhow::Result<(Issued, Vec<u8>)> {
    let issued = Issued::try_from(queued).context("the row cannot be read")?;
    let pdf = pdf::render(&paper::document(seller, &issued))?;
    Ok((issued, pdf))
}

/// Publishes a document's event, which carries the PDF; gives the PDF back.
fn publish(
    tx: &mut Transaction,
    Issued { number, issued_on, draft }: Issued,
    pdf: Vec<u8>,
    issued_at: DateTime<Utc>,
) -> anyhow::Result<Vec<u8>> {
    let trace = Trace::from_header(Some(&draft.trace));
    let Draft { order_id, corrects, customer, currency, total, .. } = draft;
    let pdf = Pdf(pdf);
    let Some(Corrected { number: corrects, .. }) = corrects else {
        let invoice = InvoiceIssued {
            order_id,
            number,
            issued_on,
            issued_at,
            customer,
            currency,
            total,
            pdf,
        };
        tx.publish_event(&invoice, &trace)?;
        return Ok(invoice.pdf.0);
    };
    let credit_note = CreditNoteIssued {
        order_id,
        number,
        corrects,
        issued_on,
        issued_at,
        customer,
        currency,
        total,
        pdf,
    };
    tx.publish_event(&credit_note, &trace)?;
    Ok(credit_note.pdf.0)
}
