//! The SMTP server: connections, how many, and when they end.

mod body;
mod command;
mod connection;
mod conversation;
mod lines;
mod path;
mod reply;
mod transaction;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::fault::Faults;
use crate::options::Limits;
use crate::store::Store;
use body::Receiving;

/// How long connections may take to end once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) reject_domain: Option<String>,
    pub(crate) limits: Limits,
    pub(crate) faults: Arc<Faults>,
    pub(crate) store: Arc<Store>,
    pub(crate) receiving: Receiving,
}

impl Shared {
    pub(crate) fn new(options: crate::Options, store: Arc<Store>, faults: Arc<Faults>) -> Self {
        let receiving = Receiving::default();
        let (name, reject_domain) = (options.name, options.reject_domain);
        Shared { name, reject_domain, limits: options.limits, faults, store, receiving }
    }
}

/// Serves until `stop` says so, or its sender is gone.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(shared.limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        // Those that have ended give back their memory here.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let (shared, stop) = (Arc::clone(&shared), stop.clone());
                    connections.spawn(async move {
                        talk(stream, shared, stop).await;
                        drop(place);
                    });
                }
                Err(_) => turn_away(stream),
            },
            Err(error) => {
                // Out of descriptors, mostly: it passes, and must not spin.
                tracing::warn!(%error, "cannot accept an SMTP connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all_ended).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

async fn talk(stream: TcpStream, shared: Arc<Shared>, stop: watch::Receiver<bool>) {
    match connection::talk(stream, shared, stop).await {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => tracing::debug!(%error, "an SMTP connection broke"),
    }
}

/// Says that the house is full, if that can be said without waiting.
fn turn_away(stream: TcpStream) {
    let mut out = Vec::new();
    reply::BUSY.write(&mut out);
    // tokio's own `try_write` waits for its first readiness event.
    let sent = stream.into_std().and_then(|mut stream| io::Write::write_all(&mut stream, &out));
    if let Err(error) = sent {
        tracing::debug!(%error, "an SMTP connection too many left at once");
    }
}
