//! The real binary against a real log.
#![allow(clippy::unwrap_used)]

mod common;
mod consume;
mod failures;
mod group;
mod operate;
mod produce;
mod readme;
mod topics;
