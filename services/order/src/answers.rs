//! Tells topic `log` how orders were answered, many answers a record.
//!
//! As with log lines nobody waits for it: what the buffer cannot hold, or the log cannot take, is
//! dropped and counted.

use std::time::Duration;

use broker::Broker;
use contracts::{OrderAnswer, OrdersAnswered};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::warn;

use crate::DESCRIPTOR;

/// Answers that may wait.
const BUFFER: usize = 4096;
/// Answers that one record tells of.
const IN_RECORD: usize = 100;
/// How long answers wait for company: so few transactions cost the orders' own next to nothing.
const COMPANY: Duration = Duration::from_millis(200);

/// Takes answers.
#[derive(Clone)]
pub struct Answers(mpsc::Sender<OrderAnswer>);

/// What was taken and not told yet.
pub struct Untold(mpsc::Receiver<OrderAnswer>);

/// A buffer, by its two ends.
pub fn buffer() -> (Answers, Untold) {
    let (sender, receiver) = mpsc::channel(BUFFER);
    (Answers(sender), Untold(receiver))
}

impl Answers {
    pub fn tell(&self, answer: OrderAnswer) {
        if self.0.try_send(answer).is_err() {
            dropped(1);
        }
    }
}

/// An answer is a line of the access log.
fn dropped(answers: usize) {
    metrics::counter!("waybill_log_lines_dropped_total").increment(answers as u64);
}

impl Untold {
    /// Publishes them until the service stops.
    pub async fn publish(mut self, broker: Broker, mut stopping: watch::Receiver<bool>) {
        let mut batch = Vec::new();
        let mut stopped = false;
        while !stopped {
            tokio::select! {
                count = self.0.recv_many(&mut batch, BUFFER) => stopped = count == 0,
                () = asked_to_stop(&mut stopping) => {
                    // What was answered until now.
                    while batch.len() < BUFFER && let Ok(answer) = self.0.try_recv() {
                        batch.push(answer);
                    }
                    stopped = true;
                }
            }
            if let Err(error) = publish(&broker, &batch).await {
                warn!(answers = batch.len(), "how orders were answered is not told: {error}");
                dropped(batch.len());
            }
            batch.clear();
            tokio::select! {
                () = sleep(COMPANY) => {}
                () = asked_to_stop(&mut stopping) => {}
            }
        }
    }
}

async fn asked_to_stop(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn publish(broker: &Broker, answers: &[OrderAnswer]) -> Result<(), broker::Error> {
    if answers.is_empty() {
        return Ok(());
    }
    let answered = |answers: &[OrderAnswer]| OrdersAnswered {
        service: DESCRIPTOR.name.to_owned(),
        process: std::process::id(),
        answers: answers.to_vec(),
    };
    chassis::publish(broker, answers.chunks(IN_RECORD).map(answered)).await
}
