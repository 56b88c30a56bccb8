//! The single home of ordering between components.
//!
//! | rule | why |
//! |---|---|
//! | nothing of ours is swept before the store, or the leaves, are in sync; learned routes a moment later | a stale or empty view must not remove what is in use |
//! | End-of-RIB waits for the last known good state and one verdict per health gate, else for the store, at most 10 s | a leaf that restarts us gracefully drops what is missing at End-of-RIB |
//! | what is withdrawn stays in the kernel for a second | leaves need a moment to stop sending |
//!
//! That an announcement waits for the kernel is [`desired`](crate::desired)'s reason `not_in_kernel`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use petiole_dataplane::Sweep;
use petiole_prefix::Prefix;

/// How long a node without saved state waits for its store before it says End-of-RIB.
pub const END_OF_RIB_WAIT: Duration = Duration::from_secs(10);

/// How long learned routes of a former life are kept while leaves are not in sync.
pub const LEAVES_WAIT: Duration = Duration::from_secs(90);

/// How long leaves must have been in sync before learned routes of a former life are swept: FRR 8.4 was seen to send End-of-RIB
/// two seconds before its first routes, when it had just started itself.
pub const LEAVES_SETTLE: Duration = Duration::from_secs(10);

/// How long the kernel keeps what was withdrawn.
pub const LINGER: Duration = Duration::from_secs(1);

/// What the rules look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conditions {
    /// The store's watch is complete and current, in this life. Last known good does not count.
    pub store_in_sync: bool,
    /// Saved state of the same boot is in use.
    pub resumed: bool,
    /// Every health gate has a verdict.
    pub gates_decided: bool,
    /// Every configured leaf is Established and has sent End-of-RIB for every family.
    pub leaves_in_sync: bool,
    /// The kernel's mirror is complete.
    pub mirrored: bool,
}

/// Where the ordering stands.
#[derive(Debug)]
pub struct Order {
    start: Duration,
    end_of_rib: bool,
    own_swept: bool,
    learned_swept: bool,
    in_sync_since: Option<Duration>,
    lingering: BTreeMap<Prefix, Duration>,
}

impl Order {
    /// Nothing is allowed yet.
    #[must_use]
    pub const fn new(start: Duration) -> Self {
        Self {
            start,
            end_of_rib: false,
            own_swept: false,
            learned_swept: false,
            in_sync_since: None,
            lingering: BTreeMap::new(),
        }
    }

    /// What may be swept from now on, each once.
    pub fn allow_sweeps(&mut self, is: Conditions, now: Duration) -> Vec<Sweep> {
        let mut allowed = Vec::new();
        if !is.mirrored {
            return allowed;
        }
        if !self.own_swept && is.store_in_sync {
            self.own_swept = true;
            allowed.extend([Sweep::Addresses, Sweep::Static]);
        }
        self.in_sync_since = is.leaves_in_sync.then(|| self.in_sync_since.unwrap_or(now));
        let settled = self.in_sync_since.is_some_and(|since| now >= since + LEAVES_SETTLE);
        if !self.learned_swept && (settled || now >= self.start + LEAVES_WAIT) {
            self.learned_swept = true;
            allowed.push(Sweep::Learned);
        }
        allowed
    }

    /// Whether End-of-RIB may go out now; `true` once.
    pub fn release_end_of_rib(&mut self, is: Conditions, now: Duration) -> bool {
        let complete = (is.resumed || is.store_in_sync) && is.gates_decided;
        if self.end_of_rib || !(complete || now >= self.start + END_OF_RIB_WAIT) {
            return false;
        }
        self.end_of_rib = true;
        true
    }

    /// Whether End-of-RIB was released.
    #[must_use]
    pub const fn end_of_rib_released(&self) -> bool {
        self.end_of_rib
    }

    /// The prefixes whose kernel state must not go away: what is wanted, and what was withdrawn less than a moment ago.
    pub fn keep(&mut self, wanted: &BTreeSet<Prefix>, withdrawn: &BTreeSet<Prefix>, now: Duration) -> BTreeSet<Prefix> {
        for prefix in withdrawn {
            self.lingering.insert(*prefix, now + LINGER);
        }
        self.lingering.retain(|prefix, until| *until > now && !wanted.contains(prefix));
        wanted.iter().chain(self.lingering.keys()).copied().collect()
    }

    /// When the rules want to be asked again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let end_of_rib = (!self.end_of_rib).then(|| self.start + END_OF_RIB_WAIT);
        let settled = self.in_sync_since.map_or(Duration::MAX, |since| since + LEAVES_SETTLE);
        let leaves = (!self.learned_swept).then(|| settled.min(self.start + LEAVES_WAIT));
        end_of_rib.into_iter().chain(leaves).chain(self.lingering.values().copied()).min()
    }
}

#[cfg(test)]
mod tests;
