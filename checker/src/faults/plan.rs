//! What is done when, all from one seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// What can be done to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Fault {
    /// A producer, with -9.
    KillProducer,
    /// A member of the group, with -9.
    KillMember,
    /// Whichever process holds the sequencer's lease, with -9.
    KillSequencer,
    /// A producer stands still for seconds.
    StopProducer,
    /// A member stands still in the middle of a batch until its partitions are others'; then it
    /// goes on, and must be fenced.
    StopMember,
    /// The holder of the sequencer's lease stands still until another has sequenced.
    StopSequencer,
    /// Postgres in immediate mode, and started again.
    CrashPostgres,
    /// Sessions of the processes, at random.
    TerminateBackends,
    /// A session that is in its COMMIT.
    TerminateCommit,
    /// A transaction with an xid is left open while other faults go on.
    IdleTransaction,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 10] = [
        Fault::KillProducer,
        Fault::KillMember,
        Fault::KillSequencer,
        Fault::StopProducer,
        Fault::StopMember,
        Fault::StopSequencer,
        Fault::CrashPostgres,
        Fault::TerminateBackends,
        Fault::TerminateCommit,
        Fault::IdleTransaction,
    ];

    /// Its name in reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillProducer => "kill-producer",
            Fault::KillMember => "kill-member",
            Fault::KillSequencer => "kill-sequencer",
            Fault::StopProducer => "stop-producer",
            Fault::StopMember => "stop-member",
            Fault::StopSequencer => "stop-sequencer",
            Fault::CrashPostgres => "crash-postgres",
            Fault::TerminateBackends => "terminate-backends",
            Fault::TerminateCommit => "terminate-commit",
            Fault::IdleTransaction => "idle-transaction",
        }
    }
}

/// One line of the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// What.
    pub fault: Fault,
    /// How long all is left alone before it.
    pub after: Duration,
    /// How long it lasts, where it lasts.
    pub hold: Duration,
    /// Which of those whom it may hit.
    pub pick: usize,
}

/// The schedule of a seed: rounds of all `kinds`, each in an order of its own.
pub fn plan(seed: u64, faults: usize, kinds: &[Fault]) -> Vec<Planned> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut planned = Vec::with_capacity(faults);
    while planned.len() < faults && !kinds.is_empty() {
        let mut round = kinds.to_vec();
        round.shuffle(&mut rng);
        planned.extend(round.into_iter().map(|fault| Planned {
            fault,
            after: Duration::from_millis(rng.random_range(300..2500)),
            hold: Duration::from_millis(rng.random_range(1000..4000)),
            pick: rng.random_range(0..1000),
        }));
    }
    planned.truncate(faults);
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_schedule_with_every_kind_in_it() {
        let schedule = plan(7, 25, &Fault::ALL);
        assert_eq!(schedule, plan(7, 25, &Fault::ALL));
        assert_ne!(schedule, plan(8, 25, &Fault::ALL));
        assert_eq!(schedule.len(), 25);
        for kind in Fault::ALL {
            assert!(schedule[..10].iter().any(|planned| planned.fault == kind), "{kind:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_command_line() {
        use clap::ValueEnum;
        for kind in Fault::ALL {
            assert_eq!(Fault::from_str(kind.name(), false), Ok(kind));
        }
    }
}
