//! The server as a value: start it, watch it, break it, stop it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::error::{Error, WaitError};
use crate::fault::{Faults, Rule};
use crate::mail::Mail;
use crate::options::Options;
use crate::store::{Stats, Store};
use crate::{http, smtp};

/// A running mail server. Dropping it stops it too, without waiting for that.
pub struct Mailbox {
    smtp: SocketAddr,
    http: Option<SocketAddr>,
    store: Arc<Store>,
    faults: Arc<Faults>,
    changed: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    stopped: oneshot::Receiver<()>,
}

impl Mailbox {
    /// Starts the server. Once this returns it takes mail, and shows what its
    /// folder holds from earlier.
    pub async fn start(options: Options) -> Result<Mailbox, Error> {
        let name = &options.name;
        if name.is_empty() || name.len() > 255 || !name.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(Error::Name { name: options.name });
        }
        // Bound here, so that a taken port is this call's error.
        let (smtp_listener, smtp) = bind("SMTP", options.smtp)?;
        let (http_listener, http) = match options.http {
            Some(addr) => {
                bind("HTTP", addr).map(|(listener, addr)| (Some(listener), Some(addr)))?
            }
            None => (None, None),
        };
        let (announce, changed) = watch::channel(0);
        let announce = Arc::new(announce);
        let faults = Arc::new(Faults::new(Arc::clone(&announce)));
        let (stop, stopping) = watch::channel(false);
        let (ready, started) = oneshot::channel();
        let (end, stopped) = oneshot::channel();

        let shared_faults = Arc::clone(&faults);
        let serve = move || {
            let system = actix_web::rt::System::new();
            let serve = Box::pin(async move {
                let store = Store::open(options.folder.clone(), &options.limits, announce);
                let store = match store {
                    Ok(store) => Arc::new(store),
                    Err(error) => {
                        _ = ready.send(Err(error));
                        return None;
                    }
                };
                let shared = smtp::Shared::new(options, Arc::clone(&store), shared_faults);
                let smtp = smtp::serve(smtp_listener, Arc::new(shared), stopping.clone());
                let web = http::serve(http_listener, Arc::clone(&store), stopping);
                // Nobody waits for the answer if the caller is gone; then
                // `stop` is gone too, and this ends at once.
                _ = ready.send(Ok(Arc::clone(&store)));
                if let (Err(error), _) | (_, Err(error)) = tokio::join!(smtp, web) {
                    tracing::error!(%error, "the mailbox failed");
                }
                Some(store)
            });
            let store = system.block_on(serve);
            // This waits for a mail that is being written.
            drop(system);
            if let Some(store) = store {
                store.release();
            }
            _ = end.send(());
        };
        thread::Builder::new().name("mailbox".into()).spawn(serve).map_err(Error::Thread)?;
        let store =
            started.await.map_err(|_| Error::Thread(std::io::ErrorKind::Other.into()))??;
        Ok(Mailbox { smtp, http, store, faults, changed, stop, stopped })
    }

    /// Where it takes mail.
    pub fn smtp_addr(&self) -> SocketAddr {
        self.smtp
    }

    /// Where its web page and API are, if they were asked for.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http
    }

    /// `smtp://` and the address: what a sender is configured with.
    pub fn smtp_url(&self) -> String {
        format!("smtp://{}", self.smtp)
    }

    /// The mails kept, oldest first.
    pub fn messages(&self) -> Vec<Arc<Mail>> {
        self.store.list()
    }

    /// Counts, those of dropped mails and of faults that struck among them.
    pub fn stats(&self) -> Stats {
        Stats { faults: self.faults.struck(), ..self.store.stats() }
    }

    /// A number that changes when a mail is kept or deleted, or a fault
    /// strikes, so that a test can wait for that instead of a duration.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }

    /// Waits until the mails kept, oldest first, are as `predicate` wants
    /// them, and gives them back. Do not use it under a paused tokio clock:
    /// the mails come in real time.
    pub async fn wait_for(
        &self,
        predicate: impl Fn(&[Arc<Mail>]) -> bool,
        timeout: Duration,
    ) -> Result<Vec<Arc<Mail>>, WaitError> {
        let mut changed = self.subscribe();
        let seen = async {
            loop {
                // Marked before looking: a mail that comes now is not missed.
                changed.borrow_and_update();
                let mails = self.messages();
                if predicate(&mails) {
                    return mails;
                }
                // This mailbox holds a sender, so the channel is not closed.
                _ = changed.changed().await;
            }
        };
        let in_time = tokio::time::timeout(timeout, seen).await;
        in_time.map_err(|_| WaitError { timeout, kept: self.stats().kept })
    }

    /// Misbehaves in this one way from now on.
    pub fn set_fault(&self, fault: impl Into<Rule>) {
        self.faults.set(vec![fault.into()]);
    }

    /// Misbehaves in this way too.
    pub fn add_fault(&self, fault: impl Into<Rule>) {
        self.faults.add(fault.into());
    }

    /// Whether it misbehaves in any way.
    pub fn has_faults(&self) -> bool {
        self.faults.any()
    }

    /// Behaves again.
    pub fn clear_faults(&self) {
        self.faults.set(Vec::new());
    }

    /// Deletes every mail, from the folder too.
    pub fn clear(&self) {
        self.store.delete(|_| true);
    }

    /// Stops the server, and returns once its ports and its folder are free.
    /// A message that is being kept is kept; other conversations get `421`.
    pub async fn stop(self) {
        _ = self.stop.send(true);
        _ = self.stopped.await;
    }
}

fn bind(what: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let error = |source| Error::Bind { what, addr, source };
    let listener = TcpListener::bind(addr).map_err(error)?;
    // tokio requires it of a listener that it did not make itself.
    listener.set_nonblocking(true).map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    Ok((listener, bound))
}
