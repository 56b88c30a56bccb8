//! The one way to announce anything: with proof.
//!
//! [`Originated::new`] is the only constructor of what the speaker announces, and it holds the prefix against its proof. What
//! the encoder then makes of it is read back from the bytes by [`check`], which knows nothing of how they were made, before
//! they leave. So a defect in the RIB or the encoder can lose an announcement, but can't invent one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use petiole_prefix::{Family, Prefix};
use serde::{Deserialize, Serialize};

use crate::shared::shared;
use crate::wire::{self, Afi, MessageType, OutCommunities, Safi};

/// By what right a prefix is announced. Each variant holds the evidence the prefix is measured against.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ownership {
    /// A block of pod addresses that the store confirmed as this node's. Announced whole, never a part of it.
    Block {
        /// The block.
        cidr: Prefix,
    },
    /// A pod's address out of another node's block. Announced as a host route.
    BorrowedAddress {
        /// The address.
        address: IpAddr,
        /// The block it was borrowed from.
        block: Prefix,
    },
    /// A stable address of the node itself. Announced as a host route.
    NodeAddress {
        /// The address.
        address: IpAddr,
    },
    /// An anycast prefix that is configured here and whose health gate is open.
    Anycast {
        /// The configured prefix.
        prefix: Prefix,
    },
    /// A service range that is configured here and whose health gate is open.
    ServiceRange {
        /// The configured range.
        range: Prefix,
    },
    /// A prefix on the loopback that an operator's filter accepts.
    LoopbackPrefix {
        /// The prefix as found on the loopback.
        prefix: Prefix,
        /// The name of the filter that accepts it.
        filter: String,
    },
}

impl Ownership {
    /// The one prefix this proof covers.
    #[must_use]
    pub fn proves(&self) -> Prefix {
        match self {
            Self::Block { cidr: prefix }
            | Self::Anycast { prefix }
            | Self::ServiceRange { range: prefix }
            | Self::LoopbackPrefix { prefix, .. } => *prefix,
            Self::BorrowedAddress { address, .. } | Self::NodeAddress { address } => Prefix::host(*address),
        }
    }
}

impl fmt::Display for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block { cidr } => write!(f, "block {cidr} of this node"),
            Self::BorrowedAddress { address, block } => write!(f, "address {address} borrowed from block {block}"),
            Self::NodeAddress { address } => write!(f, "address {address} of the node itself"),
            Self::Anycast { prefix } => write!(f, "anycast {prefix}, healthy here"),
            Self::ServiceRange { range } => write!(f, "service range {range}, healthy here"),
            Self::LoopbackPrefix { prefix, filter } => write!(f, "{prefix} on lo, accepted by filter {filter}"),
        }
    }
}

/// A prefix together with the proof that it is ours to announce.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Originated {
    prefix: Prefix,
    proof: Ownership,
    #[serde(serialize_with = "shared")]
    communities: Arc<OutCommunities>,
}

impl Originated {
    /// Joins a prefix with its proof.
    ///
    /// # Errors
    /// When the proof is of another prefix or length, is no proof in itself, or the prefix may never be announced by a node.
    pub fn new(prefix: Prefix, proof: Ownership) -> Result<Self, GuardError> {
        verify(prefix, &proof)?;
        Ok(Self { prefix, proof, communities: Arc::default() })
    }

    /// The same with communities to announce it with, beside those of each neighbour.
    #[must_use]
    pub fn with_communities(self, communities: Arc<OutCommunities>) -> Self {
        Self { communities, ..self }
    }

    /// What it is announced with.
    #[must_use]
    pub const fn communities(&self) -> &Arc<OutCommunities> {
        &self.communities
    }

    /// What is announced.
    #[must_use]
    pub const fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// By what right.
    #[must_use]
    pub const fn proof(&self) -> &Ownership {
        &self.proof
    }
}

/// Why something is not announced, or was stopped on its way out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardError {
    /// The proof is of something else.
    #[error("{prefix} is not {proven}, which is all that the proof covers")]
    NotProven {
        /// What was to be announced.
        prefix: Prefix,
        /// What the proof covers.
        proven: Prefix,
    },
    /// Borrowed from a block that does not hold it.
    #[error("{address} does not lie in {block}, from which it is said to be borrowed")]
    NotInBlock {
        /// The address.
        address: IpAddr,
        /// The block.
        block: Prefix,
    },
    /// No node announces such a prefix, whatever the proof.
    #[error("{prefix} may not be announced by a node: {why}")]
    NeverAnnounced {
        /// The prefix.
        prefix: Prefix,
        /// Why not.
        why: Unannounceable,
    },
    /// The bytes announce a prefix that is not in the set.
    #[error("the UPDATE would announce {prefix}, which is not ours")]
    NotOriginated {
        /// The prefix.
        prefix: Prefix,
    },
    /// The bytes can't be read back, so nobody knows what they would announce.
    #[error("the UPDATE can't be read back: {0}")]
    Unreadable(String),
}

/// Prefixes that no proof makes announceable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unannounceable {
    /// 0.0.0.0/0 or ::/0.
    DefaultRoute,
    /// Not unicast, or never leaves its link or host.
    Martian,
}

