//! The dashboard as a whole: over HTTP, against a real Postgres, as its own role.
#![allow(clippy::unwrap_used)]

mod changes;
mod live;
mod logs;
mod pages;
mod timeline;
mod world;
