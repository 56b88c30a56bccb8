//! Why connections and sessions end.

use std::fmt;
use std::time::Duration;

use petiole_prefix::Family;
use serde::Serialize;

use crate::config::ConfigError;
use crate::verdict::HoldVerdict;
use crate::wire::Notification;

/// Why a session ended, or never began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DownReason {
    /// The operator disabled the neighbour.
    Disabled,
    /// The operator wanted the session to start anew.
    Cleared,
    /// The operator stopped the whole speaker.
    Stopped,
    /// The neighbour was taken out of the configuration.
    Deconfigured,
    /// Its configuration changed in a way that needs a new session.
    ConfigChanged,
    /// Its settings can't make a session.
    Misconfigured(ConfigError),
    /// The uplink it is reached by went down.
    LinkDown,
    /// BFD says that the way to the peer failed, or the peer's BFD said so (RFC 5882).
    BfdDown {
        /// The peer's C bit: its BFD does not share the fate of its control plane, so its forwarding failed as well (RFC 5882
        /// section 4.3).
        control_plane_independent: bool,
        /// The peer's BFD lost nobody but began anew, as it does in a restart.
        began_anew: bool,
    },
    /// We sent a NOTIFICATION.
    NotificationSent(Notification),
    /// They sent a NOTIFICATION.
    NotificationReceived(Notification),
    /// They heard nothing of us for the hold time and said so, and this node had stood still meanwhile.
    TooLateForPeer {
        /// What they said: Hold Timer Expired.
        notification: Notification,
        /// For how long this node stood still.
        stalled: Duration,
    },
    /// Nothing was heard for the hold time; whose fault that was.
    HoldTimerExpired(HoldVerdict),
    /// The peer has taken nothing of what we sent for the send hold time (RFC 9687).
    SendHoldTimerExpired,
    /// The peer has sent more prefixes than it may.
    TooManyPrefixes(TooManyPrefixes),
    /// They closed the connection without a NOTIFICATION.
    Closed,
    /// The connection broke.
    Broken(String),
    /// No connection could be made.
    ConnectFailed(String),
    /// No answer to our connection attempt in time.
    ConnectTimedOut,
    /// This connection lost against the other of a pair (RFC 4271 section 6.8); the session goes on over that one.
    Collision,
}

impl DownReason {
    /// Whether the paths of a neighbour that restarts gracefully stay in use over this end of its session (RFC 4724 section
    /// 4.2): the connection is gone, and nobody meant it. `notification`: NOTIFICATIONs don't mean it either (RFC 8538
    /// section 4), but for the Hard Reset.
    #[must_use]
    pub fn retains(&self, notification: bool) -> bool {
        match self {
            Self::Closed | Self::Broken(_) => true,
            Self::NotificationSent(n)
            | Self::NotificationReceived(n)
            | Self::TooLateForPeer { notification: n, .. } => notification && n.inside_hard_reset().is_none(),
            Self::HoldTimerExpired(_) | Self::SendHoldTimerExpired => notification,
            // RFC 5882 section 4.3.2: BFD that began anew died with its control plane, unless it says that it outlives that. All
            // else that fails while the session stands is the way, whatever the C bit.
            Self::BfdDown { control_plane_independent, began_anew } => *began_anew && !control_plane_independent,
            Self::Disabled
            | Self::Cleared
            | Self::Stopped
            | Self::Deconfigured
            | Self::ConfigChanged
            | Self::Misconfigured(_)
            | Self::LinkDown
            | Self::TooManyPrefixes(_)
            | Self::ConnectFailed(_)
            | Self::ConnectTimedOut
            | Self::Collision => false,
        }
    }
}

impl fmt::Display for DownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("disabled by the operator"),
            Self::Cleared => f.write_str("cleared by the operator"),
            Self::Stopped => f.write_str("the agent was stopped by the operator"),
            Self::Deconfigured => f.write_str("taken out of the configuration"),
            Self::ConfigChanged => f.write_str("its configuration changed"),
            Self::Misconfigured(e) => write!(f, "can't be spoken to: {e}"),
            Self::LinkDown => f.write_str("the uplink went down"),
            Self::BfdDown { began_anew: true, .. } => f.write_str("the peer's BFD began anew"),
            Self::BfdDown { .. } => f.write_str("BFD lost the peer"),
            Self::NotificationSent(n) => write!(f, "we ended it: {n}"),
            Self::NotificationReceived(n) => write!(f, "the peer ended it: {n}"),
            Self::TooLateForPeer { notification, stalled } => {
                let stalled = stalled.as_secs_f64();
                write!(f, "the peer ended it: {notification}; we were late: this node stood still for {stalled:.1} s")
            }
            Self::HoldTimerExpired(verdict) => write!(f, "hold timer expired: {verdict}"),
            Self::SendHoldTimerExpired => {
                f.write_str("send hold timer expired: the peer takes nothing of what it is sent")
            }
            Self::TooManyPrefixes(many) => many.fmt(f),
            Self::Closed => f.write_str("the peer closed the connection without saying why"),
            Self::Broken(e) => write!(f, "the connection broke: {e}"),
            Self::ConnectFailed(e) => write!(f, "can't connect: {e}"),
            Self::ConnectTimedOut => f.write_str("can't connect: no answer"),
            Self::Collision => f.write_str("the other of two simultaneous connections was kept"),
        }
    }
}

/// A peer over its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct TooManyPrefixes {
    /// Of which family.
    pub family: Family,
    /// What it may send.
    pub limit: u32,
    /// For how long the neighbour is left alone; `None`: until an operator clears it.
    pub restart_after: Option<Duration>,
}

impl fmt::Display for TooManyPrefixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, limit, restart_after } = self;
        write!(f, "it sent more than {limit} {family} prefixes (max_prefix), and ")?;
        match restart_after {
            Some(time) => write!(f, "is tried again after {} s, or with `petiole bgp clear`", time.as_secs_f64()),
            None => f.write_str("is left alone until `petiole bgp clear`"),
        }
    }
}
