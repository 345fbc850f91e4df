//! The dashboard as a whole: over HTTP, against a real Postgres, as its own role.
#![allow(clippy::unwrap_used)]

mod break_it;
mod changes;
mod live;
mod pages;
mod timeline;
mod world;
