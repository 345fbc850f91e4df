//! The mails kept: in order of arrival, bounded, announced.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use tokio::sync::watch;

use crate::error::Error;
use crate::folder::{self, Folder};
use crate::mail::{Bytes, Envelope, Mail, Trace};
use crate::options::Limits;

/// What a mailbox has seen and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Mails kept now.
    pub kept: usize,
    /// Their bytes, summaries in memory included.
    pub kept_bytes: u64,
    /// Mails accepted since the start.
    pub accepted: u64,
    /// Mails dropped for want of room; with a folder, over all its starts.
    pub dropped: u64,
    /// Times that a fault has struck since the start.
    pub faults: u64,
}

/// The mails kept.
pub(crate) struct Store {
    kept: Mutex<Kept>,
    folder: Option<Folder>,
    max_mails: usize,
    max_bytes: u64,
    accepted: AtomicU64,
    /// Held while a big mail is parsed, which can take many times its size.
    parsing: Mutex<()>,
    changed: Arc<watch::Sender<u64>>,
}

/// Bytes from which a mail is a big one.
const BIG: usize = 1024 * 1024;

#[derive(Default)]
struct Kept {
    /// By arrival. A mail is here only once it is safe.
    mails: BTreeMap<DateTime<Utc>, Arc<Mail>>,
    bytes: u64,
    dropped: u64,
    /// The latest time given out: each mail's is later than the one before.
    latest: DateTime<Utc>,
}

impl Store {
    /// Opens the store, with what the folder holds from earlier. Blocks.
    pub(crate) fn open(
        folder: Option<PathBuf>,
        limits: &Limits,
        changed: Arc<watch::Sender<u64>>,
    ) -> Result<Store, Error> {
        let folder = folder.map(Folder::open).transpose()?;
        let mut kept = Kept::default();
        if let Some(folder) = &folder {
            kept.dropped = folder.dropped();
            folder.load(|mail| kept.insert(mail))?;
        }
        let (max_mails, max_bytes) = (limits.kept_mails, limits.kept_bytes);
        let (accepted, parsing) = (AtomicU64::new(0), Mutex::new(()));
        let store = Store {
            kept: Mutex::new(kept),
            folder,
            max_mails,
            max_bytes,
            accepted,
            parsing,
            changed,
        };
        store.make_room();
        Ok(store)
    }

    /// Keeps a mail; it is safe when this returns. Blocks.
    pub(crate) fn add(
        &self,
        envelope: Envelope,
        trace: &Trace,
        message: &[u8],
    ) -> io::Result<Arc<Mail>> {
        let at = self.next_time();
        let id = folder::id(at);
        let mut raw = trace.write(&envelope, &id, at).into_bytes();
        raw.extend_from_slice(message);
        let file = self.folder.as_ref().map(|folder| folder.write(&id, &raw)).transpose()?;
        let one_at_a_time = (raw.len() > BIG).then(|| self.parsing.lock());
        let mail = match file {
            Some(path) => Mail::new(id, at, &raw, || Bytes::File(path)),
            // The summary is made first, so the bytes need no second copy.
            None => {
                let mail = Mail::new(id, at, &raw, || Bytes::Here(Vec::new()));
                mail.with_bytes(Bytes::Here(raw))
            }
        };
        drop(one_at_a_time);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let mail = self.kept().insert(mail);
        self.make_room();
        self.announce();
        Ok(mail)
    }

    /// Lets another mailbox have the folder. Nothing may be added after it.
    pub(crate) fn release(&self) {
        if let Some(folder) = &self.folder {
            folder.release();
        }
    }

    /// All mails, oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<Mail>> {
        self.kept().mails.values().cloned().collect()
    }

    /// The mail of that id; `latest` is the newest one's, as in Mailpit.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Mail>> {
        let kept = self.kept();
        if id == "latest" {
            return kept.mails.values().next_back().cloned();
        }
        kept.mails.get(&folder::time(id)?).cloned()
    }

    /// Deletes those that `choose` chooses. Blocks.
    pub(crate) fn delete(&self, choose: impl Fn(&Mail) -> bool) {
        let gone = self.kept().take(|mail| choose(mail));
        self.remove_files(&gone);
        self.announce();
    }

    pub(crate) fn stats(&self) -> Stats {
        let kept = self.kept();
        Stats {
            kept: kept.mails.len(),
            kept_bytes: kept.bytes,
            accepted: self.accepted.load(Ordering::Relaxed),
            dropped: kept.dropped,
            faults: 0,
        }
    }

    fn next_time(&self) -> DateTime<Utc> {
        let mut kept = self.kept();
        // File names have microseconds. A clock set back must not bring mails
        // out of order.
        let now = Utc::now().trunc_subsecs(6);
        kept.latest = now.max(kept.latest + TimeDelta::microseconds(1));
        kept.latest
    }

    fn make_room(&self) {
        let (dropped, total) = {
            let mut kept = self.kept();
            let dropped = kept.drop_oldest(self.max_mails, self.max_bytes);
            (dropped, kept.dropped)
        };
        if dropped.is_empty() {
            return;
        }
        tracing::warn!(now = dropped.len(), total, "no room: the oldest mails were dropped");
        self.remove_files(&dropped);
        if let Some(folder) = &self.folder {
            folder.count_dropped(dropped.len() as u64);
        }
    }

    fn remove_files(&self, mails: &[Arc<Mail>]) {
        for mail in mails {
            if let Some(folder) = &self.folder {
                folder.remove(&mail.id);
            }
        }
    }

    fn announce(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing that panics runs under this lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn insert(&mut self, mail: Mail) -> Arc<Mail> {
        let mail = Arc::new(mail);
        self.latest = self.latest.max(mail.received_at);
        self.bytes += mail.weight();
        self.mails.insert(mail.received_at, Arc::clone(&mail));
        mail
    }

    fn take(&mut self, choose: impl Fn(&Mail) -> bool) -> Vec<Arc<Mail>> {
        let taken = self.mails.extract_if(.., |_, mail| choose(mail)).map(|(_, mail)| mail);
        let taken: Vec<_> = taken.collect();
        self.bytes -= taken.iter().map(|mail| mail.weight()).sum::<u64>();
        taken
    }

    fn drop_oldest(&mut self, max_mails: usize, max_bytes: u64) -> Vec<Arc<Mail>> {
        let mut dropped = Vec::new();
        while self.mails.len() > max_mails.max(1)
            || (self.bytes > max_bytes && self.mails.len() > 1)
        {
            let Some((_, mail)) = self.mails.pop_first() else { break };
            self.bytes -= mail.weight();
            dropped.push(mail);
        }
        self.dropped += dropped.len() as u64;
        dropped
    }
}
