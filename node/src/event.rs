//! Everything the node can say in the log, as one enum: a line that is not here is never written.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::Prefix;
use serde::{Deserialize, Serialize};

/// How loud a line is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Level {
    /// Broken: a person must act.
    Error,
    /// Somebody should look soon.
    Warn,
    /// A state that users see changed.
    Info,
    /// Every event.
    Debug,
}

/// One line of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The agent begins; says what it is.
    Starting {
        /// Node name.
        node: String,
        /// Whether saved state is used, and why not.
        saved: String,
    },
    /// The store's watch is complete and current.
    StoreInSync,
    /// The store went away; everything stays as it is.
    StoreLost(String),
    /// A session came up.
    PeerUp {
        /// The leaf.
        peer: String,
        /// Its AS.
        asn: u32,
    },
    /// A session went down.
    PeerDown {
        /// The leaf.
        peer: String,
        /// In words.
        reason: String,
    },
    /// A leaf's BFD session is Up.
    BfdUp {
        /// The leaf.
        peer: String,
    },
    /// A leaf's BFD session failed.
    BfdDown {
        /// The leaf.
        peer: String,
        /// The diagnostic.
        why: String,
    },
    /// BFD's thread did not run for so long that neighbours' silence may have been ours.
    BfdStalled {
        /// For how long.
        milliseconds: u64,
    },
    /// A leaf came near its prefix limit, went over it, or came back from there.
    PrefixLimit {
        /// The leaf.
        peer: String,
        /// Whether it is far below now.
        fine: bool,
        /// How many of how many, in words.
        usage: String,
    },
    /// A prefix is announced from now on.
    Announced {
        /// Which.
        prefix: Prefix,
        /// By what right.
        reason: String,
    },
    /// A prefix is announced no more.
    Withdrawn {
        /// Which.
        prefix: Prefix,
        /// Why.
        reason: String,
    },
    /// A health gate changed its verdict.
    Gate {
        /// The announcement that it guards.
        prefix: Prefix,
        /// The verdict.
        healthy: bool,
        /// The last probe in words.
        detail: String,
    },
    /// An operator drains the node.
    Draining {
        /// When everything is withdrawn; `None`: when told.
        after: Option<Duration>,
    },
    /// Everything is withdrawn by an operator's order.
    Drained,
    /// An operator took the drain back.
    Undrained,
    /// An operator stopped the agent.
    Stopped,
    /// An operator's order about a session was carried out; in words.
    Ordered(String),
    /// A block is this node's.
    BlockOwned(Prefix),
    /// A block is no longer this node's.
    BlockLost(Prefix),
    /// A setting of the kernel was changed, for pods.
    Set {
        /// As `sysctl` writes it.
        key: String,
        /// What it was.
        was: u32,
        /// What it is.
        value: u32,
    },
    /// Something is wrong; the same words stand in `status` until it is over.
    Problem(String),
    /// A problem is over.
    ProblemOver(String),
    /// The guard stopped an announcement: a defect in Petiole.
    GuardStopped(String),
    /// Routes of a leaf that restarts are kept, or are so no longer.
    Retention {
        /// The leaf.
        peer: String,
        /// In words.
        what: String,
    },
    /// Anything about a session for the curious.
    PeerNote {
        /// The leaf.
        peer: String,
        /// In words.
        what: String,
    },
    /// The last known good state could not be written.
    SaveFailed(String),
    /// A pod was started although not every leaf was told of the address that it borrows.
    BorrowedUntold {
        /// The container.
        container: String,
        /// Its interface.
        interface: String,
        /// What it holds.
        addresses: Vec<IpAddr>,
    },
    /// A node was deleted from the Kubernetes API for good, and peers are told to free what it held.
    NodeDeleted(String),
}

