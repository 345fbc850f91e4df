//! Mails on disk: one `.eml` file each, whole or not there.
//!
//! A file is written under a temporary name, flushed, and then renamed, as in
//! a Maildir; the folder is flushed after it. What a crash leaves behind under
//! a temporary name was never promised to anybody, and goes at the next start.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::error::Error;
use crate::mail::{Bytes, Mail};

/// Names are times, so that their order is that of arrival.
const NAME: &str = "%Y%m%dT%H%M%S%6fZ";
const MAIL: &str = "eml";
const UNFINISHED: &str = "tmp";
const DROPPED: &str = "dropped";
const LOCK: &str = "lock";

/// The id of the mail that arrived at that time.
pub(crate) fn id(at: DateTime<Utc>) -> String {
    at.format(NAME).to_string()
}

/// The time in an id that [`id`] made; none in any other text.
pub(crate) fn time(id: &str) -> Option<DateTime<Utc>> {
    let at = NaiveDateTime::parse_from_str(id, NAME).ok()?.and_utc();
    (self::id(at) == id).then_some(at)
}

/// A folder of mails, this process's alone.
pub(crate) struct Folder {
    path: PathBuf,
    dropped: Mutex<u64>,
    /// Locked for as long as the folder is this process's.
    lock: File,
}

impl Folder {
    pub(crate) fn open(path: PathBuf) -> Result<Folder, Error> {
        let error = |source| Error::Folder { folder: path.clone(), source };
        fs::create_dir_all(&path).map_err(error)?;
        let lock =
            File::options().create(true).append(true).open(path.join(LOCK)).map_err(error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::FolderInUse { folder: path }),
            Err(TryLockError::Error(source)) => return Err(error(source)),
        }
        let dropped = match fs::read_to_string(path.join(DROPPED)) {
            Ok(count) => count.trim().parse().unwrap_or(0),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(error(source)),
        };
        Ok(Folder { path, dropped: Mutex::new(dropped), lock })
    }

    /// Gives each mail in the folder to `take`, and removes unfinished ones.
    pub(crate) fn load<T>(&self, mut take: impl FnMut(Mail) -> T) -> Result<(), Error> {
        let error = |source| Error::Folder { folder: self.path.clone(), source };
        for entry in fs::read_dir(&self.path).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let Some(at) = path.file_stem().and_then(|stem| time(stem.to_str()?)) else { continue };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(UNFINISHED) => fs::remove_file(&path).map_err(error)?,
                Some(MAIL) => {
                    let raw = fs::read(&path).map_err(error)?;
                    take(Mail::new(id(at), at, &raw, || Bytes::File(path)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes a mail; it is safe when this returns.
    pub(crate) fn write(&self, id: &str, raw: &[u8]) -> io::Result<PathBuf> {
        let path = self.file(id);
        let unfinished = path.with_extension(UNFINISHED);
        let written = write_synced(&unfinished, raw).and_then(|()| fs::rename(&unfinished, &path));
        if let Err(error) = written {
            // On a full disk the remains would be in the way.
            _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        // The new name is the folder's content, and flushed with that.
        File::open(&self.path)?.sync_all()?;
        Ok(path)
    }

    pub(crate) fn remove(&self, id: &str) {
        if let Err(error) = fs::remove_file(self.file(id)) {
            tracing::warn!(%error, mail = id, "a mail could not be removed from the folder");
        }
    }

    /// Gives the folder up, though mails may still be read from it.
    pub(crate) fn release(&self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the folder's lock could not be released");
        }
    }

    /// Mails dropped over all starts.
    pub(crate) fn dropped(&self) -> u64 {
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to that count. Not flushed: it explains, it promises nothing.
    pub(crate) fn count_dropped(&self, more: u64) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        *dropped += more;
        if let Err(error) = fs::write(self.path.join(DROPPED), format!("{dropped}\n")) {
            tracing::warn!(%error, "the count of dropped mails could not be written");
        }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.path.join(id).with_extension(MAIL)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_time_and_back() {
        let at = DateTime::from_timestamp_micros(1_795_510_800_000_042).unwrap();
        assert_eq!(id(at), "20261124T090000000042Z");
        assert_eq!(time(&id(at)), Some(at));
        for other in ["", "lock", "../../etc/passwd", "20261124T090000Z", "20261324T090000000042Z"]
        {
            assert_eq!(time(other), None, "{other}");
        }
    }
}
