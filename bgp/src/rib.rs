//! The routes learned, and which of them are used.

use std::net::IpAddr;
use std::sync::Arc;

use petiole_prefix::Prefix;
use serde::Serialize;

use crate::config::PeerId;
use crate::view::shared;
use crate::wire::Attributes;

mod reason;

pub use reason::Reason;

/// A batch of changes of the routes in use, for the forwarding table. A prefix occurs once per batch; the newest wins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteChanges {
    /// `None`: no learned route is used for this prefix any more, or one of our own has taken its place.
    pub changes: Vec<(Prefix, Option<LocRoute>)>,
}

/// The learned route in use for a prefix. Our own prefixes are never among them: the node knows what it originates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LocRoute {
    /// The equal paths (ECMP), sorted; at least one. Shared between prefixes that go the same way.
    #[serde(serialize_with = "shared")]
    pub next_hops: Arc<[NextHop]>,
    /// The best of them.
    pub best: PathInfo,
}

/// One way out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct NextHop {
    /// Learned from.
    pub peer: PeerId,
    /// The next hop of the path; the node checks that it is on the uplink of this peer.
    pub addr: IpAddr,
}

/// The path behind a route in use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PathInfo {
    /// Learned from.
    pub peer: PeerId,
    /// Its attributes, shared between all routes that have the same.
    #[serde(serialize_with = "shared")]
    pub attributes: Arc<Attributes>,
}