impl fmt::Display for Unannounceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DefaultRoute => "a node is nobody's way to everywhere",
            Self::Martian => "it is not routable unicast",
        })
    }
}

fn verify(prefix: Prefix, proof: &Ownership) -> Result<(), GuardError> {
    let proven = proof.proves();
    if prefix != proven {
        return Err(GuardError::NotProven { prefix, proven });
    }
    if let Ownership::BorrowedAddress { address, block } = proof
        && !block.contains_addr(*address)
    {
        return Err(GuardError::NotInBlock { address: *address, block: *block });
    }
    if prefix.is_default() {
        return Err(GuardError::NeverAnnounced { prefix, why: Unannounceable::DefaultRoute });
    }
    if wire::is_martian(&prefix) {
        return Err(GuardError::NeverAnnounced { prefix, why: Unannounceable::Martian });
    }
    Ok(())
}

/// Reads back every UPDATE in `bytes` and holds what it announces against the set.
///
/// `bytes` is one or more whole messages; other types than UPDATE pass. Withdrawals pass: they claim nothing.
///
/// # Errors
/// At the first announced prefix that is not in the set with a proof that still holds, or when the bytes can't be read.
pub fn check(bytes: &[u8], originated: &BTreeMap<Prefix, Originated>) -> Result<(), GuardError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let unreadable = |what: &str| GuardError::Unreadable(what.to_owned());
        let (kind, body, tail) = wire::split_message(rest).ok_or_else(|| unreadable("framing"))?;
        rest = tail;
        if kind == MessageType::Update as u8 {
            check_update(body, originated)?;
        }
    }
    Ok(())
}

/// Deliberately not the decoder of the session: a few lines that can be held against RFC 4271 section 4.3 and RFC 4760
/// section 3 at a glance, and that share no defect with it.
fn check_update(body: &[u8], originated: &BTreeMap<Prefix, Originated>) -> Result<(), GuardError> {
    let cut = |what: &str| GuardError::Unreadable(format!("{what} is cut short"));
    let (_withdrawn, rest) = sized(body).ok_or_else(|| cut("withdrawn routes"))?;
    let (mut attributes, nlri) = sized(rest).ok_or_else(|| cut("path attributes"))?;
    check_nlri(Family::V4, nlri, originated)?;
    while let [flags, code, tail @ ..] = attributes {
        // Bit 0x10: the length has two octets.
        let (value, next) = if flags & 0x10 != 0 {
            sized(tail).ok_or_else(|| cut("an attribute"))?
        } else {
            let (len, tail) = tail.split_first().ok_or_else(|| cut("an attribute"))?;
            tail.split_at_checked(usize::from(*len)).ok_or_else(|| cut("an attribute"))?
        };
        attributes = next;
        if *code == wire::code::MP_REACH_NLRI {
            check_mp_reach(value, originated)?;
        }
    }
    if attributes.is_empty() { Ok(()) } else { Err(cut("an attribute")) }
}

fn check_mp_reach(value: &[u8], originated: &BTreeMap<Prefix, Originated>) -> Result<(), GuardError> {
    let cut = || GuardError::Unreadable("MP_REACH_NLRI is cut short".to_owned());
    let [a, b, safi, next_hop_len, rest @ ..] = value else { return Err(cut()) };
    // The next hop, and the reserved octet after it.
    let nlri = rest.get(usize::from(*next_hop_len) + 1..).ok_or_else(cut)?;
    let family = match (Afi::from(u16::from_be_bytes([*a, *b])), Safi::from(*safi)) {
        (Afi::Ipv4, Safi::Unicast) => Family::V4,
        (Afi::Ipv6, Safi::Unicast) => Family::V6,
        (afi, safi) => return Err(GuardError::Unreadable(format!("{afi:?} {safi:?} is not ours to announce"))),
    };
    check_nlri(family, nlri, originated)
}

fn check_nlri(family: Family, mut nlri: &[u8], originated: &BTreeMap<Prefix, Originated>) -> Result<(), GuardError> {
    while let Some((len, rest)) = nlri.split_first() {
        let octets = usize::from(len.div_ceil(8));
        let unreadable = || GuardError::Unreadable(format!("a prefix of length {len}"));
        let (head, tail) = rest.split_at_checked(octets).ok_or_else(unreadable)?;
        nlri = tail;
        let addr: IpAddr = match family {
            Family::V4 => {
                let mut full = [0u8; 4];
                full.get_mut(..octets).ok_or_else(unreadable)?.copy_from_slice(head);
                full.into()
            }
            Family::V6 => {
                let mut full = [0u8; 16];
                full.get_mut(..octets).ok_or_else(unreadable)?.copy_from_slice(head);
                full.into()
            }
        };
        // Host bits would make it another prefix to a receiver that does not clear them.
        let prefix = Prefix::new(addr, *len).map_err(|e| GuardError::Unreadable(e.to_string()))?;
        let ours = originated.get(&prefix).ok_or(GuardError::NotOriginated { prefix })?;
        if ours.prefix != prefix {
            return Err(GuardError::NotOriginated { prefix });
        }
        verify(prefix, &ours.proof)?;
    }
    Ok(())
}

/// A field with a two-octet length before it, and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}

#[cfg(test)]
mod tests;
