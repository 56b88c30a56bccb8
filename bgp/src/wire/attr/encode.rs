//! Writing UPDATEs: only what a node that originates ever says.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use petiole_prefix::{Family, Prefix};

use super::OutCommunities;
use crate::wire::envelope::message;
use crate::wire::iana::{AS_TRANS, Afi, MessageType, Safi, code};
use crate::wire::{HEADER_LEN, MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, nlri};

const WELL_KNOWN: u8 = 0x40;
const OPTIONAL: u8 = 0x80;
const OPTIONAL_TRANSITIVE: u8 = 0xc0;
const EXTENDED_LENGTH: u8 = 0x10;

/// What our announcements of one kind have in common: ORIGIN IGP, an AS_PATH of our own AS, and this.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OutAttributes {
    /// Our AS.
    pub asn: u32,
    /// Whether the session carries four octets of it.
    pub four_octet_as: bool,
    /// Our next hop: of the family announced, or, where that was agreed on, of IPv6 for IPv4 prefixes (RFC 8950). A link-local
    /// address may stand here alone, to a neighbour on the link.
    pub next_hop: IpAddr,
    /// Our link-local address beside a global IPv6 one (RFC 2545 section 3).
    pub link_local: Option<Ipv6Addr>,
    /// Communities of all kinds.
    pub communities: Arc<OutCommunities>,
    /// Largest message the other side reads, in octets; at least [`MAX_MESSAGE_LEN`].
    pub max_message_len: usize,
}

impl OutAttributes {
    /// The usual: four-octet AS numbers, no second next hop, no communities, messages of up to [`MAX_MESSAGE_LEN`].
    #[must_use]
    pub fn new(asn: u32, next_hop: IpAddr) -> Self {
        Self {
            asn,
            four_octet_as: true,
            next_hop,
            link_local: None,
            communities: Arc::default(),
            max_message_len: MAX_MESSAGE_LEN,
        }
    }

    /// ORIGIN and AS_PATH.
    fn head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[WELL_KNOWN, code::ORIGIN, 1, 0]);
        // One AS_SEQUENCE of one AS.
        if self.four_octet_as {
            out.extend_from_slice(&[WELL_KNOWN, code::AS_PATH, 6, 2, 1]);
            out.extend_from_slice(&self.asn.to_be_bytes());
        } else {
            out.extend_from_slice(&[WELL_KNOWN, code::AS_PATH, 4, 2, 1]);
            out.extend_from_slice(&u16::try_from(self.asn).unwrap_or(AS_TRANS).to_be_bytes());
        }
    }

    /// What comes behind NEXT_HOP, in the order of the codes (RFC 4271 section 5).
    fn tail(&self, out: &mut Vec<u8>) {
        let standard: Vec<u8> = self.communities.standard().iter().flat_map(|c| c.to_be_bytes()).collect();
        let extended = self.communities.extended().as_flattened();
        let large: Vec<u8> = self.communities.large().as_flattened().iter().flat_map(|c| c.to_be_bytes()).collect();
        if !standard.is_empty() {
            attribute(OPTIONAL_TRANSITIVE, code::COMMUNITIES, &standard, out);
        }
        if !extended.is_empty() {
            attribute(OPTIONAL_TRANSITIVE, code::EXTENDED_COMMUNITIES, extended, out);
        }
        if !self.four_octet_as && u16::try_from(self.asn).is_err() {
            out.extend_from_slice(&[OPTIONAL_TRANSITIVE, code::AS4_PATH, 6, 2, 1]);
            out.extend_from_slice(&self.asn.to_be_bytes());
        }
        if !large.is_empty() {
            attribute(OPTIONAL_TRANSITIVE, code::LARGE_COMMUNITIES, &large, out);
        }
    }

    /// Appends one UPDATE that announces as many prefixes from the front as fit, and says how many: at least one. All are of
    /// one family.
    pub fn announce(&self, prefixes: &[Prefix], out: &mut Vec<u8>) -> usize {
        let Some(family) = prefixes.first().map(Prefix::family) else { return 0 };
        let room = self.max_message_len.clamp(MAX_MESSAGE_LEN, MAX_EXTENDED_MESSAGE_LEN) - HEADER_LEN - 4;
        let mut attributes = Vec::with_capacity(64);
        match (family, self.next_hop) {
            (Family::V4, IpAddr::V4(next_hop)) => {
                self.head(&mut attributes);
                attributes.extend_from_slice(&[WELL_KNOWN, code::NEXT_HOP, 4]);
                attributes.extend_from_slice(&next_hop.octets());
                self.tail(&mut attributes);
                let mut field = Vec::new();
                let taken = fill(prefixes, room.saturating_sub(attributes.len()), &mut field);
                update(out, &[], &attributes, &field);
                taken
            }
            (_, next_hop) => {
                let mut value = self.mp_reach_head(family, next_hop);
                let mut others = Vec::new();
                self.head(&mut others);
                self.tail(&mut others);
                let taken = fill(prefixes, room.saturating_sub(others.len() + 4 + value.len()), &mut value);
                // First, so that a receiver knows the prefixes whatever else is wrong (RFC 7606 section 5.1).
                attribute(OPTIONAL, code::MP_REACH_NLRI, &value, &mut attributes);
                attributes.extend_from_slice(&others);
                update(out, &[], &attributes, &[]);
                taken
            }
        }
    }

    /// RFC 4760 section 3, up to the prefixes.
    fn mp_reach_head(&self, family: Family, next_hop: IpAddr) -> Vec<u8> {
        let afi = u16::from(Afi::of(family)).to_be_bytes();
        let mut value = vec![afi[0], afi[1], Safi::Unicast.into()];
        match (next_hop, self.link_local) {
            (IpAddr::V4(next_hop), _) => {
                value.push(16);
                value.extend_from_slice(&next_hop.to_ipv6_mapped().octets());
            }
            (IpAddr::V6(next_hop), Some(link_local)) => {
                value.push(32);
                value.extend_from_slice(&next_hop.octets());
                value.extend_from_slice(&link_local.octets());
            }
            (IpAddr::V6(next_hop), None) => {
                value.push(16);
                value.extend_from_slice(&next_hop.octets());
            }
        }
        value.push(0);
        value
    }
}

