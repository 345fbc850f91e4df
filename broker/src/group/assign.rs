//! Who takes which partition: a pure rule that every member applies to what it sees.
//!
//! There is no coordinator. Members that see the same agree; members that see different
//! things may claim the same partition, and then one of them loses the claim. Each member
//! moves towards its fair share and never beyond, so the group comes to rest as soon as
//! nothing changes, and what is balanced does not move.

/// What one member should do, as indices into `owners`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    pub claim: Vec<usize>,
    pub release: Vec<usize>,
}

/// `owners` says for each partition who of the `members` owns it, `None` where it is free or
/// its owner is dead. `me` is one of the `members`.
pub(crate) fn moves(me: i32, members: &[i32], owners: &[Option<i32>]) -> Moves {
    let mine: Vec<usize> = (0..owners.len()).filter(|i| owners[*i] == Some(me)).collect();
    let (share, rank) = fair_share(me, members, owners);
    if mine.len() > share {
        return Moves { claim: Vec::new(), release: mine[share..].to_vec() };
    }
    let mut free: Vec<usize> = (0..owners.len()).filter(|i| owners[*i].is_none()).collect();
    if !free.is_empty() {
        // Members that start together would otherwise all reach for the same ones.
        let start = rank * share % free.len();
        free.rotate_left(start);
        free.truncate(share - mine.len());
    }
    Moves { claim: free, release: Vec::new() }
}

/// How many partitions `me` may own, and its rank. Where the partitions do not divide
/// evenly, the one more goes to those who own the most already: nothing moves for it.
fn fair_share(me: i32, members: &[i32], owners: &[Option<i32>]) -> (usize, usize) {
    let owned = |member: i32| owners.iter().filter(|owner| **owner == Some(member)).count();
    let mut ranked: Vec<(std::cmp::Reverse<usize>, i32)> =
        members.iter().map(|member| (std::cmp::Reverse(owned(*member)), *member)).collect();
    ranked.sort_unstable();
    ranked.dedup();
    let rank = ranked.iter().position(|(_, member)| *member == me).unwrap_or(ranked.len());
    let count = ranked.len().max(1);
    (owners.len() / count + usize::from(rank < owners.len() % count), rank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_member_takes_all_and_gives_half_away() {
        assert_eq!(moves(1, &[1], &[None; 4]).claim, [0, 1, 2, 3]);
        let owners = [Some(1); 4];
        assert_eq!(moves(1, &[1, 2], &owners).release, [2, 3]);
        assert_eq!(moves(2, &[1, 2], &owners), Moves::default());
        assert_eq!(moves(2, &[1, 2], &[Some(1), Some(1), None, None]).claim.len(), 2);
    }

    #[test]
    fn more_members_than_partitions_sit_idle() {
        assert_eq!(moves(3, &[1, 2, 3], &[Some(1), Some(2)]), Moves::default());
    }

    fn group() -> impl Strategy<Value = (Vec<i32>, Vec<Option<i32>>)> {
        (1..12i32, 0..40usize).prop_flat_map(|(members, partitions)| {
            let owner = proptest::option::of(0..members + 3);
            (Just((0..members).collect()), proptest::collection::vec(owner, partitions))
        })
    }

    /// As `moves` sees it: an owner that is no member is dead.
    fn seen(members: &[i32], owners: &[Option<i32>]) -> Vec<Option<i32>> {
        owners.iter().map(|owner| owner.filter(|owner| members.contains(owner))).collect()
    }

    proptest! {
        /// Members that act one after another on views as old as a whole round come to rest
        /// with every partition owned and nobody more than one ahead; then nothing moves.
        #[test]
        fn a_group_comes_to_rest_in_balance((members, mut owners) in group(), order in any::<u64>()) {
            let mut rounds = 0;
            loop {
                let stale = seen(&members, &owners);
                let mut moved = false;
                for i in 0..members.len() {
                    let me = members[(i + order as usize) % members.len()];
                    let plan = moves(me, &members, &stale);
                    moved |= plan != Moves::default();
                    for p in plan.release {
                        prop_assert_eq!(owners[p], Some(me));
                        owners[p] = None;
                    }
                    for p in plan.claim {
                        // The claim's row has one winner.
                        if owners[p] == stale[p] || !members.contains(&owners[p].unwrap_or(-1)) {
                            owners[p] = Some(me);
                        }
                    }
                }
                if !moved {
                    break;
                }
                rounds += 1;
                prop_assert!(rounds < 100, "still moving");
            }
            let counts: Vec<usize> = members.iter().map(|m| owners.iter().filter(|o| **o == Some(*m)).count()).collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), owners.len());
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
        }

        /// A member that leaves moves nobody's partition but its own.
        #[test]
        fn a_death_moves_only_what_the_dead_owned(members in 2..10i32, partitions in 1..40usize) {
            let all: Vec<i32> = (0..members).collect();
            let owners: Vec<_> = (0..partitions).map(|p| Some(p as i32 % members)).collect();
            let left = &all[..all.len() - 1];
            for me in left {
                prop_assert_eq!(moves(*me, left, &seen(left, &owners)).release, Vec::<usize>::new());
            }
        }
    }
}
