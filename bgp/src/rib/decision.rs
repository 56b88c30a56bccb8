//! The decision process (RFC 4271 section 9.1.2.2) over the paths of one prefix.
//!
//! All peers are external and all next hops are on a link, so that what remains of the steps is: not kept for long after
//! its session's end (RFC 9494 section 4.3), AS path length, origin, MED
//! within one neighbouring AS; what is equal after them is used together; the best of those, by router id and peer address, is
//! only a name for the route. The steps eliminate from the whole set at once: a comparison two by two would not be transitive,
//! as MEDs of different ASes don't compare, and the outcome would depend on the order of arrival.

use super::attrs::Rank;
use super::reason::Reason;

/// A path as the decision sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate<T> {
    /// From its attributes.
    pub(crate) rank: Rank,
    /// Lowest wins among equals: BGP Identifier, then peer (steps f and g). Differs between any two paths of a prefix.
    pub(crate) tie: T,
    /// The outcome. What comes in rejected stays so.
    pub(crate) reason: Reason,
}

/// Decides. `local`: we originate the prefix ourselves.
pub(crate) fn decide<T: Ord + Copy>(candidates: &mut [Candidate<T>], local: bool) {
    for c in candidates.iter_mut().filter(|c| !c.reason.is_rejected()) {
        c.reason = if local { Reason::LostToLocal } else { Reason::Multipath };
    }
    let left = |c: &Candidate<T>| c.reason == Reason::Multipath;

    if candidates.iter().any(|c| left(c) && !c.rank.long_lived) {
        for c in candidates.iter_mut().filter(|c| left(c) && c.rank.long_lived) {
            c.reason = Reason::LostAsLongLived;
        }
    }
    let shortest = candidates.iter().filter(|c| left(c)).map(|c| c.rank.hops).min();
    for c in candidates.iter_mut().filter(|c| left(c) && Some(c.rank.hops) != shortest) {
        c.reason = Reason::LostByAsPathLength;
    }
    let lowest = candidates.iter().filter(|c| left(c)).map(|c| c.rank.origin).min();
    for c in candidates.iter_mut().filter(|c| left(c) && Some(c.rank.origin) != lowest) {
        c.reason = Reason::LostByOrigin;
    }
    for i in 0..candidates.len() {
        let Rank { neighbour, med, .. } = candidates[i].rank;
        // The lowest of a neighbouring AS is beaten by none, so it is there to beat the others in whatever order.
        let beaten =
            candidates.iter().any(|other| left(other) && other.rank.neighbour == neighbour && other.rank.med < med);
        if left(&candidates[i]) && beaten {
            candidates[i].reason = Reason::LostByMed;
        }
    }
    if let Some(best) = candidates.iter_mut().filter(|c| left(c)).min_by_key(|c| c.tie) {
        best.reason = Reason::Best;
    }
}
