//! What a leaf sends, encoded before any clock runs.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::bench::wire;

/// The node's end of the link, and its AS.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
pub(crate) const NODE_ASN: u32 = 64_512;
/// Where the receiver listens.
pub(crate) const PORT: u16 = 1790;

/// One of the two leaves that send: 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leaf(pub(crate) u8);

impl Leaf {
    pub(crate) const BOTH: [Self; 2] = [Self(1), Self(2)];

    pub(crate) const fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.0)
    }

    /// The next hop of its IPv6 routes.
    pub(crate) const fn address6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x192, 0, 0, 0, 0, 0, self.0 as u16)
    }

    pub(crate) const fn asn(self) -> u16 {
        65_000 + self.0 as u16
    }
}

/// What a feed is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// IPv4 /26 in whole messages, all with one attribute set.
    Uniform,
    /// Four fifths IPv4 /26, one fifth IPv6 /64; 500 attribute sets in turn, ten prefixes per message.
    Mixed,
}

const SETS: usize = 500;

impl Shape {
    /// The whole feed with both End-of-RIB markers.
    pub(crate) fn encode(self, leaf: Leaf, prefixes: u32) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Uniform => classic(leaf, prefixes, 800, 1, &mut out),
            Self::Mixed => {
                let six = prefixes / 5;
                classic(leaf, prefixes - six, 10, SETS, &mut out);
                multiprotocol(leaf, six, 10, SETS, &mut out);
            }
        }
        out.extend(wire::message(2, &[0, 0, 0, 0]));
        out.extend(wire::message(2, &[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]));
        out
    }
}

fn classic(leaf: Leaf, prefixes: u32, per_message: usize, sets: usize, out: &mut Vec<u8>) {
    let all: Vec<u32> = (0..prefixes).map(|n| 0x0b00_0000 + n * 64).collect();
    for (number, some) in all.chunks(per_message).enumerate() {
        let mut attributes = common(leaf, number % sets);
        attributes.extend([0x40, 3, 4]);
        attributes.extend(leaf.address().octets());
        let nlri = some.iter().flat_map(|n| [&[26][..], &n.to_be_bytes()].concat());
        out.extend(update(&attributes, &nlri.collect::<Vec<u8>>()));
    }
}

fn multiprotocol(leaf: Leaf, prefixes: u32, per_message: usize, sets: usize, out: &mut Vec<u8>) {
    let all: Vec<u64> = (0..u64::from(prefixes)).map(|n| 0x2001_0db8_0000_0000 + n).collect();
    for (number, some) in all.chunks(per_message).enumerate() {
        // AFI, SAFI, the next hop with its length, a reserved octet.
        let mut value = vec![0, 2, 1, 16];
        value.extend(leaf.address6().octets());
        value.push(0);
        value.extend(some.iter().flat_map(|n| [&[64][..], &n.to_be_bytes()].concat()));
        let mut attributes = vec![0x90, 14];
        attributes.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        attributes.extend(value);
        attributes.extend(common(leaf, number % sets));
        out.extend(update(&attributes, &[]));
    }
}

/// ORIGIN and AS_PATH: the leaf, and behind it one AS per attribute set.
fn common(leaf: Leaf, set: usize) -> Vec<u8> {
    let behind = 4_200_001_000 + u32::try_from(set).unwrap_or(0);
    let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 10, 2, 2];
    attributes.extend(u32::from(leaf.asn()).to_be_bytes());
    attributes.extend(behind.to_be_bytes());
    attributes
}

fn update(attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend(u16::try_from(attributes.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend(attributes);
    body.extend(nlri);
    wire::message(2, &body)
}