impl Event {
    /// How loud the line is.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::GuardStopped(_) => Level::Error,
            Self::StoreLost(_)
            | Self::PeerDown { .. }
            | Self::BfdDown { .. }
            | Self::BfdStalled { .. }
            | Self::Problem(_)
            | Self::BlockLost(_)
            | Self::BorrowedUntold { .. }
            | Self::SaveFailed(_) => Level::Warn,
            Self::Gate { healthy: false, .. } | Self::PrefixLimit { fine: false, .. } => Level::Warn,
            Self::PeerNote { .. } => Level::Debug,
            Self::Retention { .. }
            | Self::Starting { .. }
            | Self::StoreInSync
            | Self::PeerUp { .. }
            | Self::BfdUp { .. }
            | Self::Announced { .. }
            | Self::Draining { .. }
            | Self::Drained
            | Self::Undrained
            | Self::Stopped
            | Self::Ordered(_)
            | Self::Withdrawn { .. }
            | Self::Gate { .. }
            | Self::PrefixLimit { .. }
            | Self::BlockOwned(_)
            | Self::Set { .. }
            | Self::NodeDeleted(_)
            | Self::ProblemOver(_) => Level::Info,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { node, saved } => write!(f, "node {node} starts; {saved}"),
            Self::StoreInSync => f.write_str("the store is in sync"),
            Self::StoreLost(why) => write!(f, "the store is away, everything stays as it is: {why}"),
            Self::PeerUp { peer, asn } => write!(f, "session with {peer} (AS {asn}) is up"),
            Self::PeerDown { peer, reason } => write!(f, "session with {peer} is down: {reason}"),
            Self::BfdUp { peer } => write!(f, "BFD with {peer} is Up"),
            Self::BfdDown { peer, why } => write!(f, "BFD with {peer} failed: {why}"),
            Self::BfdStalled { milliseconds } => {
                write!(f, "BFD did not run for {milliseconds} ms: this machine stood still or is overloaded")
            }
            Self::PrefixLimit { peer, usage, .. } => write!(f, "{peer} has sent {usage}"),
            Self::Announced { prefix, reason } => write!(f, "announcing {prefix}: {reason}"),
            Self::Withdrawn { prefix, reason } => write!(f, "withdrew {prefix}: {reason}"),
            Self::Gate { prefix, healthy: true, detail } => write!(f, "health of {prefix}: good ({detail})"),
            Self::Gate { prefix, healthy: false, detail } => write!(f, "health of {prefix}: bad ({detail})"),
            Self::Draining { after } => {
                f.write_str(
                    "an operator drains this node: everything is announced with GRACEFUL_SHUTDOWN, and withdrawn ",
                )?;
                match after {
                    Some(after) => write!(f, "after {} s", after.as_secs_f64()),
                    None => f.write_str("when told"),
                }
            }
            Self::Drained => f.write_str("drained: everything is withdrawn until `petiole undrain`"),
            Self::Undrained => f.write_str("an operator took the drain back"),
            Self::Stopped => f.write_str("an operator stops this agent: everything is withdrawn, and the sessions end"),
            Self::Ordered(done) => write!(f, "by an operator's order, {done}"),
            Self::BlockOwned(block) => write!(f, "block {block} is ours"),
            Self::BlockLost(block) => write!(f, "block {block} is no longer ours"),
            Self::Set { key, was, value } => write!(f, "set {key} = {value} for pods; it was {was}"),
            Self::NodeDeleted(node) => write!(
                f,
                "node {node} is silent, and its Node object was deleted: what it held is freed unless it is heard of soon"
            ),
            Self::Problem(what) => f.write_str(what),
            Self::ProblemOver(what) => write!(f, "over: {what}"),
            Self::GuardStopped(what) => write!(
                f,
                "the export guard stopped an announcement, which is a defect of Petiole; please report it: {what}"
            ),
            Self::Retention { peer, what } | Self::PeerNote { peer, what } => write!(f, "{peer}: {what}"),
            Self::BorrowedUntold { container, interface, addresses } => write!(
                f,
                "container {container} has its interface {interface}, but a session has not sent the announcement of what it borrows out of \
                 {addresses:?}: pods elsewhere may not reach it until the leaf reads on"
            ),
            Self::SaveFailed(why) => write!(f, "cannot save the last known good state: {why}"),
        }
    }
}
