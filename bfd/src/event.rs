//! What became of a session, and why a packet was thrown away.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::SessionId;
use crate::wire::{Diagnostic, Malformed, State};

/// Something about a session changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BfdEvent {
    /// Which session.
    pub session: SessionId,
    /// How it is now. It holds all that earlier events of the session said, so only the last has to be kept.
    pub status: Status,
}

/// How a session is. Points in time are since the start of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Our state.
    pub state: State,
    /// The neighbour's, as last heard; Down where nothing is heard.
    pub remote_state: State,
    /// When our state was entered.
    pub since: Duration,
    /// When the session last went from Up to Down because the path failed or the neighbour said so. Not set by an operator
    /// on either side (RFC 5882 section 3.2).
    pub failed_at: Option<Duration>,
    /// Why we last left Up.
    pub diagnostic: Diagnostic,
    /// Why they did, as they last said.
    pub remote_diagnostic: Diagnostic,
    /// Our name for the session.
    pub discriminator: u32,
    /// Theirs; 0 while nothing is heard.
    pub remote_discriminator: u32,
    /// The C bit as last heard: their BFD lives on when their control plane dies.
    pub control_plane_independent: bool,
    /// How often we send, before jitter; `None` while the neighbour wants nothing.
    pub transmit_interval: Option<Duration>,
    /// How long a silence is a failure; `None` while nothing is heard.
    pub detection_time: Option<Duration>,
    /// How often they want to send, as last heard.
    pub remote_min_tx: Duration,
    /// How often they can receive, as last heard.
    pub remote_min_rx: Duration,
    /// Their multiplier; 0 while nothing was ever heard.
    pub remote_multiplier: u8,
    /// How often the session was Up.
    pub ups: u64,
}

impl Status {
    /// Whether the neighbour's operator holds its side down. That says nothing about the path (RFC 5882 section 3.2).
    #[must_use]
    pub const fn is_remote_admin_down(&self) -> bool {
        matches!(self.remote_state, State::AdminDown)
    }
}

/// A session with its counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SessionView {
    /// Which.
    pub session: SessionId,
    /// How it is.
    pub status: Status,
    /// Packets of the neighbour that were taken.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// When the last was taken.
    pub last_received: Option<Duration>,
}

/// Why a packet was thrown away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Discard {
    /// It came from beyond the link, or pretends to (RFC 5881 section 5).
    #[error("TTL {0}, not 255: it was forwarded")]
    Ttl(u8),
    /// It is no packet that may be looked at.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No session has this discriminator, or this address on this interface.
    #[error("it belongs to no session")]
    NoSession,
    /// It names a session of another neighbour.
    #[error("its discriminator is that of another neighbour's session")]
    WrongSender,
    /// It is authenticated, and no authentication is in use (RFC 5880 section 6.8.6).
    #[error("it is authenticated, and no authentication is configured")]
    Authenticated,
    /// The session is held down by our operator.
    #[error("the session is administratively down")]
    AdminDown,
}

/// Packets and pauses, over all sessions and since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Packets taken.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Packets that had been forwarded.
    pub bad_ttl: u64,
    /// Packets that could not be read.
    pub malformed: u64,
    /// Packets of nobody we watch.
    pub no_session: u64,
    /// Packets with authentication.
    pub authenticated: u64,
    /// Times we were called so late that the neighbours' silence was ours.
    pub stalls: u64,
    /// The longest of them.
    pub longest_stall: Duration,
    /// The last of them.
    pub last_stall: Duration,
}

impl Counters {
    pub(crate) const fn count(&mut self, discard: Discard) {
        let counter = match discard {
            Discard::Ttl(_) => &mut self.bad_ttl,
            Discard::Malformed(_) => &mut self.malformed,
            Discard::NoSession | Discard::WrongSender => &mut self.no_session,
            Discard::Authenticated => &mut self.authenticated,
            Discard::AdminDown => &mut self.received,
        };
        *counter += 1;
    }
}

impl fmt::Display for BfdEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.session, self.status.state)?;
        if self.status.state != State::Up && self.status.diagnostic != Diagnostic::NONE {
            write!(f, ": {}", self.status.diagnostic)?;
        }
        Ok(())
    }
}
