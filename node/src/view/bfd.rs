//! What an operator sees of BFD.

use serde::{Deserialize, Serialize};

/// A leaf's BFD session, in `petiole bgp peers`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct BfdView {
    /// Our state in RFC 5880's words.
    pub state: String,
    /// The leaf's, as last heard.
    pub remote_state: Option<String>,
    /// For how long ours has been so.
    pub state_seconds: Option<f64>,
    /// Whether the BGP session waits for it for ever.
    pub strict: bool,
    /// The interval that is configured.
    pub interval_seconds: f64,
    /// The multiplier that is configured.
    pub multiplier: u8,
    /// How often we send, as negotiated, before jitter; `None` while the leaf wants nothing.
    pub transmit_interval_seconds: Option<f64>,
    /// How long a silence of the leaf is a failure, as negotiated; `None` while nothing is heard.
    pub detection_time_seconds: Option<f64>,
    /// The leaf's multiplier.
    pub remote_multiplier: Option<u8>,
    /// Why we last left Up.
    pub diagnostic: String,
    /// Why the leaf did, as it says.
    pub remote_diagnostic: String,
    /// Our name for the session.
    pub discriminator: Option<u32>,
    /// The leaf's.
    pub remote_discriminator: Option<u32>,
    /// Whether the leaf's BFD says that it outlives its control plane (C bit).
    pub remote_control_plane_independent: bool,
    /// Times Up.
    pub ups: u64,
    /// How long ago it last failed.
    pub last_failure_seconds: Option<f64>,
    /// Packets taken, some seconds ago at most.
    pub packets_in: u64,
    /// Packets sent, likewise.
    pub packets_out: u64,
}
