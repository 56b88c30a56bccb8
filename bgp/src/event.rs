//! What crosses the speaker's border: connection events in; actions, reports and timer reasons out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use petiole_prefix::{Family, Prefix};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, ConnId, PeerId};
use crate::guard::GuardError;
use crate::limit::PrefixUsage;
pub use crate::session::retention::RetentionEnd;
use crate::verdict::HoldVerdict;
use crate::wire::{Notification, Treatment, UpdateFault};

/// Something that happened to a TCP connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A connection asked for by [`Action::Connect`] is there.
    Connected {
        /// Which.
        conn: ConnId,
        /// Our end.
        local: SocketAddr,
        /// Their end.
        remote: SocketAddr,
    },
    /// A connection asked for by [`Action::Connect`] did not come to be.
    ConnectFailed {
        /// Which.
        conn: ConnId,
        /// Why, in the words of the system.
        error: String,
    },
    /// Somebody connected to our port.
    Accepted {
        /// A number the driver has never used before, as [`ConnId::Accepted`].
        conn: ConnId,
        /// Our end.
        local: SocketAddr,
        /// Their end.
        remote: SocketAddr,
    },
    /// Bytes arrived, in order; pieces may be cut anywhere.
    Received {
        /// On which connection.
        conn: ConnId,
        /// The bytes; the speaker copies what it keeps.
        bytes: Bytes,
    },
    /// The other side closed, or the connection broke. Not sent for connections closed by an [`Action`].
    Closed {
        /// Which.
        conn: ConnId,
        /// `None` for an orderly close.
        error: Option<String>,
    },
    /// The kernel took bytes given by [`Action::Send`]. The speaker keeps a bounded amount outstanding per connection and goes
    /// on when it hears this.
    Written {
        /// On which connection.
        conn: ConnId,
        /// How many bytes more.
        bytes: usize,
    },
    /// Nothing arrives on a connection, or it does not come to be, and this may be why. Never a ground of a decision: only of words.
    Hint {
        /// Which.
        conn: ConnId,
        /// In words, to be read after a semicolon; empty when it is over.
        what: String,
    },
    /// A look at the socket of a connection that [`Speaker::hold_due`](crate::Speaker::hold_due) named.
    Looked {
        /// Which.
        conn: ConnId,
        /// Bytes that have arrived and wait to be read.
        unread: u64,
        /// Since data last arrived, read or not.
        silent: Duration,
    },
    /// This node did not run for so long, up to now: no connection was read meanwhile.
    Stalled {
        /// How long.
        by: Duration,
    },
}

/// What the driver of TCP connections is to do, in this order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Open a connection; answer with [`Event::Connected`] or [`Event::ConnectFailed`].
    Connect {
        /// The new connection's name.
        conn: ConnId,
        /// For which neighbour (socket options such as passwords hang on it).
        peer: PeerId,
        /// Source address to bind, if any.
        local: Option<IpAddr>,
        /// Where to; a link-local address has its link as the scope id, which `local` then shares.
        remote: SocketAddr,
    },
    /// Write these bytes; report [`Event::Written`] as the kernel takes them.
    Send {
        /// On which connection.
        conn: ConnId,
        /// One or more whole messages.
        bytes: Bytes,
    },
    /// Close once everything sent before has been written; also cancels a pending [`Action::Connect`]. No more events of this
    /// connection are expected, and none are heeded.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Abort at once, whatever is unsent: the way to the other side is known to be gone.
    Reset {
        /// Which.
        conn: ConnId,
    },
    /// Stop reading: the speaker has more input than it could work off. The kernel's window then slows the other side down.
    PauseReading {
        /// Which.
        conn: ConnId,
    },
    /// Read again.
    ResumeReading {
        /// Which.
        conn: ConnId,
    },
}

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

