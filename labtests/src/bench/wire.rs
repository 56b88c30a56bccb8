//! As much BGP as a listener needs that answers an OPEN and reads UPDATEs: written apart from the agent's own codec, so
//! that the two cannot share a mistake.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Length of a message's header: marker, length, type (RFC 4271, section 4.1).
const HEADER: usize = 19;
/// Path attributes that carry IPv6 routes (RFC 4760).
const MP_REACH: u8 = 14;
const MP_UNREACH: u8 = 15;

/// What the listener needs to know of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// The session is to be opened; everything in it is agreed to.
    Open,
    /// The OPEN was accepted, or the peer is alive.
    Keepalive,
    /// Prefixes announced, and prefixes withdrawn. An End-of-RIB has none of either.
    Update { announced: Vec<String>, withdrawn: Vec<String> },
    /// NOTIFICATION or ROUTE-REFRESH, by type.
    Other(u8),
}

/// Cuts the first whole message off the buffer. `Err` says that what is there is not BGP.
pub(crate) fn take(buffer: &mut Vec<u8>) -> Result<Option<Message>, String> {
    let Some(header) = buffer.get(..HEADER) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    if header[..16] != [0xff; 16] || !(HEADER..=4096).contains(&length) {
        return Err("no BGP header".to_owned());
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let message: Vec<u8> = buffer.drain(..length).collect();
    let body = &message[HEADER..];
    Ok(Some(match message[18] {
        1 => Message::Open,
        2 => update(body).ok_or("an UPDATE whose lengths do not agree")?,
        4 => Message::Keepalive,
        other => Message::Other(other),
    }))
}

fn update(body: &[u8]) -> Option<Message> {
    let (withdrawn, rest) = counted(body)?;
    let (mut attributes, reachable) = counted(rest)?;
    let mut announced = prefixes(reachable, 32)?;
    let mut withdrawn = prefixes(withdrawn, 32)?;
    while let [flags, code, rest @ ..] = attributes {
        // The extended length bit (RFC 4271, section 4.3).
        let (length, rest) = if flags & 0x10 != 0 {
            (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?)
        } else {
            (usize::from(*rest.first()?), rest.get(1..)?)
        };
        let value = rest.get(..length)?;
        attributes = rest.get(length..)?;
        match *code {
            // AFI, SAFI, length of the next hop, the next hop, a reserved byte, prefixes.
            MP_REACH => announced.extend(prefixes(value.get(5 + usize::from(*value.get(3)?)..)?, 128)?),
            MP_UNREACH => withdrawn.extend(prefixes(value.get(3..)?, 128)?),
            _ => {}
        }
    }
    Some(Message::Update { announced, withdrawn })
}

/// A two-byte length, that many bytes, and the rest.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
    Some((bytes.get(2..2 + length)?, bytes.get(2 + length..)?))
}

fn prefixes(mut bytes: &[u8], width: u8) -> Option<Vec<String>> {
    let mut found = Vec::new();
    while let [length, rest @ ..] = bytes {
        let size = usize::from(length.div_ceil(8));
        if *length > width {
            return None;
        }
        let mut address = [0_u8; 16];
        address.get_mut(..size)?.copy_from_slice(rest.get(..size)?);
        bytes = rest.get(size..)?;
        let [a, b, c, d, ..] = address;
        found.push(match width {
            32 => format!("{}/{length}", Ipv4Addr::new(a, b, c, d)),
            _ => format!("{}/{length}", Ipv6Addr::from(address)),
        });
    }
    Some(found)
}

/// A whole message.
pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

/// KEEPALIVE.
pub(crate) fn keepalive() -> Vec<u8> {
    message(4, &[])
}

/// OPEN with both families and four-byte AS numbers.
pub(crate) fn open(asn: u16, router_id: Ipv4Addr, hold: u16) -> Vec<u8> {
    let mut capabilities = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4];
    capabilities.extend(u32::from(asn).to_be_bytes());
    let length = u8::try_from(capabilities.len()).unwrap_or(u8::MAX);
    let mut body = vec![4];
    body.extend(asn.to_be_bytes());
    body.extend(hold.to_be_bytes());
    body.extend(router_id.octets());
    // One optional parameter of type 2, capabilities (RFC 5492).
    body.extend([length + 2, 2, length]);
    body.extend(capabilities);
    message(1, &body)
}

#[cfg(test)]
mod tests;
