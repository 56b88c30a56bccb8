//! Why a path is used, or is not.

use std::fmt;

use serde::Serialize;

/// What became of a path. Stored beside it, one octet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// Not compared yet. Never seen from outside.
    Undecided,
    /// Used, and the best.
    Best,
    /// Used beside the best, with equal cost.
    Multipath,
    /// Lost: we originate this prefix ourselves, and local beats learned.
    LostToLocal,
    /// Lost: its session, or one on its way, ended long ago (RFC 9494 section 4.3).
    LostAsLongLived,
    /// Lost: a longer AS path (RFC 4271 section 9.1.2.2 a).
    LostByAsPathLength,
    /// Lost: a worse origin (9.1.2.2 b).
    LostByOrigin,
    /// Lost: a higher MED from the same neighbouring AS (9.1.2.2 c).
    LostByMed,
    /// Rejected: our own AS is in the path (9.1.2).
    RejectedOwnAs,
    /// Rejected: the path does not begin with the peer's AS (6.3).
    RejectedFirstAs,
    /// Rejected: the next hop is not a unicast address a neighbour can have (6.3, 5.1.3).
    RejectedMartianNextHop,
    /// Rejected: the next hop is an address of ours (5.1.3).
    RejectedOwnNextHop,
    /// Rejected: the destination is not routable unicast.
    RejectedMartianPrefix,
}

impl Reason {
    /// Whether the path is in use.
    #[must_use]
    pub const fn is_used(self) -> bool {
        matches!(self, Self::Best | Self::Multipath)
    }

    /// Whether the import policy refused the path, whatever others there are.
    #[must_use]
    pub const fn is_rejected(self) -> bool {
        matches!(
            self,
            Self::RejectedOwnAs
                | Self::RejectedFirstAs
                | Self::RejectedMartianNextHop
                | Self::RejectedOwnNextHop
                | Self::RejectedMartianPrefix
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undecided => "not compared yet",
            Self::Best => "best",
            Self::Multipath => "used beside the best, with equal cost",
            Self::LostToLocal => "not used: this prefix is our own, and local beats learned",
            Self::LostAsLongLived => "not used: it is kept from a session that ended long ago, and another path is not",
            Self::LostByAsPathLength => "not used: another path is shorter",
            Self::LostByOrigin => "not used: another path has a better origin",
            Self::LostByMed => "not used: another path from the same AS has a lower MED",
            Self::RejectedOwnAs => "rejected: our own AS is in its path",
            Self::RejectedFirstAs => "rejected: its path does not begin with the peer's AS",
            Self::RejectedMartianNextHop => "rejected: its next hop is no address a neighbour can have",
            Self::RejectedOwnNextHop => "rejected: its next hop is an address of ours",
            Self::RejectedMartianPrefix => "rejected: its destination is not routable unicast",
        })
    }
}
