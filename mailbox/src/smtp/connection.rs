//! A conversation over a connection: time-outs, pipelining, and the promise
//! that `250` after a message means kept.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Shared;
use super::conversation::{Conversation, Turn};
use super::lines::{Lines, Piece};
use super::reply::{self, Reply};
use super::transaction::Desk;
use crate::mail::{Envelope, Trace};

/// Replies held back for a client that pipelines; beyond it they go out.
const MAX_HELD: usize = 16 * 1024;

struct Connection {
    shared: Arc<Shared>,
    lines: Lines<OwnedReadHalf>,
    out: OwnedWriteHalf,
    /// Replies not sent yet.
    held: Vec<u8>,
}

/// Talks to one client to the end.
pub(crate) async fn talk(
    stream: TcpStream,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?.ip();
    let (input, out) = stream.into_split();
    let lines = Lines::new(input);
    let mut connection = Connection { shared, lines, out, held: Vec::new() };
    let mut conversation = Conversation::new(Arc::clone(&connection.shared), peer);

    let greeting = match connection.shared.faults.refuses_connections() {
        true => reply::REFUSED,
        false => conversation.greeting(),
    };
    let mut open = connection.send(greeting).await?;
    while open {
        let idle = connection.shared.limits.idle;
        let read = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => Err(reply::STOPPING),
            read = timeout(idle, connection.lines.next()) => read.map_err(|_| reply::IDLE),
        };
        let turn = match read {
            Err(reply) => Turn::Reply(reply),
            Ok(Ok(Piece::End)) => break,
            Ok(Ok(piece)) => conversation.take(&piece, connection.lines.piece()),
            Ok(Err(error)) => return Err(error),
        };
        open = match turn {
            Turn::Wait => true,
            Turn::Reply(reply) => {
                let refused = !reply.closes() && connection.shared.faults.refuses_connections();
                connection.send(if refused { reply::REFUSED } else { reply }).await?
            }
            Turn::Message(envelope, trace) => {
                let reply = connection.keep(conversation.desk(), envelope, trace).await;
                if connection.shared.faults.drops_after_data() {
                    return Ok(());
                }
                connection.send(reply).await?
            }
        };
    }
    connection.out.shutdown().await
}

impl Connection {
    /// Sends a reply, or holds it while the client's next line is here
    /// already. False once the conversation is over.
    async fn send(&mut self, reply: Reply) -> io::Result<bool> {
        reply.write(&mut self.held);
        if let Some(delay) = self.shared.faults.delay() {
            tokio::time::sleep(delay).await;
        }
        let closes = reply.closes();
        if closes || !self.lines.has_more() || self.held.len() > MAX_HELD {
            // A client that sends and never reads must not be waited for.
            timeout(self.shared.limits.idle, self.out.write_all(&self.held))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            self.held.clear();
        }
        Ok(!closes)
    }

    /// Keeps the message; the reply promises it, so it comes after.
    async fn keep(&self, desk: Desk, envelope: Envelope, trace: Trace) -> Reply {
        let store = Arc::clone(&self.shared.store);
        // Parsing and fsync take their time, and this thread serves all.
        let kept = tokio::task::spawn_blocking(move || {
            let mut transaction = desk.transaction();
            let message = transaction.body.whole().unwrap_or_default();
            let kept = store.add(envelope, &trace, message);
            transaction.reset();
            kept
        });
        match kept.await {
            Ok(Ok(mail)) => Reply::of(250, "2.0.0", format!("Kept as {}", mail.id)),
            Ok(Err(error)) => {
                tracing::error!(%error, "a mail could not be kept");
                reply::NOT_STORED
            }
            Err(error) => {
                tracing::error!(%error, "keeping a mail panicked");
                reply::NOT_STORED
            }
        }
    }
}
