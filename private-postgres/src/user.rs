//! Postgres refuses root: whom to run it as, and which folders that user can reach.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::Error;

/// The user that the server runs as when we are root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// `None`: we are not root, and the server runs as we do.
    pub(crate) fn for_server() -> Result<Option<User>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::parse(&passwd, name))
            .map(Some)
            .ok_or(Error::NoServerUser)
    }

    /// A uid without an entry is no use: initdb wants to know its own name.
    fn parse(passwd: &str, name: &str) -> Option<User> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(User { name: name.to_owned(), uid, gid })
        })
    }

    /// The first folder on the way to `path`, itself included, that this user cannot go through.
    pub(crate) fn closed_on_the_way(&self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        let mut way: Vec<_> = path.ancestors().collect();
        way.reverse();
        way.into_iter()
            .find(|folder| {
                fs::metadata(folder).is_ok_and(|at| {
                    let bit = match () {
                        () if at.uid() == self.uid => 0o100,
                        () if at.gid() == self.gid => 0o010,
                        () => 0o001,
                    };
                    at.is_dir() && at.mode() & bit == 0
                })
            })
            .map(Path::to_owned)
    }
}

/// Fails if the server's user could not reach `path`.
pub(crate) fn check_reachable(path: &Path, user: Option<&User>) -> Result<(), Error> {
    match user.and_then(|user| Some((user, user.closed_on_the_way(path)?))) {
        Some((user, closed)) => {
            Err(Error::Unreachable { path: path.to_owned(), closed, user: user.name.clone() })
        }
        None => Ok(()),
    }
}

/// Gives `path` to the server's user.
pub(crate) fn give(path: &Path, user: Option<&User>) -> Result<(), Error> {
    match user {
        Some(user) => {
            chown(path, Some(user.uid), Some(user.gid)).map_err(Error::path("give away", path))
        }
        None => Ok(()),
    }
}

/// Makes a folder of ours with this mode whatever the umask, and its parents as usual. A folder
/// that someone else made there, as anyone can in /tmp, is refused.
pub(crate) fn own_folder(path: &Path, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::path("make the folder", path))?;
    let at = fs::symlink_metadata(path).map_err(Error::path("read", path))?;
    if at.uid() != rustix::process::geteuid().as_raw() || !at.is_dir() {
        let source = std::io::Error::other("it is another user's");
        return Err(Error::Path { doing: "use", path: path.to_owned(), source });
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(Error::path("set the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwd_is_read_by_whole_names() {
        let passwd = "postgresql:x:1:2::/:/bin/sh\npostgres:x:101:104:a,b:/var:/bin/bash\n";
        let user = User { name: "postgres".into(), uid: 101, gid: 104 };
        assert_eq!(User::parse(passwd, "postgres"), Some(user));
        assert_eq!(User::parse(passwd, "nobody"), None);
    }

    #[test]
    fn a_closed_folder_on_the_way_is_found() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        // A user that is neither the owner nor of the group.
        let stranger = User { name: "x".into(), uid: 4_000_000, gid: 4_000_000 };
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(stranger.closed_on_the_way(&inner).as_deref(), Some(top.path()));
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(stranger.closed_on_the_way(&inner), None);
    }
}
