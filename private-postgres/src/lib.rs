#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod binaries;
mod error;
mod fetch;
mod folder;
mod guard;
mod leftover;
mod places;
mod ready;
mod server;
mod template;
mod test_server;
mod user;

// In the order to read it.
pub use binaries::Binaries;
pub use fetch::FetchProgress;
pub use server::{Options, Server};

pub use guard::{Guard, GuardedCommand, Signal};

pub use test_server::TestServer;

pub use error::Error;
pub use places::reachable_data_dir;
