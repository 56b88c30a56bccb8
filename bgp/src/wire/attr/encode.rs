//! Writing UPDATEs: only what a node that originates ever says.

use std::net::{IpAddr, Ipv6Addr};

use petiole_prefix::{Family, Prefix};

use crate::wire::header::message;
use crate::wire::iana::{AS_TRANS, Afi, MessageType, Safi, code};
use crate::wire::{HEADER_LEN, MAX_MESSAGE_LEN, nlri};

const WELL_KNOWN: u8 = 0x40;
const OPTIONAL: u8 = 0x80;
const OPTIONAL_TRANSITIVE: u8 = 0xc0;
const EXTENDED_LENGTH: u8 = 0x10;

/// What our announcements of one kind have in common: ORIGIN IGP, an AS_PATH of our own AS, and this.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OutAttributes {
    /// Our AS.
    pub asn: u32,
    /// Whether the session carries four octets of it.
    pub four_octet_as: bool,
    /// Our next hop; its family is that of the announcement.
    pub next_hop: IpAddr,
    /// For IPv6, our link-local address beside the global one (RFC 2545 section 3).
    pub link_local: Option<Ipv6Addr>,
}

impl OutAttributes {
    fn common(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[WELL_KNOWN, code::ORIGIN, 1, 0]);
        // One AS_SEQUENCE of one AS.
        if self.four_octet_as {
            out.extend_from_slice(&[WELL_KNOWN, code::AS_PATH, 6, 2, 1]);
            out.extend_from_slice(&self.asn.to_be_bytes());
        } else {
            let short = u16::try_from(self.asn);
            out.extend_from_slice(&[WELL_KNOWN, code::AS_PATH, 4, 2, 1]);
            out.extend_from_slice(&short.unwrap_or(AS_TRANS).to_be_bytes());
            if short.is_err() {
                out.extend_from_slice(&[OPTIONAL_TRANSITIVE, code::AS4_PATH, 6, 2, 1]);
                out.extend_from_slice(&self.asn.to_be_bytes());
            }
        }
    }

    /// Appends one UPDATE that announces as many prefixes from the front as fit, and says how many. All are of the next hop's
    /// family.
    pub fn announce(&self, prefixes: &[Prefix], out: &mut Vec<u8>) -> usize {
        let mut attributes = Vec::with_capacity(64);
        let mut taken = 0;
        match self.next_hop {
            IpAddr::V4(next_hop) => {
                self.common(&mut attributes);
                attributes.extend_from_slice(&[WELL_KNOWN, code::NEXT_HOP, 4]);
                attributes.extend_from_slice(&next_hop.octets());
                let mut field = Vec::new();
                taken = fill(prefixes, MAX_MESSAGE_LEN - HEADER_LEN - 4 - attributes.len(), &mut field);
                update(out, &[], &attributes, &field);
            }
            IpAddr::V6(next_hop) => {
                let afi = u16::from(Afi::Ipv6).to_be_bytes();
                let mut value = vec![afi[0], afi[1], Safi::Unicast.into()];
                match self.link_local {
                    Some(link_local) => {
                        value.push(32);
                        value.extend_from_slice(&next_hop.octets());
                        value.extend_from_slice(&link_local.octets());
                    }
                    None => {
                        value.push(16);
                        value.extend_from_slice(&next_hop.octets());
                    }
                }
                value.push(0);
                let mut common = Vec::new();
                self.common(&mut common);
                let room = MAX_MESSAGE_LEN - HEADER_LEN - 4 - common.len() - 4 - value.len();
                taken += fill(prefixes, room, &mut value);
                // First, so that a receiver knows the prefixes whatever else is wrong (RFC 7606 section 5.1).
                attribute(OPTIONAL, code::MP_REACH_NLRI, &value, &mut attributes);
                attributes.extend_from_slice(&common);
                update(out, &[], &attributes, &[]);
            }
        }
        taken
    }
}

/// Appends one UPDATE that withdraws as many prefixes from the front as fit, and says how many. All are of one family.
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
