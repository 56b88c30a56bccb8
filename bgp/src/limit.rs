//! How many prefixes a neighbour may send (RFC 4271 section 6.7, RFC 4486 section 4).
//!
//! Every path held in Adj-RIB-In counts, also one that the import policy refused: it takes memory all the same.

use std::fmt;
use std::time::Duration;

use petiole_prefix::Family;
use serde::{Deserialize, Serialize};

/// What a neighbour may send, each family counted for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MaxPrefix {
    /// The most prefixes; at least 1.
    pub limit: u32,
    /// From how many percent of the limit on a warning is given; 1 to 100.
    pub warn_at: u8,
    /// What follows when there are more.
    pub action: OverLimit,
}

/// What follows when a neighbour sends more than it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverLimit {
    /// It is said, and nothing else.
    Warn,
    /// The session ends (Cease 6/1), and another one is tried after this time.
    Restart {
        /// How long the neighbour is left alone.
        after: Duration,
    },
    /// The session ends (Cease 6/1), and the neighbour is left alone until an operator clears it.
    Idle,
}

/// Where a count stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitLevel {
    /// Far below the limit.
    #[default]
    Fine,
    /// Near it.
    Near,
    /// Over it.
    Over,
}

impl MaxPrefix {
    /// From how many prefixes on a warning is given.
    #[must_use]
    pub fn warns_from(&self) -> u64 {
        (u64::from(self.limit) * u64::from(self.warn_at)).div_ceil(100)
    }

    /// Where a count stands, when it stood at `before`. A level is left only a sixteenth below where it begins, so that a
    /// count that trembles there is reported once.
    pub(crate) fn level(&self, count: u64, before: LimitLevel) -> LimitLevel {
        let begins = |level| match level {
            LimitLevel::Fine => 0,
            LimitLevel::Near => self.warns_from(),
            LimitLevel::Over => u64::from(self.limit) + 1,
        };
        let stays = |level: LimitLevel| count >= begins(level).saturating_sub(begins(level).div_ceil(16));
        let now = [LimitLevel::Over, LimitLevel::Near].into_iter().find(|level| count >= begins(*level));
        let now = now.unwrap_or_default();
        // Over is exact: what is said of a limit must hold.
        match before {
            LimitLevel::Near if now < before && stays(before) => before,
            LimitLevel::Fine | LimitLevel::Near | LimitLevel::Over => now,
        }
    }
}

/// How a neighbour uses its limit in one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PrefixUsage {
    /// The family.
    pub family: Family,
    /// Paths held.
    pub count: u64,
    /// The most there may be.
    pub limit: u32,
    /// Where that stands.
    pub level: LimitLevel,
}

impl fmt::Display for PrefixUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, count, limit, level } = self;
        match level {
            LimitLevel::Fine => write!(f, "{count} {family} prefixes, of {limit} at most (max_prefix)"),
            LimitLevel::Near => write!(f, "{count} {family} prefixes, which is near its limit of {limit} (max_prefix)"),
            LimitLevel::Over => write!(f, "{count} {family} prefixes, which is over its limit of {limit} (max_prefix)"),
        }
    }
}
