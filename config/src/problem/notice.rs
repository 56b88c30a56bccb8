//! What is worth a warning.

use petiole_prefix::Prefix;

/// What is allowed, but probably not meant.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Notice {
    /// `[bgp]` without a peer.
    #[error("[bgp] has no peer, so this node announces and learns nothing: write one [[bgp.peer]] per uplink")]
    NoPeers,
    /// An announcement, but nobody to announce to.
    #[error("{0} is never announced, for no peer is configured: write one [[bgp.peer]] per uplink")]
    AnnounceWithoutPeers(Prefix),
    /// An announcement without a gate.
    #[error("{0} has no `health`, so it is announced whether its service works or not")]
    NoHealth(Prefix),
    /// A hold time of zero.
    #[error("a hold time of 0 turns keepalives off: a leaf that dies silently is noticed only when TCP gives up")]
    NoKeepalives,
    /// A check that takes any certificate.
    #[error("`insecure` takes any certificate: whoever answers at that address decides whether this node announces")]
    Insecure,
    /// A role without what it serves.
    #[error("role {role} has no [[announce]] of kind {kind}: this node announces nothing for it")]
    RoleWithoutAnnounce {
        /// The role.
        role: &'static str,
        /// The kind.
        kind: &'static str,
    },
    /// The environment's name differs from the file's.
    #[error("the node's name is {environment:?} from PETIOLE_NODE_NAME, not {file:?} from the file")]
    NameOverridden {
        /// The name in force.
        environment: String,
        /// The name in the file.
        file: String,
    },
    /// Sections for nodes, but none for this one.
    #[error("there is no [nodes.{0}] for this node, so it has only what the rest of the file says")]
    NotAmongNodes(String),
}
