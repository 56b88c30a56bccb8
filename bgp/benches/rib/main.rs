//! From bytes to the RIB: half a million /26, as a leaf sends them, through the whole speaker.
//!
//! `cargo bench -p petiole-bgp`; `cargo xtask bench rib` measures the same beside BIRD, over a socket. Times are of the
//! processor, so that a busy machine spoils little.

mod processor;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use petiole_bgp::wire::{Capability, Open, keepalive};
use petiole_bgp::{ConnId, Event, LocalConfig, PeerConfig, PeerId, RemoteAsn, Speaker};
use petiole_prefix::{Family, Prefix};

use processor::Processor;

const PREFIXES: u32 = 500_000;
/// What one read of a socket brings.
const CHUNK: usize = 65_536;
const LEAVES: [u8; 2] = [1, 2];

fn leaf(n: u8) -> (PeerId, ConnId, IpAddr, u32) {
    let addr = IpAddr::from([192, 0, 2, n]);
    (PeerId::of_address(addr), ConnId::Accepted(n.into()), addr, 65_000 + u32::from(n))
}

fn message(kind: u8, body: &[u8], out: &mut Vec<u8>) {
    out.extend([0xff; 16]);
    out.extend((body.len() as u16 + 19).to_be_bytes());
    out.push(kind);
    out.extend(body);
}

/// The prefixes of the feed as NLRI, in fields that fill a message.
fn fields(prefixes: u32) -> Vec<Vec<u8>> {
    let nlri: Vec<u8> = (0..prefixes)
        .flat_map(|n| {
            let [a, b, c, d] = (0x0b00_0000 + n * 64).to_be_bytes();
            [26, a, b, c, d]
        })
        .collect();
    nlri.chunks(800 * 5).map(<[u8]>::to_vec).collect()
}

fn attributes(n: u8, set: u16) -> Vec<u8> {
    let [.., a, b] = leaf(n).3.to_be_bytes();
    let [c, d] = (1 + set).to_be_bytes();
    // ORIGIN, AS_PATH of the leaf and one more, NEXT_HOP.
    vec![0x40, 1, 1, 0, 0x40, 2, 10, 2, 2, 0, 0, a, b, 0, 1, c, d, 0x40, 3, 4, 192, 0, 2, n]
}

/// Announcements; every message has one of `sets` attribute sets, in turn.
fn announcements(n: u8, sets: u16, per_message: usize) -> Vec<Bytes> {
    let mut out = Vec::new();
    let nlri = fields(PREFIXES).concat();
    for (at, field) in nlri.chunks(per_message * 5).enumerate() {
        let attributes = attributes(n, at as u16 % sets);
        let mut body = vec![0, 0];
        body.extend((attributes.len() as u16).to_be_bytes());
        body.extend(attributes);
        body.extend(field);
        message(2, &body, &mut out);
    }
    chunks(out)
}

fn withdrawals() -> Vec<Bytes> {
    let mut out = Vec::new();
    for field in fields(PREFIXES) {
        let mut body = (field.len() as u16).to_be_bytes().to_vec();
        body.extend(field);
        body.extend([0, 0]);
        message(2, &body, &mut out);
    }
    chunks(out)
}

fn chunks(bytes: Vec<u8>) -> Vec<Bytes> {
    let bytes = Bytes::from(bytes);
    (0..bytes.len()).step_by(CHUNK).map(|at| bytes.slice(at..bytes.len().min(at + CHUNK))).collect()
}

/// A speaker with two leaves, both Established.
fn speaker() -> Speaker {
    let local = LocalConfig { asn: 64_512, router_id: Ipv4Addr::new(192, 0, 2, 11) };
    let mut speaker = Speaker::new(local, [7; 32], Duration::ZERO);
    let config = |n| PeerConfig { passive: true, ..PeerConfig::new(leaf(n).2, RemoteAsn::Is(leaf(n).3)) };
    speaker.set_peers(LEAVES.map(|n| (leaf(n).0, config(n))).into(), Duration::ZERO);
    for n in LEAVES {
        let (_, conn, addr, asn) = leaf(n);
        let event = Event::Accepted {
            conn,
            local: SocketAddr::new([192, 0, 2, 11].into(), 179),
            remote: SocketAddr::new(addr, 40_000),
        };
        speaker.handle_event(event, Duration::ZERO);
        let mut bytes = Vec::new();
        let capabilities =
            vec![Capability::Unicast(Family::V4), Capability::Unicast(Family::V6), Capability::FourOctetAs(asn)];
        let open = Open { asn, hold_time: Duration::ZERO, router_id: [192, 0, 2, n].into(), capabilities };
        open.encode(&mut bytes);
        keepalive(&mut bytes);
        feed(&mut speaker, n, &[bytes.into()]);
    }
    speaker
}

/// Hands the bytes over as a driver does, and fetches everything that comes out.
fn feed(speaker: &mut Speaker, n: u8, chunks: &[Bytes]) {
    for bytes in chunks {
        let event = Event::Received { conn: leaf(n).1, bytes: bytes.clone() };
        speaker.handle_event(event, Duration::ZERO);
        settle(speaker);
    }
}

fn settle(speaker: &mut Speaker) {
    loop {
        while let Some(action) = speaker.poll_action() {
            black_box(action);
        }
        while let Some(event) = speaker.poll_event() {
            black_box(event);
        }
        while let Some(changes) = speaker.poll_route_changes() {
            black_box(changes);
        }
        match speaker.poll_timeout() {
            Some((due, _)) if due.is_zero() => speaker.handle_timeout(Duration::ZERO),
            _ => return,
        }
    }
}

/// A speaker that was fed all of these.
fn fed(feeds: &[(u8, &[Bytes])]) -> Speaker {
    let mut speaker = speaker();
    for (n, chunks) in feeds {
        feed(&mut speaker, *n, chunks);
    }
    let last = Prefix::new(Ipv4Addr::from(0x0b00_0000 + (PREFIXES - 1) * 64).into(), 26);
    assert_eq!(last.ok().and_then(|last| speaker.lookup(last)).is_some(), !feeds.is_empty());
    speaker
}

fn rib(criterion: &mut Criterion<Processor>) {
    let mut group = criterion.benchmark_group("rib");
    group.sample_size(10).throughput(Throughput::Elements(PREFIXES.into()));
    let first = announcements(1, 1, 800);
    let second = announcements(2, 1, 800);
    let mixed = announcements(1, 500, 10);
    let gone = withdrawals();
    let mut measure = |name: &str, before: &[(u8, &[Bytes])], n: u8, chunks: &[Bytes]| {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || fed(before),
                |mut speaker| {
                    feed(&mut speaker, n, chunks);
                    speaker
                },
                BatchSize::PerIteration,
            );
        });
    };
    measure("first path", &[], 1, &first);
    measure("second path", &[(1, &first)], 2, &second);
    measure("announced again", &[(1, &first)], 1, &first);
    measure("withdrawn", &[(1, &first)], 1, &gone);
    measure("withdrawn, a second path stays", &[(1, &first), (2, &second)], 1, &gone);
    measure("500 attribute sets in turn, 10 prefixes per message", &[], 1, &mixed);
    for (name, before) in
        [("peer lost", &[(1, first.as_slice())][..]), ("peer lost, a second path stays", &[(1, &first), (2, &second)])]
    {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || fed(before),
                |mut speaker| {
                    let closed = Event::Closed { conn: leaf(1).1, error: None };
                    speaker.handle_event(closed, Duration::ZERO);
                    settle(&mut speaker);
                    speaker
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = Criterion::default().with_measurement(Processor); targets = rib);
criterion_main!(benches);
