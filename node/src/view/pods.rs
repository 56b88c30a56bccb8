//! Pods and their addresses in `status`.

use petiole_prefix::Prefix;
use serde::{Deserialize, Serialize};

/// Pods in `status`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PodsView {
    /// Container interfaces that are attached.
    pub attached: usize,
    /// Those that are gone and whose addresses wait for the store.
    pub releasing: usize,
}

/// Addresses of the node's blocks of one pool, in `status`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddressesView {
    /// The pool's range.
    pub pool: Prefix,
    /// Held by somebody, here or on other nodes.
    pub used: usize,
    /// Of those, held on other nodes.
    pub lent: usize,
    /// Can be assigned.
    pub free: usize,
    /// Released, and kept back for a while (`ipCooldownSeconds`).
    pub cooling: usize,
    /// Only for those who name them.
    pub reserved: usize,
    /// Held here in blocks of other nodes, beside the above.
    pub borrowed: usize,
}
