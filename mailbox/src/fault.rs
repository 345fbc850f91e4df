//! Misbehaviour on demand, so that a sender's retries can be seen to work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// A way for the server to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// New connections get `421` instead of a greeting, open ones get it at
    /// their next command; then they are closed.
    RefuseConnections,
    /// Every `MAIL FROM` gets `451`.
    TempFailAll,
    /// Recipients that contain this text get `550 5.1.1`, for good.
    RejectRecipient(String),
    /// Recipients that contain this text get `450 4.2.1`, for now.
    TempFailRecipient(String),
    /// Every reply waits this long.
    Slow(Duration),
    /// The connection closes after the message's final dot, without a reply:
    /// the mail is kept, and its sender cannot know.
    DropAfterData,
}

impl Fault {
    /// This fault for the next `n` times that it would strike, then no more.
    pub fn times(self, n: u32) -> Rule {
        Rule { fault: self, left: Some(n) }
    }
}

/// A [`Fault`] and how often it strikes: always, or [`Fault::times`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    fault: Fault,
    left: Option<u32>,
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Rule { fault, left: None }
    }
}

/// The rules in force.
pub(crate) struct Faults {
    rules: Mutex<Vec<Rule>>,
    struck: AtomicU64,
    changed: Arc<watch::Sender<u64>>,
}

impl Faults {
    pub(crate) fn new(changed: Arc<watch::Sender<u64>>) -> Self {
        Faults { rules: Mutex::default(), struck: AtomicU64::new(0), changed }
    }

    /// Puts `rules` in the place of those in force.
    pub(crate) fn set(&self, rules: Vec<Rule>) {
        *self.rules() = rules;
    }

    pub(crate) fn any(&self) -> bool {
        !self.rules().is_empty()
    }

    pub(crate) fn add(&self, rule: Rule) {
        self.rules().push(rule);
    }

    /// How often a fault has struck.
    pub(crate) fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    pub(crate) fn refuses_connections(&self) -> bool {
        self.strike(|fault| *fault == Fault::RefuseConnections).is_some()
    }

    pub(crate) fn fails_all(&self) -> bool {
        self.strike(|fault| *fault == Fault::TempFailAll).is_some()
    }

    /// The fault that meets this recipient, if one does.
    pub(crate) fn for_recipient(&self, address: &str) -> Option<Fault> {
        self.strike(|fault| match fault {
            Fault::RejectRecipient(part) | Fault::TempFailRecipient(part) => {
                address.contains(part.as_str())
            }
            _ => false,
        })
    }

    pub(crate) fn delay(&self) -> Option<Duration> {
        match self.strike(|fault| matches!(fault, Fault::Slow(_))) {
            Some(Fault::Slow(delay)) => Some(delay),
            _ => None,
        }
    }

    pub(crate) fn drops_after_data(&self) -> bool {
        self.strike(|fault| *fault == Fault::DropAfterData).is_some()
    }

    fn strike(&self, meets: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let fault = {
            let mut rules = self.rules();
            let at = rules.iter().position(|rule| rule.left != Some(0) && meets(&rule.fault))?;
            let rule = &mut rules[at];
            if let Some(left) = &mut rule.left {
                *left -= 1;
            }
            let fault = rule.fault.clone();
            // A rule that is used up must not cost every later look-up.
            rules.retain(|rule| rule.left != Some(0));
            fault
        };
        self.struck.fetch_add(1, Ordering::Relaxed);
        self.changed.send_modify(|version| *version += 1);
        Some(fault)
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        // Each change of the list is one assignment: a panic leaves it whole.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
