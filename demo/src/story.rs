//! One order, told as it happens.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use mailbox::Mailbox;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::client::{Accepted, Client, Step, sample_order};

const PATIENCE: Duration = Duration::from_secs(120);

/// How the story is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    Text,
    Json,
}

impl Teller {
    /// A remark that is no part of the story.
    pub fn say(self, text: &str) {
        if self == Teller::Text {
            println!("{text}");
        }
    }

    fn event(self, since: Instant, event: &str, text: &str, more: Value) {
        let ms = since.elapsed().as_secs_f64() * 1000.0;
        match self {
            Teller::Text => println!("{ms:>8.0} ms  {text}"),
            Teller::Json => {
                let mut line = json!({"ms": (ms * 10.0).round() / 10.0, "event": event});
                if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
                    line.extend(more);
                }
                println!("{line}");
            }
        }
    }
}

/// What has to happen before the story is over.
struct Awaited {
    events: BTreeSet<&'static str>,
    mails: BTreeSet<&'static str>,
}

impl Awaited {
    fn is_over(&self) -> bool {
        self.events.is_empty() && self.mails.is_empty()
    }
}

/// Places an order and tells what becomes of it, until it is delivered, invoiced and mailed.
pub async fn tell(
    client: &Client,
    mailbox: &Mailbox,
    dashboard: &str,
    teller: Teller,
) -> anyhow::Result<()> {
    let address = format!("ada.{:08x}@example.org", rand::random::<u32>());
    let asked = Instant::now();
    let accepted = client
        .place_surely(&sample_order("Ada Lovelace", &address), asked + PATIENCE)
        .await
        .context("the order was not accepted")?;
    let since = Instant::now();
    let took = (since - asked).as_secs_f64() * 1000.0;
    teller.event(
        since,
        "accepted",
        &format!(
            "201  order {}, {} {}.{:02}: stored, and its event with it (answered in {took:.0} ms)",
            accepted.order_id,
            accepted.currency,
            accepted.gross / 100,
            accepted.gross % 100
        ),
        json!({"order_id": accepted.order_id, "answered_in_ms": took}),
    );

    teller.say(&format!("             its passport: {dashboard}/orders/{}", accepted.order_id));

    let (steps, mut told) = mpsc::channel(64);
    let following = tokio::spawn(follow(client.clone(), accepted.clone(), steps));
    let end =
        tokio::time::timeout(PATIENCE, listen(&mut told, mailbox, &address, since, teller)).await;
    following.abort();
    let waited = match end {
        Ok(end) => return end,
        Err(_) => PATIENCE.as_secs(),
    };
    bail!(
        "order {} is not done after {waited} s: `waybill verify` says what is missing",
        accepted.order_id
    )
}

async fn listen(
    told: &mut mpsc::Receiver<Step>,
    mailbox: &Mailbox,
    address: &str,
    since: Instant,
    teller: Teller,
) -> anyhow::Result<()> {
    let mut awaited = Awaited {
        events: BTreeSet::from([
            "OrderPlaced",
            "ShipmentScheduled",
            "ShipmentDispatched",
            "ShipmentDelivered",
            "InvoiceIssued",
        ]),
        mails: BTreeSet::from(["confirmation", "dispatched", "delivered", "invoice"]),
    };
    let mut news = mailbox.subscribe();
    let mut arrived: BTreeSet<String> = BTreeSet::new();
    // Sent is what the service says; arrived is what the mailbox has.
    let mut sent: Vec<(String, String)> = Vec::new();
    while !awaited.is_over() {
        tokio::select! {
            step = told.recv() => {
                let step = step.context("the order cannot be followed any more")?;
                tell_step(&step, since, teller);
                awaited.events.remove(step.kind.as_str());
                if step.kind == "MailSent" {
                    let field = |name: &str| step.data[name].as_str().unwrap_or_default().to_owned();
                    sent.push((field("kind"), field("message_id")));
                }
            }
            changed = news.changed() => changed.context("the mailbox is gone")?,
        }
        for mail in mailbox.messages() {
            let ours = mail.envelope.to.iter().any(|to| to == address);
            if ours && arrived.insert(mail.message_id.clone()) {
                let text = format!("       mail arrived: {}", mail.subject);
                let more = json!({"subject": mail.subject, "message_id": mail.message_id});
                teller.event(since, "MailArrived", &text, more);
            }
        }
        for (kind, message_id) in &sent {
            if arrived.contains(message_id.trim_matches(['<', '>'])) {
                awaited.mails.remove(kind.as_str());
            }
        }
    }
    teller.event(since, "complete", "done: delivered, invoiced, and every mail arrived", json!({}));
    Ok(())
}

fn tell_step(step: &Step, since: Instant, teller: Teller) {
    let more = match step.kind.as_str() {
        "ShipmentDispatched" => step.data["tracking_code"].as_str(),
        "InvoiceIssued" | "CreditNoteIssued" => step.data["number"].as_str(),
        "MailSent" | "MailBounced" => step.data["kind"].as_str(),
        _ => None,
    };
    let text = format!(
        "{:<19} {}/{} @ {:<6} {}",
        step.kind,
        step.topic,
        step.partition,
        step.offset,
        more.unwrap_or_default()
    );
    let more = json!({
        "seq": step.seq, "topic": step.topic, "partition": step.partition, "offset": step.offset, "data": step.data,
    });
    teller.event(since, &step.kind, text.trim_end(), more);
}

/// Follows the order through restarts of the service that tells.
async fn follow(client: Client, accepted: Accepted, steps: mpsc::Sender<Step>) {
    let order_id: Uuid = accepted.order_id;
    let mut last = 0;
    loop {
        let end = client
            .follow(order_id, last, |step| {
                last = step.seq;
                let _ = steps.try_send(step);
            })
            .await;
        if steps.is_closed() {
            return;
        }
        if end.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
