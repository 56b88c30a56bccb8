//! What the dataplane answers when it is asked about an object: typed, so that `why` and `fib` can say it in words.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::{Address, KernelError, Route, RouteKey, Scope};

/// An address that the kernel should hold on `lo`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct AddressWant {
    /// The address itself; host bits allowed, as in `10.123.0.0/17`.
    pub addr: IpAddr,
    /// Its prefix length.
    pub len: u8,
    /// `Global` for the node's own; `Link` for an IPv4 anycast or range address, which must never become a source.
    pub scope: Scope,
    /// Put on with `preferred_lft 0`: how an IPv6 anycast address is kept from becoming a source.
    pub deprecated: bool,
}

/// The value of a route that a leaf announced.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct LearnedRoute {
    /// The ways out, in any order; more than one makes it ECMP.
    pub hops: Vec<crate::kernel::Hop>,
    /// The preferred source of packets that this node itself sends.
    pub prefsrc: Option<IpAddr>,
}

/// A class of objects whose leftovers are deleted only after its owner said that its wishes are complete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sweep {
    /// Addresses of ours on `lo`.
    Addresses,
    /// Block blackholes and local ranges.
    Static,
    /// Routes that leaves announced.
    Learned,
}

/// Where a route stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum RouteState {
    /// The kernel holds what is wanted, over every interface that is up.
    InKernel,
    /// It is wanted, and will be in one of the next plans.
    Pending,
    /// It is wanted, and every interface that it goes over is down or gone: not in the kernel until one comes back.
    LinkDown,
    /// It is wanted, and the preferred source is no address of this node: written when the address is there.
    SourceMissing {
        /// The address that is missing.
        source: IpAddr,
    },
    /// The kernel refused it.
    Failed {
        /// Its answer.
        error: KernelError,
        /// When it is tried again, since the start.
        retry_at: Duration,
    },
    /// It is wanted, and somebody else's route has the same prefix, table and metric: written when that one goes away.
    HeldByForeign {
        /// Theirs.
        route: Route,
    },
    /// Ours from before a restart, not wanted so far, kept until the sweep is allowed.
    Adopted,
    /// Neither wanted nor ours in the kernel.
    Absent,
}

impl fmt::Display for RouteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InKernel => f.write_str("the kernel holds it"),
            Self::Pending => f.write_str("it is being written"),
            Self::LinkDown => f.write_str("every interface that it goes over is down"),
            Self::SourceMissing { source } => write!(f, "its preferred source {source} is no address of this node"),
            Self::Failed { error, .. } => write!(f, "the kernel refused it: {error}"),
            Self::HeldByForeign { route } => write!(
                f,
                "another program (route protocol {}) holds the same prefix and metric; its route is left alone",
                route.protocol
            ),
            Self::Adopted => {
                f.write_str("it is left from before a restart, and kept until store and leaves are in sync")
            }
            Self::Absent => f.write_str("it is not wanted there"),
        }
    }
}

/// Where an address on `lo` stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum AddressState {
    /// The kernel holds it, put on by us.
    InKernel,
    /// It is wanted, and will be in one of the next plans.
    Pending,
    /// The kernel refused it.
    Failed {
        /// Its answer.
        error: KernelError,
        /// When it is tried again, since the start.
        retry_at: Duration,
    },
    /// Somebody else put it there: it is used as it is, and never taken off.
    HeldByForeign {
        /// Theirs.
        address: Address,
    },
    /// Ours from before a restart, not wanted so far, kept until the sweep is allowed.
    Adopted,
    /// Neither wanted nor ours in the kernel.
    Absent,
}

impl AddressState {
    /// Whether the kernel delivers packets for the address, whoever put it there.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        match self {
            Self::InKernel | Self::HeldByForeign { .. } | Self::Adopted => true,
            Self::Pending | Self::Failed { .. } | Self::Absent => false,
        }
    }
}

/// Something that a person should know about, and can do something about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
pub enum Problem {
    /// There is no `lo`, or it is down.
    LoopbackDown,
    /// The kernel refuses an address.
    AddressRefused {
        /// The address and its length.
        addr: IpAddr,
        /// Its prefix length.
        len: u8,
        /// The kernel's answer.
        error: KernelError,
    },
    /// Another program's IPv6 address with another length stands in the way of ours.
    AddressHeld {
        /// The address.
        addr: IpAddr,
        /// The length that is wanted.
        len: u8,
        /// The length that it has.
        held_len: u8,
    },
    /// The kernel refuses routes, all with the same answer.
    RoutesRefused {
        /// How many.
        count: usize,
        /// The first of them.
        example: RouteKey,
        /// The kernel's answer.
        error: KernelError,
    },
    /// Another program's routes stand in the way of ours.
    RoutesHeld {
        /// How many.
        count: usize,
        /// The first of them.
        example: RouteKey,
        /// `rtm_protocol` of the other program's route.
        protocol: u8,
    },
    /// Routes wait for a preferred source that is no address of this node.
    SourceMissing {
        /// How many.
        count: usize,
        /// The first of them.
        example: RouteKey,
        /// The address that is missing.
        source: IpAddr,
    },
    /// The kernel does not answer a dump.
    DumpOverdue {
        /// When it was asked for, since the start.
        since: Duration,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoopbackDown => f.write_str("interface lo is down or missing: bring it up (ip link set lo up)"),
            Self::AddressRefused { addr, len, error } => {
                write!(f, "the kernel refuses address {addr}/{len} on lo: {error}")
            }
            Self::AddressHeld { addr, len, held_len } => write!(
                f,
                "address {addr}/{len} is wanted on lo, where somebody else put {addr}/{held_len}: remove that one"
            ),
            Self::RoutesRefused { count, example, error } => {
                write!(f, "the kernel refuses {count} route(s), such as {}: {error}", example.prefix)
            }
            Self::RoutesHeld { count, example, protocol } => write!(
                f,
                "{count} route(s), such as {} metric {}, are held by another program (route protocol {protocol}): \
                 they are left alone; remove them, or give them another metric",
                example.prefix, example.metric
            ),
            Self::SourceMissing { count, example, source } => write!(
                f,
                "{count} route(s), such as {}, wait for their preferred source {source}, which is no address of this \
                 node: put it on lo",
                example.prefix
            ),
            Self::DumpOverdue { since } => {
                write!(f, "the kernel has not answered a dump that was asked for at {:.1} s", since.as_secs_f64())
            }
        }
    }
}

/// How often things happened since the start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Counters {
    /// Routes and addresses of ours that somebody changed or removed, or that a dump showed to differ.
    pub drift_found: u64,
    /// Of these, those that were put right.
    pub drift_repaired: u64,
    /// Times the kernel dropped notifications.
    pub overruns: u64,
    /// Complete dumps.
    pub dumps: u64,
    /// Steps that the kernel accepted.
    pub steps_done: u64,
    /// Steps that the kernel refused.
    pub steps_failed: u64,
}

/// Why [`crate::Dataplane::poll_timeout`] wants to be called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimerReason {
    /// A refused step is tried again.
    Retry,
    /// The mirror is checked against the kernel.
    Resync,
    /// A dump that was asked for has not come.
    DumpOverdue,
}
