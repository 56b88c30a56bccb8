//! Path attributes.

mod as_path;
mod communities;
mod decode;
mod encode;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

pub use as_path::{AsPath, Segment, SegmentKind};
pub use communities::{GRACEFUL_SHUTDOWN, OutCommunities, TooManyCommunities};
pub(super) use decode::Scan;
pub use encode::{OutAttributes, end_of_rib, withdraw};

/// ORIGIN (RFC 4271 section 5.1.1), from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp = 0,
    /// Learned by EGP.
    Egp = 1,
    /// Learned by some other means.
    Incomplete = 2,
}

/// AGGREGATOR (RFC 4271 section 5.1.7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Aggregator {
    /// AS of the aggregating speaker.
    pub asn: u32,
    /// Its BGP Identifier.
    pub router_id: Ipv4Addr,
}

/// An optional transitive attribute that is not known here, kept as it came.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct UnknownAttribute {
    /// Flags octet.
    pub flags: u8,
    /// Type code.
    pub code: u8,
    /// Value.
    pub value: Box<[u8]>,
}

/// The attributes of a path, in one form whatever the wire used: AS numbers have four octets, and the next hop is here also
/// when it came in MP_REACH_NLRI.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, with AS4_PATH merged in.
    pub as_path: AsPath,
    /// Next hop. The global one where IPv6 came with two; the link-local one where the other is none. For IPv4 prefixes it may
    /// be of IPv6 (RFC 8950).
    pub next_hop: IpAddr,
    /// The link-local one beside a global IPv6 next hop (RFC 2545 section 3).
    pub next_hop_link_local: Option<Ipv6Addr>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// ATOMIC_AGGREGATE.
    pub atomic_aggregate: bool,
    /// AGGREGATOR.
    pub aggregator: Option<Aggregator>,
    /// COMMUNITIES (RFC 1997), in the order received.
    pub communities: Box<[u32]>,
    /// Extended communities (RFC 4360).
    pub extended_communities: Box<[[u8; 8]]>,
    /// IPv6 extended communities (RFC 5701).
    pub ipv6_extended_communities: Box<[[u8; 20]]>,
    /// Large communities (RFC 8092).
    pub large_communities: Box<[[u32; 3]]>,
    /// Only-to-Customer (RFC 9234).
    pub only_to_customer: Option<u32>,
    /// Unknown optional transitive attributes.
    pub unknown: Box<[UnknownAttribute]>,
}

impl Attributes {
    /// The least a path can have.
    #[must_use]
    pub fn new(origin: Origin, as_path: AsPath, next_hop: IpAddr) -> Self {
        Self {
            origin,
            as_path,
            next_hop,
            next_hop_link_local: None,
            med: None,
            atomic_aggregate: false,
            aggregator: None,
            communities: Box::default(),
            extended_communities: Box::default(),
            ipv6_extended_communities: Box::default(),
            large_communities: Box::default(),
            only_to_customer: None,
            unknown: Box::default(),
        }
    }
}