/// Appends one UPDATE that withdraws as many prefixes from the front as fit, and says how many. All are of one family. Never
/// larger than [`MAX_MESSAGE_LEN`]: every peer reads it. IPv4 goes in the classic field whatever next hop it was announced with.
pub fn withdraw(family: Family, prefixes: &[Prefix], out: &mut Vec<u8>) -> usize {
    match family {
        Family::V4 => {
            let mut field = Vec::new();
            let taken = fill(prefixes, MAX_MESSAGE_LEN - HEADER_LEN - 4, &mut field);
            update(out, &field, &[], &[]);
            taken
        }
        Family::V6 => {
            let mut value = unreach_head(family);
            let taken = fill(prefixes, MAX_MESSAGE_LEN - HEADER_LEN - 4 - 4 - value.len(), &mut value);
            let mut attributes = Vec::new();
            attribute(OPTIONAL, code::MP_UNREACH_NLRI, &value, &mut attributes);
            update(out, &[], &attributes, &[]);
            taken
        }
    }
}

/// Appends the End-of-RIB marker of a family (RFC 4724 section 2).
pub fn end_of_rib(family: Family, out: &mut Vec<u8>) {
    match family {
        Family::V4 => update(out, &[], &[], &[]),
        Family::V6 => {
            let mut attributes = Vec::new();
            attribute(OPTIONAL, code::MP_UNREACH_NLRI, &unreach_head(family), &mut attributes);
            update(out, &[], &attributes, &[]);
        }
    }
}

fn unreach_head(family: Family) -> Vec<u8> {
    let afi = u16::from(Afi::of(family)).to_be_bytes();
    vec![afi[0], afi[1], Safi::Unicast.into()]
}

fn fill(prefixes: &[Prefix], room: usize, out: &mut Vec<u8>) -> usize {
    let end = out.len() + room;
    let mut taken = 0;
    for prefix in prefixes {
        if out.len() + 1 + usize::from(prefix.len().div_ceil(8)) > end {
            break;
        }
        nlri::encode(prefix, out);
        taken += 1;
    }
    taken
}

fn attribute(flags: u8, code: u8, value: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(value.len()) {
        Ok(len) => out.extend_from_slice(&[flags, code, len]),
        Err(_) => {
            out.extend_from_slice(&[flags | EXTENDED_LENGTH, code]);
            out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
}

fn update(out: &mut Vec<u8>, withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) {
    message(out, MessageType::Update, |out| {
        for field in [withdrawn, attributes] {
            out.extend_from_slice(&u16::try_from(field.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(field);
        }
        out.extend_from_slice(nlri);
    });
}
