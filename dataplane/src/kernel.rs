//! Kernel objects as values: what is desired, what is observed, and what is done about the difference.

use std::net::IpAddr;

use petiole_prefix::Prefix;
use serde::{Deserialize, Serialize};

/// A kernel interface index (`ifindex`), positive.
pub type LinkIndex = u32;

/// A network interface, as the kernel shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Link {
    /// `ifindex`.
    pub index: LinkIndex,
    /// Name, at most 15 bytes.
    pub name: String,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// The other end answers (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// MTU in bytes.
    pub mtu: u32,
}

/// Where an address is valid (`rtm_scope`, `ifa_scope`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everywhere.
    Global,
    /// On the link only.
    Link,
    /// On this host only.
    Host,
}

/// An address on an interface. `net` keeps the length that the address was added with: `10.123.0.0/17 dev lo` is an
/// address and a length, not a canonical prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Address {
    /// The interface.
    pub link: LinkIndex,
    /// The address itself.
    pub addr: IpAddr,
    /// The prefix length that it carries.
    pub len: u8,
    /// Its scope; an IPv6 address has the scope that its bits say.
    pub scope: Scope,
    /// Deprecated (`preferred_lft 0`): never chosen as a source. How an IPv6 anycast address is kept from becoming one.
    pub deprecated: bool,
    /// `IFA_PROTO`: who added it; 0 where nobody said, as for every address of a kernel before 5.18.
    pub protocol: u8,
}

/// What a route does with a packet (`rtm_type`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Forward it.
    Unicast,
    /// Deliver it here.
    Local,
    /// Drop it silently.
    Blackhole,
    /// Anything else; always foreign.
    Other,
}

/// One way out of a route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Hop {
    /// The gateway; `None` for a route that ends on the link.
    pub gateway: Option<IpAddr>,
    /// The interface.
    pub link: LinkIndex,
}

/// What tells two routes of one table apart for the kernel: the prefix and the metric.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct RouteKey {
    /// Destination.
    pub prefix: Prefix,
    /// `RTA_TABLE`: 254 main, 255 local.
    pub table: u32,
    /// `RTA_PRIORITY`; the kernel shows 1024 where 0 was asked for IPv6.
    pub metric: u32,
}

/// A route's value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Route {
    /// What it does.
    pub kind: RouteKind,
    /// `rtm_protocol`: who wrote it.
    pub protocol: u8,
    /// `RTA_PREFSRC`.
    pub prefsrc: Option<IpAddr>,
    /// The ways out, sorted; empty for `Local` on `lo` given by `dev`, and for `Blackhole`.
    pub hops: Vec<Hop>,
}

/// How a route is written, so that a foreign one is never replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Put {
    /// Nobody held the key when the plan was made: `NLM_F_CREATE|NLM_F_EXCL`, so that the kernel refuses with `EEXIST` where
    /// somebody does meanwhile. Without `NLM_F_EXCL`, IPv6 would make ours a sibling of theirs.
    Create,
    /// We hold the key: `NLM_F_CREATE|NLM_F_REPLACE`, one step, never a delete and an add.
    Replace,
}

/// One step of a plan, in the order in which it must be carried out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Put the address on the interface.
    AddAddress(Address),
    /// Take the address off the interface.
    DeleteAddress(Address),
    /// Write the route: [`Put`] says whether the key must be free or is held by ours.
    PutRoute(RouteKey, Route, Put),
    /// Delete the route; the kernel is told our protocol with it, so that a foreign one cannot match.
    DeleteRoute(RouteKey, Route),
}

impl Step {
    /// The route that it is about.
    #[must_use]
    pub const fn route_key(&self) -> Option<&RouteKey> {
        match self {
            Self::PutRoute(key, ..) | Self::DeleteRoute(key, _) => Some(key),
            Self::AddAddress(_) | Self::DeleteAddress(_) => None,
        }
    }
}

/// Identifies a plan that was handed out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PlanId(pub u64);

/// Steps for the driver, which has no choices left.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Comes back with the results.
    pub id: PlanId,
    /// In order.
    pub steps: Vec<Step>,
}

/// The kernel's answer to one step: `Ok`, or the errno with the kernel's own words where it gave any (extended ACK).
pub type StepResult = Result<(), KernelError>;

/// Why the kernel refused a step.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{}{}", errno_words(*errno), detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
pub struct KernelError {
    /// Positive errno.
    pub errno: i32,
    /// The kernel's extended ACK message.
    pub detail: Option<String>,
}

/// What the netlink driver tells: dumps and multicast alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum KernelEvent {
    /// A dump begins: everything not told again before `DumpEnd` is gone.
    DumpBegin,
    /// The dump of links, addresses and routes is complete.
    DumpEnd,
    /// An interface exists, or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone(LinkIndex),
    /// An address exists.
    Address(Address),
    /// An address is gone.
    AddressGone(Address),
    /// A route of table main or local exists, or changed.
    Route(RouteKey, Route),
    /// A route took the place of what was at its key (`NLM_F_REPLACE` in the notification).
    RouteReplaced(RouteKey, Route),
    /// A route is gone; IPv6 tells so of each way out that a route loses.
    RouteGone(RouteKey, Route),
    /// The kernel dropped notifications (`ENOBUFS`): a dump must follow.
    Overrun,
}

fn errno_words(errno: i32) -> String {
    match errno {
        1 => "operation not permitted: the agent needs CAP_NET_ADMIN".to_owned(),
        3 => "no such route or device (ESRCH)".to_owned(),
        17 => "exists already (EEXIST)".to_owned(),
        19 => "no such interface (ENODEV)".to_owned(),
        22 => "invalid argument (EINVAL)".to_owned(),
        99 => "address not available (EADDRNOTAVAIL)".to_owned(),
        100 => "the network is down (ENETDOWN)".to_owned(),
        101 => "the next hop is not reachable (ENETUNREACH)".to_owned(),
        113 => "no route to the next hop (EHOSTUNREACH)".to_owned(),
        other => format!("errno {other}"),
    }
}
