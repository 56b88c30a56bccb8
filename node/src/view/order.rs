//! Orders of operators, and what came of them.

use petiole_bgp::wire::ShutdownText;
use petiole_store::UnixNanos;
use serde::{Deserialize, Serialize};

/// What to do with one session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerOrder {
    /// End it until it is enabled.
    Disable {
        /// Said to the leaf (RFC 9003).
        message: Option<ShutdownText>,
    },
    /// Begin it again.
    Enable,
    /// End it and begin anew.
    Clear {
        /// Said to the leaf (RFC 9003).
        message: Option<ShutdownText>,
    },
    /// Keep it, and ask the leaf for its routes again (RFC 2918).
    Refresh,
}

/// What an order did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderView {
    /// In words.
    pub done: String,
}

/// Whether the node is drained.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct DrainView {
    /// `none`; `draining`: everything is announced with GRACEFUL_SHUTDOWN; `drained`: everything is withdrawn.
    pub state: String,
    /// When it was ordered, nanoseconds since the epoch.
    pub since: Option<UnixNanos>,
    /// When everything is withdrawn; `None`: when told, or done.
    pub withdraw_in_seconds: Option<f64>,
}
