//! What an operator asks and does, as [`Broker`](crate::Broker)'s methods: topics, groups, dead
//! letters, retention, and whether all is well.

mod dead_letters;
mod groups;
mod retention;
mod topics;
mod trail;

pub use dead_letters::{DeadLetter, Redrive};
pub use groups::{Place, Position, Seek};
pub(crate) use retention::keep;
pub use retention::{Kept, Retention};
pub use topics::{PartitionInfo, Privilege, TopicInfo};
pub use trail::{Commit, Passed, Trail};
