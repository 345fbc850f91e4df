//! A data folder with a migrated template database, made once and copied by every test binary.

use std::error::Error as StdError;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::error::blocking;
use crate::folder::beside;
use crate::{Binaries, Error, Options, Server};

/// The database that each test's is copied from.
pub(crate) const TEMPLATE: &str = "template_test";
/// Some 50 MB each. Every change of a migration makes another.
const KEPT: usize = 6;

/// A template in the cache, locked against removal while it is copied.
pub(crate) struct Template {
    folder: PathBuf,
    _lock: File,
}

/// Finds the template or makes it. The first process makes it, the others wait.
pub(crate) async fn find_or_make<F, Fut>(
    top: &Path,
    binaries: &Binaries,
    key: &str,
    migrate: F,
) -> Result<Template, Box<dyn StdError + Send + Sync>>
where
    F: FnOnce(String) -> Fut,
    Fut: Future<Output = Result<(), Box<dyn StdError + Send + Sync>>>,
{
    let folder = top.join(name(binaries, key));
    let path = beside(&folder, "lock");
    let lock = {
        let path = path.clone();
        blocking(move || {
            let lock = File::create(&path).map_err(Error::path("write", &path))?;
            lock.lock().map_err(Error::path("lock", &path))?;
            Ok(lock)
        })
        .await?
    };
    if !folder.exists() {
        let new = beside(&folder, "new");
        let _ = fs::remove_dir_all(&new);
        if let Err(error) = make(&new, binaries, migrate).await {
            // The next try may have another key, and would not come by here.
            let _ = fs::remove_dir_all(&new);
            return Err(error);
        }
        fs::rename(&new, &folder).map_err(Error::path("make the folder", &folder))?;
        forget_old(top, &folder);
    }
    // Many may copy at once. Until the lock is a shared one again, another process may remove the
    // folder: only one that makes the seventh template at this moment, and then the copy fails
    // with the file's name.
    let lock = blocking(move || {
        lock.unlock().and_then(|()| lock.lock_shared()).map_err(Error::path("lock", &path))?;
        Ok(lock)
    })
    .await?;
    // Its time says when it was last of use.
    let _ = File::open(&folder).and_then(|at| at.set_modified(SystemTime::now()));
    Ok(Template { folder, _lock: lock })
}

impl Template {
    /// Copies it to where nothing is yet, owners and modes included; returns the data folder.
    pub(crate) fn copy(&self, to: &Path) -> Result<PathBuf, Error> {
        let output = Command::new("cp")
            .arg("-a")
            .arg(&self.folder)
            .arg(to)
            .output()
            .map_err(Error::run(Path::new("cp")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::path("copy the template to", to)(std::io::Error::other(said)));
        }
        Ok(to.join("data"))
    }
}

/// The key is the caller's, of any length and with any character in it.
fn name(binaries: &Binaries, key: &str) -> String {
    let hash: String =
        Sha256::digest(key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", binaries.version)
}

async fn make<F, Fut>(
    new: &Path,
    binaries: &Binaries,
    migrate: F,
) -> Result<(), Box<dyn StdError + Send + Sync>>
where
    F: FnOnce(String) -> Fut,
    Fut: Future<Output = Result<(), Box<dyn StdError + Send + Sync>>>,
{
    let options = Options { fsync: false, ..Options::new(new.join("data")) };
    let server = Server::start(binaries, options).await?;
    let migrated = async {
        let mut connection = PgConnection::connect(&server.url("postgres")).await?;
        let create = format!("create database {TEMPLATE}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connection).await?;
        connection.close().await?;
        migrate(server.url(TEMPLATE)).await
    }
    .await;
    // Also after a failure: nothing may write to a folder that is about to go.
    server.stop().await?;
    migrated
}

/// Removes all but the latest templates, and what killed processes left half made. One that is in
/// use is locked, and stays.
fn forget_old(top: &Path, made: &Path) {
    let folders =
        fs::read_dir(top).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let (templates, half): (Vec<_>, Vec<_>) = folders
        .filter(|path| path.is_dir() && path != made)
        .partition(|path| path.extension().is_none());
    let mut templates: Vec<(SystemTime, PathBuf)> = templates
        .into_iter()
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    templates.sort_unstable_by(|a, b| b.cmp(a));
    let old = templates.into_iter().skip(KEPT - 1).map(|(_, path)| path);
    for path in old.chain(half) {
        // The lock file stays: removing it would leave two locks of one name.
        if let Ok(lock) = File::create(beside(&path.with_extension(""), "lock"))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(&path);
        }
    }
}
