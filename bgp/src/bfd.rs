//! What the speaker is told of a neighbour's BFD session (RFC 5882). The session itself is another crate's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a neighbour's session hangs on BFD.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BfdPolicy {
    /// No session before BFD is Up. Otherwise BFD has [`BfdPolicy::WAIT`] to come up, and the session does without it then.
    pub strict: bool,
}

impl BfdPolicy {
    /// How long a session waits for BFD that need not be there. After our own restart the neighbour's BFD still thinks that
    /// it is Up with us; it takes one exchange of packets to go down and up again, and to the neighbour that is a failure of
    /// whatever session there is by then.
    pub const WAIT: Duration = Duration::from_secs(1);

    /// How long the first session of a life waits after BFD has come up: FRR 8.4 was seen to reset it for the failure before, of
    /// which its BGP heard late.
    pub const SETTLE: Duration = Duration::from_millis(500);
}

/// What BFD says of the way to a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BfdState {
    /// No contact, or none yet.
    #[default]
    Down,
    /// Both ways work.
    Up,
    /// The neighbour's operator took it down, which says nothing about the way (RFC 5882 section 3.2).
    RemoteAdminDown,
}

/// How a neighbour's BFD session is. Each status says all that earlier ones said, so only the last has to arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BfdStatus {
    /// How it is.
    pub state: BfdState,
    /// When it last failed: went from Up to Down, and no operator did it. A connection that was opened later is not touched by
    /// it, however late the word of it comes.
    pub failed_at: Option<Duration>,
    /// The neighbour's C bit: its BFD lives on when its control plane dies, so a failure is one of the way (RFC 5882 section
    /// 4.3).
    pub control_plane_independent: bool,
    /// The neighbour said Down without a diagnostic (RFC 5880 section 4.1), or with the one that we had said so first, which we had
    /// not: it is not that its BFD lost us, it began anew.
    pub began_anew: bool,
}

impl BfdStatus {
    /// Whether a session may begin whatever the policy.
    pub(crate) const fn lets_pass(&self) -> bool {
        matches!(self.state, BfdState::Up | BfdState::RemoteAdminDown)
    }
}
