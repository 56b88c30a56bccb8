#![allow(clippy::unwrap_used, missing_docs)]

use super::Gateway;

fn gateway(address: &str, length: u8) -> Gateway {
    Gateway { address: address.parse().unwrap(), length }
}

#[test]
fn halves_cover_the_pool_and_nothing_else() {
    let halves =
        |address, length| gateway(address, length).halves().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(halves("10.123.200.7", 17), ["10.123.128.0/18", "10.123.192.0/18"]);
    assert_eq!(halves("10.123.128.1", 30), ["10.123.128.2/31", "10.123.128.0/31"], "the gateway's own is the last");
    assert_eq!(halves("10.123.128.1", 0), ["128.0.0.0/1", "0.0.0.0/1"]);
    assert_eq!(halves("fd00:123:8000::21c2", 112), ["fd00:123:8000::8000/113", "fd00:123:8000::/113"]);
}

#[test]
fn hosts_are_neither_first_nor_last() {
    let has = |addr: &str| gateway("10.123.200.7", 17).has_host(addr.parse().unwrap());
    assert!(has("10.123.128.1") && has("10.123.255.254") && has("10.123.200.255"));
    assert!(!has("10.123.128.0") && !has("10.123.255.255"));
    let has = |addr: &str| gateway("fd00:123:8000::1", 112).has_host(addr.parse().unwrap());
    assert!(!has("fd00:123:8000::") && has("fd00:123:8000::ffff"));
}

/// A record may say anything.
#[test]
fn no_length_panics() {
    for address in ["10.123.200.7", "fd00::1"] {
        for length in 0..=u8::MAX {
            let gateway = gateway(address, length);
            let _ = (gateway.halves(), gateway.has_host(gateway.address));
        }
    }
}
