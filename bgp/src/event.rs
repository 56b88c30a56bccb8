//! What crosses the speaker's border: connection events in; actions, reports and timer reasons out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use petiole_prefix::{Family, Prefix};
use serde::{Deserialize, Serialize};

use crate::config::{ConnId, PeerId};
use crate::ended::DownReason;
use crate::guard::GuardError;
use crate::limit::PrefixUsage;
pub use crate::session::retention::RetentionEnd;
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
    /// Our End-of-RIB markers were held back for long enough.
    Settle,
}
