//! The pages, a file each; their templates stand in `templates/`.

pub mod analytics;
pub mod assets;
mod backward;
pub mod break_it;
pub mod dead_letters;
mod filter;
pub mod groups;
pub mod home;
pub mod logs;
pub mod passport;
mod plot;
pub mod records;
pub mod topics;
