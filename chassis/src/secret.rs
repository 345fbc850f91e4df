//! Comparing what nobody may find out by trying.

/// Whether they are the same; takes as long whatever the difference is.
pub fn same_secret(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
