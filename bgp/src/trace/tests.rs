use std::net::SocketAddr;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use proptest::prelude::*;

use super::{ENTRIES, OCTETS, OF_ONE, Trace, Traced, describe};
use crate::config::ConnId;
use crate::view::SessionState;
use crate::wire;

fn ends() -> (SocketAddr, SocketAddr) {
    ("10.0.0.1:179".parse().unwrap(), "10.0.0.0:40000".parse().unwrap())
}

fn prefixes(list: &[&str]) -> Vec<Prefix> {
    list.iter().map(|p| p.parse().unwrap()).collect()
}

#[test]
fn messages_and_states_come_back_in_order() {
    let mut trace = Trace::default();
    let mut keepalive = Vec::new();
    wire::keepalive(&mut keepalive);
    trace.state(SessionState::Established, Duration::from_secs(1));
    trace.message((ConnId::Dialled(3), true), ends(), [false; 2], &keepalive, Duration::from_secs(2));
    let entries = trace.entries();
    assert_eq!(entries[0].what, Traced::State(SessionState::Established));
    let Traced::Message { sent: true, len: 19, bytes, .. } = &entries[1].what else { panic!("{entries:?}") };
    assert_eq!(*bytes, keepalive);
}

#[test]
fn messages_are_told_in_words() {
    let mut bytes = Vec::new();
    wire::keepalive(&mut bytes);
    assert_eq!(describe(&bytes, &[]), "KEEPALIVE");
    let mut bytes = Vec::new();
    wire::withdraw(Family::V4, &prefixes(&["10.0.0.0/26", "10.0.0.64/26"]), &mut bytes);
    assert_eq!(describe(&bytes, &[]), "UPDATE: withdraws 10.0.0.0/26, 10.0.0.64/26");
    let many: Vec<Prefix> = (0..9).map(|n| format!("fd00:{n}::/122").parse().unwrap()).collect();
    let mut bytes = Vec::new();
    wire::withdraw(Family::V6, &many, &mut bytes);
    assert_eq!(describe(&bytes, &[]), "UPDATE: withdraws fd00::/122, fd00:1::/122, fd00:2::/122 and 6 more");
    for (family, words) in [(Family::V4, "UPDATE: End-of-RIB of IPv4"), (Family::V6, "UPDATE: End-of-RIB of IPv6")] {
        let mut bytes = Vec::new();
        wire::end_of_rib(family, &mut bytes);
        assert_eq!(describe(&bytes, &[]), words);
    }
}

proptest! {
    #[test]
    fn the_ring_stays_within_its_bounds_and_keeps_the_newest(sizes in prop::collection::vec(0usize..9000, 0..3000)) {
        let mut trace = Trace::default();
        for (n, size) in sizes.iter().enumerate() {
            let fill = n as u8;
            let at = Duration::from_millis(n as u64);
            if size % 7 == 0 {
                trace.state(SessionState::Idle, at);
            } else {
                trace.message((ConnId::Accepted(1), false), ends(), [false; 2], &vec![fill; *size], at);
            }
        }
        let entries = trace.entries();
        prop_assert!(entries.len() <= ENTRIES);
        prop_assert!(trace.octets.len() <= OCTETS);
        let skipped = sizes.len() - entries.len();
        for (n, (entry, size)) in entries.iter().zip(sizes.iter().skip(skipped)).enumerate() {
            match &entry.what {
                Traced::State(_) => prop_assert_eq!(size % 7, 0),
                Traced::Message { len, bytes, .. } => {
                    prop_assert_eq!(len, size);
                    prop_assert_eq!(bytes, &vec![(skipped + n) as u8; (*size).min(OF_ONE)]);
                }
            }
        }
    }

    #[test]
    fn any_bytes_have_words(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0u8..7) {
        let mut bytes = bytes;
        if let Some(octet) = bytes.get_mut(18) {
            *octet = kind;
        }
        prop_assert!(!describe(&bytes, &[]).is_empty());
    }
}