/// A report, for logs, metrics and waiting tests. Never needed to keep the protocol going.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeakerEvent {
    /// A session reached Established.
    PeerUp {
        /// Whose.
        peer: PeerId,
        /// When.
        at: Duration,
        /// Our end.
        local: SocketAddr,
        /// Their end.
        remote: SocketAddr,
        /// Their AS.
        asn: u32,
        /// Families both sides want.
        families: Vec<Family>,
        /// Negotiated hold time; zero means none.
        hold_time: Duration,
    },
    /// An Established session ended. Routes learned over it are being taken out in the following batches, but for those of
    /// which [`PathsKept`](Self::PathsKept) says otherwise.
    PeerDown {
        /// Whose.
        peer: PeerId,
        /// When.
        at: Duration,
        /// Why.
        reason: DownReason,
    },
    /// The neighbour restarts, and its paths stay in use (RFC 4724 section 4.2).
    PathsKept {
        /// Whose.
        peer: PeerId,
        /// Of which family.
        family: Family,
        /// When.
        at: Duration,
        /// How many.
        paths: u64,
        /// Until when, should the neighbour not be back by then.
        until: Duration,
        /// Whether for long, and only where there is nothing else (RFC 9494).
        long_lived: bool,
    },
    /// What was kept is so no longer: what the neighbour has not said again goes.
    PathsLapsed {
        /// Whose.
        peer: PeerId,
        /// Of which family.
        family: Family,
        /// When.
        at: Duration,
        /// How many go.
        paths: u64,
        /// Why.
        why: RetentionEnd,
    },
    /// A connection ended before it was Established.
    ConnectionLost {
        /// Whose.
        peer: PeerId,
        /// When.
        at: Duration,
        /// Why.
        reason: DownReason,
        /// When the next attempt is due, if one is.
        retry_at: Option<Duration>,
    },
    /// Somebody connected and was turned away without a byte.
    ConnectionRefused {
        /// Their end.
        remote: SocketAddr,
        /// Why.
        why: RefusedBecause,
    },
    /// We sent a NOTIFICATION.
    NotificationSent {
        /// To whom.
        peer: PeerId,
        /// What.
        notification: Notification,
    },
    /// They sent a NOTIFICATION.
    NotificationReceived {
        /// Who.
        peer: PeerId,
        /// What.
        notification: Notification,
    },
    /// A part of an UPDATE was malformed and handled without ending the session (RFC 7606).
    UpdateError {
        /// Whose.
        peer: PeerId,
        /// What was done.
        treatment: Treatment,
        /// What was wrong.
        fault: UpdateFault,
    },
    /// A peer came near its prefix limit, went over it, or came back from there.
    PrefixLimit {
        /// Whose.
        peer: PeerId,
        /// How many it has now, of how many.
        usage: PrefixUsage,
    },
    /// The peer has sent all it had at first (RFC 4724 section 2).
    EndOfRibReceived {
        /// Who.
        peer: PeerId,
        /// For which family.
        family: Family,
        /// When.
        at: Duration,
    },
    /// We have sent all we had at first.
    EndOfRibSent {
        /// To whom.
        peer: PeerId,
        /// For which family.
        family: Family,
        /// When.
        at: Duration,
    },
    /// The peer asked for everything again (RFC 2918).
    RefreshRequested {
        /// Who.
        peer: PeerId,
        /// For which family.
        family: Family,
    },
    /// The peer has said everything of a family again (RFC 7313), of itself or because we asked.
    Refreshed {
        /// Who.
        peer: PeerId,
        /// Which family.
        family: Family,
        /// Paths held from it that it did not say again; they are gone.
        removed: u64,
        /// Whether it said that this was all; otherwise we no longer waited for it.
        in_time: bool,
    },
    /// Prefixes were handed to the connection in one UPDATE.
    Advertised {
        /// To whom.
        peer: PeerId,
        /// Which.
        prefixes: Vec<Prefix>,
        /// When.
        at: Duration,
    },
    /// Withdrawals were handed to the connection in one UPDATE.
    Withdrawn {
        /// From whom.
        peer: PeerId,
        /// Which.
        prefixes: Vec<Prefix>,
        /// When.
        at: Duration,
    },
    /// The guard stopped an UPDATE that would have announced something without proof. A defect of ours: report it.
    GuardDropped {
        /// To whom it would have gone.
        peer: PeerId,
        /// What was wrong with it.
        error: GuardError,
    },
}

/// Why an incoming connection got nothing but a close.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedBecause {
    /// Its address belongs to no configured neighbour.
    Stranger,
    /// The neighbour is disabled, misconfigured or its link is down.
    Idle,
    /// The neighbour failed too often lately and waits out its back-off.
    BackingOff,
    /// BFD has to come up first.
    AwaitsBfd,
}

impl fmt::Display for RefusedBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stranger => "no configured neighbour has this address",
            Self::Idle => "the neighbour is idle",
            Self::AwaitsBfd => "BFD with the neighbour has to come up first",
            Self::BackingOff => "the neighbour failed too often and waits",
        })
    }
}

/// Why the speaker wants to be called back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerReason {
    /// Work was put off to keep one call short; due at once.
    Backlog,
    /// A connection is to be tried.
    ConnectRetry,
    /// A connection attempt has taken too long.
    ConnectTimeout,
    /// No OPEN, or no KEEPALIVE after it, arrived in time.
    OpenHold,
    /// The hold timer of a session.
    Hold,
    /// A KEEPALIVE is to be sent.
    Keepalive,
    /// A session was up for long enough to forget past failures.
    Stable,
    /// A neighbour that failed too often is let in again.
    Damped,
    /// BFD had its time to come up.
    BfdWait,
    /// A neighbour that was stopped for a while is started again.
    IdleHold,
    /// What is kept of a former session has had its time.
    Retention,
    /// An OPEN was held back for long enough.
    DelayOpen,
    /// A peer has taken nothing for too long.
    SendHold,
    /// A refresh the peer has begun takes too long.
    Refresh,
}
