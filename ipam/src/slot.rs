//! What can be under way at once, and how failures are paced.

use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use petiole_store::Txn;

/// The first pause after a failure; doubled for each further one.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// After so many conflicts in a row the next attempt is paced.
const MAX_CONFLICTS: u32 = 16;

/// One thing to do; at most one transaction of each is under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Slot {
    /// Create the pool with this range.
    Pool(Prefix),
    /// Begin this life of the agent.
    Life,
    /// Make block and affinity agree.
    Repair(Prefix),
    /// Give an empty block back.
    Return(Prefix),
    /// Free what a forgotten node held.
    Reclaim,
    /// Claim a block.
    Claim(Family),
    /// Carry out requests.
    Requests,
}

impl Slot {
    /// In words, after "to".
    pub(crate) fn purpose(self) -> String {
        match self {
            Self::Pool(cidr) => format!("create pool {cidr}"),
            Self::Life => "write as the one agent of this node".to_owned(),
            Self::Repair(cidr) => format!("repair block {cidr}"),
            Self::Return(cidr) => format!("give back the empty block {cidr}"),
            Self::Reclaim => "free what a forgotten node held".to_owned(),
            Self::Claim(family) => format!("claim an {family} block"),
            Self::Requests => "assign or release addresses".to_owned(),
        }
    }
}

/// How a [`Slot`] fares.
#[derive(Debug, Default)]
pub(crate) struct SlotState {
    /// A transaction is under way.
    pub(crate) busy: bool,
    /// Nothing is tried before this time.
    pub(crate) not_before: Duration,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// The error of the last one.
    pub(crate) error: Option<String>,
    /// How many transactions in a row found their conditions not met.
    pub(crate) conflicts: u32,
    /// The last transaction whose conditions did not hold. The same again would fail again.
    pub(crate) last_failed: Option<Txn>,
}

impl SlotState {
    pub(crate) fn is_ready(&self, now: Duration) -> bool {
        !self.busy && self.not_before <= now
    }

    /// Counts a failure; `part` of 0 to 1 spreads the pause.
    pub(crate) fn back_off(&mut self, now: Duration, part: f64) {
        let pause = RETRY_MIN.saturating_mul(1 << self.failures.min(8)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause.mul_f64(0.5 + part / 2.0);
    }

    /// Counts a transaction whose conditions did not hold. That is nobody's failure, and the next one knows better, unless
    /// it goes on and on.
    pub(crate) fn conflicted(&mut self, txn: Txn, now: Duration, part: f64) {
        self.failures = 0;
        self.error = None;
        self.conflicts = self.conflicts.saturating_add(1);
        self.last_failed = Some(txn);
        if self.conflicts > MAX_CONFLICTS {
            self.not_before = now + RETRY_MIN.mul_f64(0.5 + part / 2.0);
        }
    }

    pub(crate) fn succeeded(&mut self) {
        self.conflicts = 0;
        self.failures = 0;
        self.not_before = Duration::ZERO;
        self.error = None;
        self.last_failed = None;
    }
}
