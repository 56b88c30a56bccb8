//! When each node of a fleet asks, so that not all of them do at once.

use std::time::Duration;

/// Somewhere between two durations, the same for the same node and round.
pub(super) fn pause(spread: u64, round: u64, from: Duration, to: Duration) -> Duration {
    let span = u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX);
    from + Duration::from_millis(mix(spread ^ mix(round)) % span.max(1))
}

/// The finalizer of SplitMix64.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
