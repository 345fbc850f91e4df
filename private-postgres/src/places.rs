//! Where things are kept: the cache, the data, the tests' throw-away folders.

use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::user::{User, check_reachable, own_folder};

/// Others may look and go through; only we write.
const OPEN: u32 = 0o755;
const CLOSED: u32 = 0o700;

/// The first of the usual cache folders that can be made and that the server's user can reach.
pub(crate) fn cache(user: Option<&User>) -> Result<PathBuf, Error> {
    let mut places: Vec<PathBuf> = Vec::new();
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    places.extend(absolute("XDG_CACHE_HOME").map(|cache| cache.join("waybill")));
    places.extend(absolute("HOME").map(|home| home.join(".cache/waybill")));
    if user.is_some() {
        places.push(PathBuf::from("/var/cache/waybill"));
    }
    places.push(temp("waybill-cache"));
    first_usable(places, user)
}

/// Room for a test server: its data, its WAL, and what the tests write.
const TEST_ROOM: u64 = 2 << 30;

/// Where the tests' servers of this user live and die, the best place first. A file system in
/// memory makes a database in 10 ms where a disk's takes 30 to 300, even without fsync.
pub(crate) fn test_runs(user: Option<&User>) -> Result<Vec<PathBuf>, Error> {
    let name = of_us("waybill-tests");
    let memory = PathBuf::from("/dev/shm");
    let memory = memory.is_dir().then(|| first_usable(vec![memory.join(&name)], user).ok());
    let disk = first_usable(vec![temp("waybill-tests"), PathBuf::from("/tmp").join(&name)], user)?;
    Ok(memory.flatten().into_iter().chain([disk]).collect())
}

/// Whether a test server has room here. In a container, /dev/shm is often 64 MB.
pub(crate) fn has_test_room(place: &Path) -> bool {
    rustix::fs::statvfs(place).is_ok_and(|at| at.f_bavail.saturating_mul(at.f_frsize) > TEST_ROOM)
}

/// A data folder that the server can use: `wanted`, unless we are root and the server's user could
/// not reach it, as below root's home; then one below `/var/lib/waybill`, the same each time.
///
/// # Errors
/// If we are root and there is no other user to run the server as.
pub fn reachable_data_dir(wanted: &Path) -> Result<PathBuf, Error> {
    let wanted = std::path::absolute(wanted).map_err(Error::path("use", wanted))?;
    let user = User::for_server()?;
    if check_reachable(&wanted, user.as_ref()).is_ok() {
        return Ok(wanted);
    }
    // Not secret and not hostile: it only keeps two checkouts apart.
    let mut hasher = DefaultHasher::new();
    wanted.hash(&mut hasher);
    Ok(PathBuf::from(format!("/var/lib/waybill/{:016x}/data", hasher.finish())))
}

fn first_usable(places: Vec<PathBuf>, user: Option<&User>) -> Result<PathBuf, Error> {
    let mut last = None;
    for place in places {
        let mode = if user.is_some() { OPEN } else { CLOSED };
        // Look before making anything: root's own folders are no place for it.
        match check_reachable(place.parent().unwrap_or(&place), user)
            .and_then(|()| own_folder(&place, mode))
            .and_then(|()| check_reachable(&place, user))
        {
            Ok(()) => return Ok(place),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or(Error::NoServerUser))
}

fn temp(name: &str) -> PathBuf {
    env::temp_dir().join(of_us(name))
}

fn of_us(name: &str) -> String {
    format!("{name}-{}", rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_that_is_closed_to_the_servers_user_moves() {
        let closed = tempfile::tempdir().unwrap();
        let only_us = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(closed.path(), only_us).unwrap();
        let wanted = closed.path().join("data");
        let got = reachable_data_dir(&wanted).unwrap();
        if rustix::process::geteuid().is_root() {
            assert!(got.starts_with("/var/lib/waybill"), "{got:?}");
            assert_eq!(got, reachable_data_dir(&wanted).unwrap(), "the same each time");
            assert_ne!(got, reachable_data_dir(&closed.path().join("other")).unwrap());
        } else {
            assert_eq!(got, wanted);
        }
    }
}
