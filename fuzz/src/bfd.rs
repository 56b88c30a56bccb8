//! BFD: packets read and written, and a whole set of sessions driven by packets and time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use petiole_bfd::{Bfd, Packet, SessionConfig, SessionId};

const SESSIONS: u8 = 3;

fn id(n: u8) -> SessionId {
    let remote: IpAddr = if n == 2 { [0xfe80, 0, 0, 0, 0, 0, 0, 1].into() } else { [10, 0, n, 1].into() };
    SessionId { remote, link: u32::from(n) + 1 }
}

/// The first octet: a packet alone, or a set of sessions and what happens to it.
pub fn bfd(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    if which & 1 == 0 { packet(rest) } else { sessions(rest) }
}

fn packet(data: &[u8]) {
    let Ok(packet) = Packet::decode(data) else { return };
    if packet.authenticated {
        return;
    }
    let again = Packet::decode(&packet.encode()).expect("what we write we read");
    assert_eq!(again, packet);
}

fn config(octet: u8) -> SessionConfig {
    let interval = [10, 50, 300, 1000][usize::from(octet & 3)];
    let mut config = SessionConfig::new([10, 0, 0, 2].into(), Duration::from_millis(interval), 1 + (octet >> 2 & 3));
    config.enabled = octet & 0x80 == 0;
    config
}

fn sessions(data: &[u8]) {
    let mut now = Duration::from_secs(1);
    let mut bfd = Bfd::new([7; 32], now);
    let mut peers: BTreeMap<SessionId, SessionConfig> = (0..SESSIONS).map(|n| (id(n), config(1))).collect();
    bfd.set_peers(&peers, now);
    // Our discriminator per session, as its packets say it.
    let mut heard: BTreeMap<SessionId, Packet> = BTreeMap::new();
    let mut rest = data;
    while let [op, arg, tail @ ..] = rest {
        rest = tail;
        let which = id(arg % SESSIONS);
        match op % 6 {
            0 => {
                let (bytes, tail) = rest.split_at(rest.len().min(usize::from(arg & 63)));
                rest = tail;
                let _ = bfd.handle_packet(which, 255, bytes, now);
            }
            // An answer to what it last said, so that sessions come up.
            1 | 2 => {
                let said = heard.get(&which).copied().unwrap_or_default();
                let (bits, tail) = rest.split_at(rest.len().min(2));
                rest = tail;
                let [flags, time] = [bits.first().copied().unwrap_or(0), bits.get(1).copied().unwrap_or(0)];
                let packet = Packet {
                    state: petiole_bfd::State::from_bits(flags),
                    poll: flags & 4 != 0,
                    final_: flags & 8 != 0,
                    demand: flags & 16 != 0,
                    detect_mult: 3,
                    my_discriminator: 1 + u32::from(arg % SESSIONS),
                    your_discriminator: said.my_discriminator,
                    desired_min_tx: u32::from(time) * 5000,
                    required_min_rx: u32::from(time) * 2500,
                    ..Packet::default()
                };
                let _ = bfd.handle_packet(which, 255, &packet.encode(), now);
            }
            3 => {
                let wait = Duration::from_millis(u64::from(*arg));
                let until = now + wait;
                // Never more often than every session sends, with its jitter, and looks at its timers.
                let mut calls = 0;
                while let Some(at) = bfd.poll_timeout().filter(|at| *at <= until) {
                    now = now.max(at);
                    bfd.handle_timeout(now);
                    drain(&mut bfd, &mut heard);
                    calls += 1;
                    assert!(calls < 2000, "timers run in a circle");
                }
                now = until;
            }
            4 => {
                peers.insert(which, config(*arg));
                bfd.set_peers(&peers, now);
            }
            _ => {
                peers.remove(&which);
                bfd.set_peers(&peers, now);
            }
        }
        drain(&mut bfd, &mut heard);
    }
    assert!(bfd.sessions().count() <= 2 * usize::from(SESSIONS));
}

fn drain(bfd: &mut Bfd, heard: &mut BTreeMap<SessionId, Packet>) {
    let mut sent = 0;
    while let Some(transmit) = bfd.poll_transmit() {
        let packet = Packet::decode(&transmit.bytes).expect("what we send can be read");
        assert!(packet.my_discriminator != 0 && packet.detect_mult != 0);
        assert!(!(packet.poll && packet.final_), "RFC 5880 section 6.5");
        heard.insert(transmit.session, packet);
        sent += 1;
        assert!(sent < 50, "a flood of packets");
    }
    let mut events = 0;
    while bfd.poll_event().is_some() {
        events += 1;
        assert!(events < 50, "a flood of events");
    }
}
