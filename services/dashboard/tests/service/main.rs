//! The dashboard as a whole: over HTTP, against a real Postgres, as its own role.
#![allow(clippy::unwrap_used)]

mod break_it;
mod changes;
mod delays;
mod live;
mod logs;
mod orders;
mod pages;
mod passport;
mod retention;
mod timeline;
mod world;
