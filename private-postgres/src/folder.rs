//! The data folder and what lies beside it: made once, found again, one owner at a time.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::binaries::Binaries;
use crate::user::{User, check_reachable, give};
use crate::{Error, leftover};

/// A data folder that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) data: PathBuf,
    pub(crate) password: String,
    pub(crate) user: Option<User>,
    /// Whether this server knows lz4: Debian's do, the fetched ones for Linux do not.
    pub(crate) lz4: bool,
    /// Held as long as the server may run, so that no other process takes it for a leftover.
    _lock: File,
}

impl Folder {
    /// Takes the folder, ends a server that an earlier run left on it, and makes it if it is new.
    pub(crate) fn prepare(
        binaries: &Binaries,
        data: &Path,
        durable: bool,
    ) -> Result<Folder, Error> {
        let data = std::path::absolute(data).map_err(Error::path("use", data))?;
        let user = User::for_server()?;
        let parent = data.parent().unwrap_or(&data);
        fs::create_dir_all(parent).map_err(Error::path("make the folder", parent))?;
        check_reachable(parent, user.as_ref())?;
        let lock = take(&data)?;
        leftover::end(&data)?;
        let user = user.as_ref();
        let password = match fs::read_to_string(data.join("PG_VERSION")) {
            Ok(found) => known(binaries, &data, found.trim())?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(binaries, &data, user, durable)?
            }
            Err(error) => return Err(Error::path("read", &data)(error)),
        };
        let lz4 = knows_lz4(binaries, &data, user)?;
        Ok(Folder { data, password, user: user.cloned(), lz4, _lock: lock })
    }
}

/// `data` → `data.password`: beside the folder, since Postgres wants that for itself.
pub(crate) fn beside(data: &Path, what: &str) -> PathBuf {
    let mut name = data.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    data.with_file_name(name)
}

fn take(data: &Path) -> Result<File, Error> {
    let path = beside(data, "lock");
    let lock = File::create(&path).map_err(Error::path("write", &path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse(data.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(Error::path("lock", &path)(error)),
    }
}

/// The password of a data folder that is there already.
fn known(binaries: &Binaries, data: &Path, version: &str) -> Result<String, Error> {
    if version != binaries.version.to_string() {
        let found = version.to_owned();
        return Err(Error::OtherVersion { path: data.to_owned(), found, have: binaries.version });
    }
    let path = beside(data, "password");
    match fs::read_to_string(&path) {
        Ok(password) => Ok(password.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::PasswordMissing(path)),
        Err(error) => Err(Error::path("read", &path)(error)),
    }
}

/// Makes the data folder under another name first: one that is there is complete.
fn make(
    binaries: &Binaries,
    data: &Path,
    user: Option<&User>,
    durable: bool,
) -> Result<String, Error> {
    if fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::NotADataFolder(data.to_owned()));
    }
    let new = beside(data, "new");
    if new.exists() {
        fs::remove_dir_all(&new).map_err(Error::path("remove", &new))?;
    }
    fs::create_dir(&new).map_err(Error::path("make the folder", &new))?;
    fs::set_permissions(&new, Permissions::from_mode(0o700))
        .map_err(Error::path("set the mode of", &new))?;
    give(&new, user)?;
    let (password, pwfile) = write_password(data, user)?;

    let initdb = binaries.program("initdb");
    let mut command = as_user(&initdb, user);
    command.arg("-D").arg(&new).arg("--pwfile").arg(&pwfile);
    command.args(["-U", "postgres", "--auth=scram-sha-256", "-E", "UTF8", "--locale=C"]);
    if binaries.version >= 17 {
        // Code points sort as in C, and upper() still knows what an umlaut is.
        command.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
    }
    if !durable {
        command.arg("--no-sync");
    }
    let output = command.output().map_err(Error::run(&initdb))?;
    if !output.status.success() {
        return Err(Error::InitDb { path: data.to_owned(), output: said(&output) });
    }
    fs::rename(&new, data).map_err(Error::path("make the folder", data))?;
    Ok(password)
}

fn write_password(data: &Path, user: Option<&User>) -> Result<(String, PathBuf), Error> {
    let path = beside(data, "password");
    let password = format!("{:032x}", rand::random::<u128>());
    // A file of an initdb that did not come to its end.
    let _ = fs::remove_file(&path);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(password.as_bytes()))
        .map_err(Error::path("write", &path))?;
    give(&path, user)?;
    Ok((password, path))
}

/// `pg_settings.enumvals` would tell, but only once the server runs.
fn knows_lz4(binaries: &Binaries, data: &Path, user: Option<&User>) -> Result<bool, Error> {
    let postgres = binaries.program("postgres");
    let mut command = as_user(&postgres, user);
    command.arg("-D").arg(data).args(["-C", "default_toast_compression"]);
    command.args(["-c", "default_toast_compression=lz4"]);
    Ok(command.output().map_err(Error::run(&postgres))?.status.success())
}

/// A command as the server's user, with nothing of our own surroundings: the folder that we run
/// in may be closed to it, and Postgres listens to variables such as PGDATA.
fn as_user(program: &Path, user: Option<&User>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").env("LC_ALL", "C");
    for name in PG_VARIABLES {
        command.env_remove(name);
    }
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// What the server's programs would read of the environment, and shall not.
pub(crate) const PG_VARIABLES: [&str; 5] =
    ["PGDATA", "PGPORT", "PGOPTIONS", "PGCLIENTENCODING", "PGDATESTYLE"];

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    errors.trim().to_owned()
}
