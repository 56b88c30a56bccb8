//! What went over the wire: tcpdump's file, cut into BGP messages by direction.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sender {
    Leaf,
    Node,
}

/// One message of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) sender: Sender,
    /// The whole message with its marker.
    pub(crate) bytes: Vec<u8>,
}

/// Message types (RFC 4271 section 4.1, RFC 2918 section 3).
pub(crate) const OPEN: u8 = 1;
pub(crate) const UPDATE: u8 = 2;
pub(crate) const NOTIFICATION: u8 = 3;
pub(crate) const KEEPALIVE: u8 = 4;
pub(crate) const REFRESH: u8 = 5;

const HEADER: usize = 19;

impl Message {
    pub(crate) fn kind(&self) -> u8 {
        self.bytes.get(HEADER - 1).copied().unwrap_or(0)
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// The family this UPDATE is the End-of-RIB of (RFC 4724, section 2): 1 for IPv4, 2 for IPv6.
    pub(crate) fn end_of_rib(&self) -> Option<u8> {
        if self.kind() != UPDATE {
            return None;
        }
        match self.body() {
            [0, 0, 0, 0] => Some(1),
            // One attribute, MP_UNREACH_NLRI (15), with nothing but its family; with a short length, and an extended one.
            [0, 0, 0, 6, _, 15, 3, 0, family, 1] | [0, 0, 0, 7, _, 15, 0, 3, 0, family, 1] => Some(*family),
            _ => None,
        }
    }
}

/// One TCP segment with its payload.
struct Segment<'a> {
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    sequence: u32,
    syn: bool,
    ttl: u8,
    signed: bool,
    payload: &'a [u8],
}

/// The messages of a file so far, connection by connection; a message that is not complete is left out.
pub(crate) fn messages(file: &Path, is_node: impl Fn(IpAddr) -> bool) -> Vec<Message> {
    cut(&fs::read(file).unwrap_or_default(), is_node)
}

/// One TCP segment, as far as the session's protection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) sender: Sender,
    /// Time to live, or hop limit.
    pub(crate) ttl: u8,
    /// Has the option of RFC 2385.
    pub(crate) signed: bool,
    /// Belongs to a connection that was accepted: not SYN, not RST.
    pub(crate) carries: bool,
}

/// The packets of a file so far.
pub(crate) fn packets(file: &Path, is_node: impl Fn(IpAddr) -> bool) -> Vec<Packet> {
    let pcap = fs::read(file).unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = pcap.get(24..).unwrap_or_default();
    while let Some((frame, after)) = record(rest) {
        rest = after;
        let Some(segment) = segment(frame) else { continue };
        let sender = if is_node(segment.source.0) { Sender::Node } else { Sender::Leaf };
        found.push(Packet { sender, ttl: segment.ttl, signed: segment.signed, carries: !segment.payload.is_empty() });
    }
    found
}

/// Whether TCP options have an MD5 signature (kind 19).
fn is_signed(mut options: &[u8]) -> bool {
    loop {
        options = match options {
            [19, 18, ..] => return true,
            [1, rest @ ..] => rest,
            [0, ..] | [] | [_] => return false,
            [_, length, ..] => options.get(usize::from(*length).max(2)..).unwrap_or_default(),
        };
    }
}

fn cut(pcap: &[u8], is_node: impl Fn(IpAddr) -> bool) -> Vec<Message> {
    let mut flows: BTreeMap<_, Flow> = BTreeMap::new();
    let mut found = Vec::new();
    let mut rest = pcap.get(24..).unwrap_or_default();
    while let Some((frame, after)) = record(rest) {
        rest = after;
        let Some(segment) = segment(frame) else { continue };
        let flow = flows.entry((segment.source, segment.destination)).or_default();
        if segment.syn {
            *flow = Flow { next: Some(segment.sequence.wrapping_add(1)), bytes: Vec::new() };
            continue;
        }
        flow.take(&segment);
        let sender = if is_node(segment.source.0) { Sender::Node } else { Sender::Leaf };
        while let Some(bytes) = flow.message() {
            found.push(Message { sender, bytes });
        }
    }
    found
}

#[derive(Default)]
struct Flow {
    next: Option<u32>,
    bytes: Vec<u8>,
}

impl Flow {
    /// Takes what is new of a segment; a link in one machine loses nothing, so what is early is not kept.
    fn take(&mut self, segment: &Segment<'_>) {
        let next = self.next.unwrap_or(segment.sequence);
        let known = usize::try_from(next.wrapping_sub(segment.sequence)).unwrap_or(usize::MAX);
        if let Some(new) = segment.payload.get(known..) {
            self.bytes.extend(new);
            self.next = Some(next.wrapping_add(u32::try_from(new.len()).unwrap_or(0)));
        }
    }

    fn message(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes([*self.bytes.get(16)?, *self.bytes.get(17)?]));
        if length < HEADER || self.bytes.len() < length {
            return None;
        }
        Some(self.bytes.drain(..length).collect())
    }
}

/// The next packet of a file in this machine's byte order, and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let frame = bytes.get(16..)?;
    frame.split_at_checked(usize::try_from(length).ok()?)
}

fn segment(frame: &[u8]) -> Option<Segment<'_>> {
    let packet = frame.get(14..)?;
    let (source, destination, ttl, tcp) = match frame.get(12..14)? {
        [0x08, 0x00] => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
            (address(12)?, address(16)?, *packet.get(8)?, packet.get(header..total)?)
        }
        [0x86, 0xdd] => {
            let length = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            let address = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
            (address(8)?, address(24)?, *packet.get(7)?, packet.get(40..40 + length)?)
        }
        _ => return None,
    };
    let number = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
    let sequence = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    Some(Segment {
        source: (source, number(0)?),
        destination: (destination, number(2)?),
        sequence,
        syn: tcp.get(13)? & 0x02 != 0,
        ttl,
        signed: is_signed(tcp.get(20..header)?),
        payload: tcp.get(header..)?,
    })
}

#[cfg(test)]
mod tests;
