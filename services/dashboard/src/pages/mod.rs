//! The pages, a file each; their templates stand in `templates/`.

pub mod analytics;
pub mod assets;
pub mod break_it;
pub mod dead_letters;
pub mod filter;
pub mod groups;
pub mod home;
pub mod passport;
pub mod plot;
pub mod records;
pub mod topics;
