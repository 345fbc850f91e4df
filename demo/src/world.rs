//! Where things are: the data folder, the ports, and the file that tells other commands of a
//! running system.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::database::DatabaseArgs;

/// The data folder of a run, held by one process at a time.
pub struct World {
    pub folder: PathBuf,
    _lock: File,
}

impl World {
    /// Takes the folder, making it where it is missing.
    pub fn take(folder: &Path) -> anyhow::Result<World> {
        let cannot = || {
            format!(
                "the data folder {} cannot be used: is it writable? Set --data to another",
                folder.display()
            )
        };
        fs::create_dir_all(folder).with_context(cannot)?;
        let folder = folder.canonicalize().with_context(cannot)?;
        let lock = File::create(folder.join("lock")).with_context(cannot)?;
        match lock.try_lock() {
            Ok(()) => Ok(World { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "{} is in use by a running waybill: stop that, or set --data to another",
                    folder.display()
                )
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
        }
    }

    pub fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub fn mails(&self) -> PathBuf {
        self.folder.join("mails")
    }

    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Tells other commands of this run.
    pub fn announce(&self, run: &Run) -> anyhow::Result<()> {
        // It holds the database's password.
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).truncate(true).write(true).mode(0o600);
        let file = file.open(self.folder.join("run.json")).context("run.json cannot be written")?;
        Ok(serde_json::to_writer_pretty(file, run)?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join("run.json"));
    }
}

/// A running system, as other commands find it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The database, as its owner.
    pub database_url: String,
    pub order_url: String,
    pub mailbox_url: String,
}

impl Run {
    /// The system that runs on this folder, where there is one.
    pub fn find(folder: &Path) -> Option<Run> {
        let lock = File::open(folder.join("lock")).ok()?;
        // Free: whoever wrote the file is gone.
        if lock.try_lock_shared().is_ok() {
            return None;
        }
        serde_json::from_slice(&fs::read(folder.join("run.json")).ok()?).ok()
    }
}

/// A system that no `waybill up` brought up, such as one on containers.
#[derive(Debug, Clone, clap::Args)]
pub struct Elsewhere {
    /// The order service of a system that runs elsewhere; DATABASE_URL is then its database
    #[arg(long, env = "ORDER_URL", requires = "mailbox_url")]
    order_url: Option<String>,

    /// That system's Mailpit
    #[arg(long, env = "MAILBOX_URL", requires = "order_url")]
    mailbox_url: Option<String>,
}

impl Elsewhere {
    /// The system that these settings name, or else the one that runs on the folder.
    pub fn or_on(&self, folder: &Path, database: &DatabaseArgs) -> anyhow::Result<Option<Run>> {
        let (Some(order_url), Some(mailbox_url)) = (&self.order_url, &self.mailbox_url) else {
            return Ok(Run::find(folder));
        };
        let database_url = database
            .url()?
            .context("ORDER_URL names a system; set DATABASE_URL to its database, as its owner")?;
        Ok(Some(Run {
            database_url,
            order_url: order_url.clone(),
            mailbox_url: mailbox_url.clone(),
        }))
    }
}

/// Deletes everything of all runs.
pub async fn reset(folder: &Path) -> anyhow::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let world = World::take(folder)?;
    let postgres = private_postgres::reachable_data_dir(&world.postgres())?;
    for folder in [&postgres, &world.folder] {
        if folder.exists() {
            fs::remove_dir_all(folder)
                .with_context(|| format!("{} cannot be deleted", folder.display()))?;
        }
    }
    println!("deleted {}", world.folder.display());
    Ok(())
}

/// Where everything listens, all on loopback.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    base: Option<u16>,
}

impl Ports {
    /// The usual ports, or those from `base` on.
    pub fn new(base: Option<u16>) -> Ports {
        Ports { base }
    }

    /// A service's; `usual` is 8080 to 8084.
    pub fn service(self, usual: u16) -> SocketAddr {
        self.at(usual, usual.saturating_sub(8080))
    }

    pub fn mailbox_http(self) -> SocketAddr {
        self.at(8025, 5)
    }

    pub fn mailbox_smtp(self) -> SocketAddr {
        self.at(1025, 6)
    }

    fn at(self, usual: u16, from_base: u16) -> SocketAddr {
        let port = self.base.map_or(usual, |base| base.saturating_add(from_base));
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }
}
