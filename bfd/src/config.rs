//! Whom to watch, and how closely.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A session's name: the neighbour's address and the interface it is on. A single-hop session belongs to both (RFC 5881
/// section 3), and a link-local address says nothing without the second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SessionId {
    /// The neighbour's address; never an IPv4 address written as IPv6.
    pub remote: IpAddr,
    /// The interface's index.
    pub link: u32,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on interface {}", self.remote, self.link)
    }
}

/// How one neighbour is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SessionConfig {
    /// The source address of our packets.
    pub local: IpAddr,
    /// How often we want to send, once Up; 1 µs to about 71 minutes.
    pub min_tx: Duration,
    /// How often we can receive; at most about 71 minutes. Not zero: we want to hear something.
    pub min_rx: Duration,
    /// How many of our intervals without a packet are silence to the neighbour; not 0.
    pub multiplier: u8,
    /// Whether the session is in use; one that is not is held in AdminDown, and the neighbour is told.
    pub enabled: bool,
}

impl SessionConfig {
    /// A session in use with the same interval in both directions.
    #[must_use]
    pub const fn new(local: IpAddr, interval: Duration, multiplier: u8) -> Self {
        Self { local, min_tx: interval, min_rx: interval, multiplier, enabled: true }
    }

    /// Whether the packet can say this.
    ///
    /// # Errors
    /// The first setting that can't be sent. [`Bfd`](crate::Bfd) moves such a value to the nearest that can.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.multiplier == 0 {
            return Err(ConfigError::Multiplier);
        }
        for given in [self.min_tx, self.min_rx] {
            if !(1..=u128::from(u32::MAX)).contains(&given.as_micros()) {
                return Err(ConfigError::Interval { given });
            }
        }
        Ok(())
    }
}

/// Why a session can't be as configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// RFC 5880 section 6.8.6 throws such packets away.
    #[error("a multiplier of 0 can't be sent: use 1 to 255, usually 3")]
    Multiplier,
    /// The field has 32 bits and counts microseconds.
    #[error("an interval of {given:?} can't be sent: use 1us to 4294s")]
    Interval {
        /// What was asked for.
        given: Duration,
    },
}

/// Microseconds as the packet counts them.
pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1)
}
