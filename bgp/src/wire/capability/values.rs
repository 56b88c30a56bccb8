//! The values of the smaller capabilities.

use std::fmt;

use petiole_prefix::Family;
use serde::{Deserialize, Serialize};

use crate::wire::iana::{Afi, Safi};

/// One tuple of the extended next hop capability: this family may have next hops of that one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct ExtendedNextHop {
    /// Address family identifier of the prefixes.
    pub afi: u16,
    /// Subsequent address family identifier of the prefixes, two octets here.
    pub safi: u16,
    /// Address family identifier of the next hop.
    pub next_hop_afi: u16,
}

impl ExtendedNextHop {
    /// IPv4 unicast over IPv6 next hops, the one that is of use here.
    pub const IPV4_OVER_IPV6: Self = Self { afi: 1, safi: 1, next_hop_afi: 2 };

    /// RFC 8950 section 4. `None` where the value is not whole tuples.
    pub(super) fn decode(value: &[u8]) -> Option<Vec<Self>> {
        let (tuples, rest) = value.as_chunks::<6>();
        let tuple = |[a, b, c, d, e, f]: &[u8; 6]| Self {
            afi: u16::from_be_bytes([*a, *b]),
            safi: u16::from_be_bytes([*c, *d]),
            next_hop_afi: u16::from_be_bytes([*e, *f]),
        };
        rest.is_empty().then(|| tuples.iter().map(tuple).collect())
    }

    pub(super) fn encode(tuples: &[Self], out: &mut Vec<u8>) {
        let mut value = Vec::new();
        // As many as one octet of length leaves room for.
        for tuple in tuples.iter().take(42) {
            for n in [tuple.afi, tuple.safi, tuple.next_hop_afi] {
                value.extend_from_slice(&n.to_be_bytes());
            }
        }
        super::sized(5, &value, out);
    }
}

impl fmt::Display for ExtendedNextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::IPV4_OVER_IPV6 {
            return f.write_str("IPv4 unicast over IPv6");
        }
        write!(f, "family {}/{} over {}", self.afi, self.safi, self.next_hop_afi)
    }
}

/// What a speaker is to the other on a session (RFC 9234 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Role {
    /// It provides transit to the other.
    Provider = 0,
    /// A route server.
    RouteServer = 1,
    /// A client of a route server.
    RouteServerClient = 2,
    /// It buys transit from the other.
    Customer = 3,
    /// Neither of the other.
    Peer = 4,
}

impl Role {
    /// The role with this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Provider,
            1 => Self::RouteServer,
            2 => Self::RouteServerClient,
            3 => Self::Customer,
            4 => Self::Peer,
            _ => return None,
        })
    }

    /// The role the other side must have for this one (RFC 9234 section 4.2).
    #[must_use]
    pub const fn counterpart(self) -> Self {
        match self {
            Self::Provider => Self::Customer,
            Self::RouteServer => Self::RouteServerClient,
            Self::RouteServerClient => Self::RouteServer,
            Self::Customer => Self::Provider,
            Self::Peer => Self::Peer,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provider => "provider",
            Self::RouteServer => "route server",
            Self::RouteServerClient => "route server client",
            Self::Customer => "customer",
            Self::Peer => "peer",
        })
    }
}

/// The value of the add-path capability.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
pub struct AddPath {
    /// Per family, what the sender can do.
    pub families: Vec<AddPathFamily>,
}

/// A family of the add-path capability.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct AddPathFamily {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// It is able to receive several paths.
    pub receive: bool,
    /// It is able to send several paths.
    pub send: bool,
}

impl AddPathFamily {
    /// The family, if it is one spoken here.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        match (Afi::from(self.afi), Safi::from(self.safi)) {
            (Afi::Ipv4, Safi::Unicast) => Some(Family::V4),
            (Afi::Ipv6, Safi::Unicast) => Some(Family::V6),
            _ => None,
        }
    }
}

impl AddPath {
    /// RFC 7911 section 4: a Send/Receive octet other than 1, 2 or 3 makes the capability one that is not understood.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (families, rest) = value.as_chunks::<4>();
        let family = |[a, b, safi, how]: &[u8; 4]| {
            (1..=3).contains(how).then(|| AddPathFamily {
                afi: u16::from_be_bytes([*a, *b]),
                safi: *safi,
                receive: how & 1 != 0,
                send: how & 2 != 0,
            })
        };
        if !rest.is_empty() {
            return None;
        }
        families.iter().map(family).collect::<Option<_>>().map(|families| Self { families })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        // As many as one octet of length leaves room for; a family with neither direction can't be said.
        for family in self.families.iter().filter(|f| f.receive || f.send).take(63) {
            value.extend_from_slice(&family.afi.to_be_bytes());
            value.extend_from_slice(&[family.safi, u8::from(family.receive) | u8::from(family.send) << 1]);
        }
        super::sized(69, &value, out);
    }
}

impl fmt::Display for AddPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, family) in self.families.iter().enumerate() {
            let how = match (family.receive, family.send) {
                (true, true) => "both ways",
                (true, false) => "receive",
                (false, _) => "send",
            };
            let separator = if i == 0 { "" } else { ", " };
            match family.family() {
                Some(name) => write!(f, "{separator}{name} {how}")?,
                None => write!(f, "{separator}{}/{} {how}", family.afi, family.safi)?,
            }
        }
        Ok(())
    }
}

/// A host name and a domain, each with its length before it.
pub(super) fn host_name(value: &[u8]) -> Option<(String, String)> {
    let (host, rest) = counted(value)?;
    let (domain, rest) = counted(rest)?;
    rest.is_empty().then_some((host, domain))
}

/// A version with its length before it.
pub(super) fn software_version(value: &[u8]) -> Option<String> {
    let (version, rest) = counted(value)?;
    rest.is_empty().then_some(version)
}

fn counted(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (len, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*len))?;
    Some((std::str::from_utf8(text).ok()?.to_owned(), rest))
}

/// Appends a text of at most `most` octets, cut between characters, with its length before it.
pub(super) fn text(text: &str, most: usize, out: &mut Vec<u8>) {
    let text = text.get(..text.floor_char_boundary(most)).unwrap_or_default();
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}
