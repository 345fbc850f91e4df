//! What an engine promises, as data: the conformance suite runs from this list against a real
//! server, and writes the table that the documentation shows.

/// A promise of an engine's, kept or expressly not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Promise {
    /// What it is called.
    pub name: &'static str,
    /// Whether the engine gives it. `tests/conformance.rs` tries each that is given.
    pub given: bool,
    /// What it means, or why it is not given.
    pub means: &'static str,
}

const fn given(name: &'static str, means: &'static str) -> Promise {
    Promise { name, given: true, means }
}

const fn not_given(name: &'static str, means: &'static str) -> Promise {
    Promise { name, given: false, means }
}

/// What the log in Postgres promises.
pub const POSTGRES: &[Promise] = &[
    given("durable", "what `publish` returned for survives a crash of the server"),
    given(
        "transactional publish",
        "records are in the log if and only if the transaction with your rows commits",
    ),
    given(
        "dense offsets",
        "a partition's offsets are 0, 1, 2, … without a gap, whatever is rolled back",
    ),
    given(
        "order by key",
        "records of one key are read in the order of the changes that they tell of",
    ),
    given("every group", "each group reads every record, at its own speed"),
    given(
        "exactly-once effects",
        "what a handler writes through its transaction happens once, whoever dies and whenever",
    ),
    given("one owner", "of two members that hold a partition, only the newer one can commit"),
    given("takeover", "the partitions of a member that dies go to the others"),
    given(
        "isolation of bad records",
        "a record that cannot be handled is diverted; those beside it are handled once",
    ),
    given("replay", "a group goes back to any offset or time that is kept"),
    given("no silent skip", "a group whose next record was deleted is told so"),
    given(
        "nobody waits",
        "a slow group, or a transaction that is left open, holds back no producer and no other group",
    ),
    given(
        "rights",
        "a role publishes to and consumes the topics that it was granted, and no other",
    ),
    given(
        "one log over restores",
        "a dump restored elsewhere goes on without a gap, under a new log id",
    ),
    not_given(
        "exactly once outside",
        "what leaves the database (mail, HTTP) is at least once: give it a stable id",
    ),
    not_given("order across partitions", "there is none; use one key, or one partition"),
    not_given(
        "own replication",
        "the log is as available as its Postgres: add a synchronous standby there",
    ),
    not_given("beyond one machine", "all partitions share one primary; Apache Kafka spreads them"),
];
