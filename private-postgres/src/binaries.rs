//! The programs: found on this machine, in the cache, or fetched once.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::blocking;
use crate::user::User;
use crate::{Error, FetchProgress, fetch, places};

/// The oldest major version that is good enough: `create database … strategy` came with it.
pub(crate) const OLDEST: u32 = 15;

/// A folder with `postgres` and `initdb` that run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The folder.
    pub bin_dir: PathBuf,
    /// The major version.
    pub version: u32,
    /// The whole version, as `18.4`.
    pub release: String,
}

impl Binaries {
    /// Looks on this machine and then in the cache; asks no network.
    ///
    /// In this order: the folder that `PG_BIN` names (then nothing else counts), Debian's
    /// `/usr/lib/postgresql/<version>/bin` from the newest down, the PATH, what was fetched
    /// before.
    pub fn find() -> Option<Binaries> {
        find().ok().flatten()
    }

    /// As [`find`](Binaries::find); where there is nothing, fetches Postgres (15 MB) and keeps it.
    ///
    /// Concurrent calls, in other processes too, fetch once.
    ///
    /// # Errors
    /// If `PG_BIN` is set but of no use; if nothing was found and fetching failed.
    pub async fn find_or_fetch(
        progress: impl Fn(FetchProgress) + Send + Sync,
    ) -> Result<Binaries, Error> {
        if let Some(found) = blocking(find).await? {
            return Ok(found);
        }
        let user = User::for_server()?;
        fetch::fetch_into(&places::cache(user.as_ref())?, progress).await
    }

    /// Fetches into `cache` whatever the machine has, unless it was fetched there before.
    ///
    /// # Errors
    /// If it cannot be fetched, or what was fetched does not run here.
    pub async fn fetch_into(
        cache: &Path,
        progress: impl Fn(FetchProgress) + Send + Sync,
    ) -> Result<Binaries, Error> {
        fetch::fetch_into(cache, progress).await
    }

    /// The programs in this one folder.
    ///
    /// # Errors
    /// Says why they are of no use.
    pub fn in_folder(bin_dir: &Path) -> Result<Binaries, Error> {
        let user = User::for_server()?;
        usable(bin_dir, user.as_ref())
            .map_err(|cause| Error::UnusableBinaries { path: bin_dir.to_owned(), cause })
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

fn find() -> Result<Option<Binaries>, Error> {
    let user = User::for_server()?;
    if let Some(named) = env::var_os("PG_BIN").filter(|named| !named.is_empty()) {
        let path = PathBuf::from(named);
        return match usable(&path, user.as_ref()) {
            Ok(found) => Ok(Some(found)),
            Err(cause) => Err(Error::PgBin { path, cause }),
        };
    }
    let mut folders = debian(Path::new("/usr/lib/postgresql"));
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    if let Ok(cache) = places::cache(user.as_ref()) {
        folders.push(fetch::home(&cache).join("bin"));
    }
    Ok(folders
        .iter()
        // Cheap before dear: most folders of a PATH have no Postgres.
        .filter(|folder| folder.join("postgres").is_file())
        .find_map(|folder| usable(folder, user.as_ref()).ok()))
}

/// Debian's folders, one a version, from the newest down.
fn debian(top: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<u32> = fs::read_dir(top)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|version| top.join(version.to_string()).join("bin")).collect()
}

/// Runs both programs, as the user that will: a folder can be closed, an architecture foreign.
fn usable(folder: &Path, user: Option<&User>) -> Result<Binaries, String> {
    let said = version_of(&folder.join("postgres"), user)?;
    version_of(&folder.join("initdb"), user)?;
    let (version, release) =
        parse_version(&said).ok_or_else(|| format!("`postgres --version` says {said:?}"))?;
    if version < OLDEST {
        return Err(format!("that is Postgres {release}, and {OLDEST} is the oldest that will do"));
    }
    let bin_dir = fs::canonicalize(folder).map_err(|error| error.to_string())?;
    Ok(Binaries { bin_dir, version, release })
}

fn version_of(program: &Path, user: Option<&User>) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").current_dir("/");
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    let output =
        command.output().map_err(|error| format!("{} does not run: {error}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} does not run: {}", program.display(), said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`, also `18beta1`.
fn parse_version(said: &str) -> Option<(u32, String)> {
    let release = said.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
    let digits = release.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((digits.parse().ok()?, release.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let read =
            |said| parse_version(said).map(|(version, release)| format!("{version} {release}"));
        assert_eq!(
            read("postgres (PostgreSQL) 15.18 (Debian 15.18-0)").as_deref(),
            Some("15 15.18")
        );
        assert_eq!(read("postgres (PostgreSQL) 19beta1").as_deref(), Some("19 19beta1"));
        assert_eq!(read("something else"), None);
    }

    #[test]
    fn debian_folders_come_newest_first() {
        let top = tempfile::tempdir().unwrap();
        for version in ["9", "15", "18", "common"] {
            fs::create_dir(top.path().join(version)).unwrap();
        }
        let names: Vec<_> = debian(top.path())
            .iter()
            .map(|folder| folder.strip_prefix(top.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["18/bin", "15/bin", "9/bin"]);
    }

    #[test]
    fn a_folder_of_no_use_says_why() {
        let top = tempfile::tempdir().unwrap();
        let error = Binaries::in_folder(top.path()).unwrap_err().to_string();
        assert!(error.contains(&top.path().display().to_string()), "{error}");
        assert!(error.contains("does not run"), "{error}");
    }
}
