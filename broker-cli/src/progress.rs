//! What takes long, on a terminal's standard error; nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Turns until it is dropped.
pub struct Spinner(ProgressBar);

impl Spinner {
    pub fn start(what: &'static str) -> Spinner {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Spinner(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// How much of the input is published: a bar where its size is known, else a count.
pub fn bytes(of: Option<u64>) -> ProgressBar {
    let (bar, template) = match of {
        Some(size) => (
            ProgressBar::new(size),
            "{bar:40} {bytes}/{total_bytes}, {msg} records, {bytes_per_sec}, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} records, {bytes}, {bytes_per_sec}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
