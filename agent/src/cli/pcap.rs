//! Messages of a session as a capture file.
//!
//! The agent knows messages, not segments: each message becomes segments of its own, with sequence numbers as if nothing else
//! had been sent, so that Wireshark joins and decodes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use petiole_node::view::TraceView;

/// Octets of a message in one segment; an extended message (RFC 8654) with its headers is more than an IPv4 packet holds.
const SEGMENT: usize = 32 * 1024;

/// Sequence numbers of a connection: of what we send, and of what they send.
#[derive(Default)]
struct Numbers {
    ours: u32,
    theirs: u32,
}

/// Write the messages among these to a file and say how many they were.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(file: &Path, views: &[TraceView]) -> Result<usize> {
    let header = PcapHeader { datalink: DataLink::RAW, ..PcapHeader::default() };
    let out = BufWriter::new(File::create(file)?);
    let mut out = PcapWriter::with_header(out, header)?;
    let mut numbers: BTreeMap<(SocketAddr, SocketAddr), Numbers> = BTreeMap::new();
    let mut written = 0;
    for view in views {
        let (Some(sent), Some(local), Some(remote), Some(bytes)) =
            (view.sent, view.local, view.remote, view.bytes.as_deref().and_then(octets))
        else {
            continue;
        };
        // What was not kept is missing from the file as well, and its numbers are left out.
        let len = view.length.and_then(|n| usize::try_from(n).ok()).unwrap_or(bytes.len());
        let numbers = numbers.entry((local, remote)).or_insert_with(|| Numbers { ours: 1, theirs: 1 });
        for (n, piece) in bytes.chunks(SEGMENT).enumerate() {
            let ahead = u32::try_from(n * SEGMENT).unwrap_or_default();
            let packet = if sent {
                segment((local, remote), numbers.ours.wrapping_add(ahead), numbers.theirs, piece)
            } else {
                segment((remote, local), numbers.theirs.wrapping_add(ahead), numbers.ours, piece)
            }?;
            let at = Duration::try_from_secs_f64(view.unix_seconds).unwrap_or_default();
            let whole = u32::try_from(packet.len()).unwrap_or(u32::MAX);
            out.write_packet(&PcapPacket::new(at, whole, &packet))?;
        }
        let next = if sent { &mut numbers.ours } else { &mut numbers.theirs };
        *next = next.wrapping_add(u32::try_from(len).unwrap_or_default());
        written += 1;
    }
    std::io::Write::flush(&mut out.into_writer())?;
    Ok(written)
}

fn segment((from, to): (SocketAddr, SocketAddr), number: u32, heard: u32, payload: &[u8]) -> Result<Vec<u8>> {
    let builder = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (from, to) => PacketBuilder::ipv6(v6(from), v6(to), 64),
    };
    let builder = builder.tcp(from.port(), to.port(), number, u16::MAX).ack(heard).psh();
    let mut packet = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut packet, payload).context("a segment cannot be built")?;
    Ok(packet)
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let octet = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(octet).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcap::PcapReader;

    use super::*;

    fn message(sent: bool, bytes: &str) -> TraceView {
        TraceView {
            unix_seconds: 1_795_374_000.25,
            kind: "message".to_owned(),
            sent: Some(sent),
            local: Some("10.0.0.1:40000".parse().unwrap()),
            remote: Some("10.0.0.0:179".parse().unwrap()),
            length: Some(bytes.len() as u64 / 2),
            bytes: Some(bytes.to_owned()),
            ..TraceView::default()
        }
    }

    #[test]
    fn messages_follow_each_other_in_each_direction() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.pcap");
        let keepalive = "ffffffffffffffffffffffffffffffff001304";
        let event = TraceView { kind: "event".to_owned(), what: "up".to_owned(), ..TraceView::default() };
        let views = [message(true, keepalive), event, message(false, keepalive), message(true, keepalive)];
        assert_eq!(write(&file, &views).unwrap(), 3);
        let mut reader = PcapReader::new(File::open(&file).unwrap()).unwrap();
        let mut numbers = Vec::new();
        while let Some(packet) = reader.next_packet() {
            let packet = packet.unwrap();
            let sliced = etherparse::SlicedPacket::from_ip(&packet.data).unwrap();
            let Some(etherparse::TransportSlice::Tcp(tcp)) = sliced.transport else { panic!() };
            numbers.push((tcp.source_port(), tcp.sequence_number(), tcp.acknowledgment_number(), tcp.payload().len()));
        }
        assert_eq!(numbers, [(40000, 1, 1, 19), (179, 1, 20, 19), (40000, 20, 20, 19)]);
    }
}
