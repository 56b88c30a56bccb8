//! How a leaf is watched.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `bfd = { ... }` of `[[bgp.peer]]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BfdSettings {
    /// How often we want to send, and can receive; default 300 ms; 10 ms to 60 s. The slower side sets the pace.
    pub interval: Duration,
    /// How many intervals without a packet of ours are silence to the leaf; default 3; at least 1.
    pub multiplier: u8,
    /// Whether the BGP session waits for BFD for ever; default false: a second.
    pub strict: bool,
}

impl BfdSettings {
    /// Default interval: what FRR has.
    pub const INTERVAL: Duration = Duration::from_millis(300);
    /// Default multiplier.
    pub const MULTIPLIER: u8 = 3;
}
