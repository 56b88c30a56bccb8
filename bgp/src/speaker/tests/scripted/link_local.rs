//! Neighbours at link-local addresses, which are one only together with their link (RFC 4007 section 6).

use std::net::SocketAddr;

use super::super::world::ip;
use super::{Script, usual_open};
use crate::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The neighbour on link 7.
fn script() -> Script {
    Script::new(|config| {
        config.remote = ip("fe80::1");
        config.scope_id = 7;
        config.local_address = Some(ip("fe80::2"));
    })
}

#[test]
fn rfc4007_6_a_link_local_neighbour_is_dialled_on_its_link() {
    let script = script();
    let dialled = script.actions.iter().find_map(|a| match a {
        Action::Connect { remote, local, .. } => Some((*remote, *local)),
        _ => None,
    });
    assert_eq!(dialled, Some((at("[fe80::1%7]:179"), Some(ip("fe80::2")))));
}

#[test]
fn rfc4007_6_the_same_address_on_another_link_is_a_stranger() {
    let mut script = script();
    let from = |number: u64, remote: &str| Event::Accepted {
        conn: ConnId::Accepted(number),
        local: at("[fe80::2%7]:179"),
        remote: at(remote),
    };
    for (number, remote) in [(100, "[fe80::1%8]:40000"), (101, "[fe80::1]:40000"), (102, "[fe80::3%7]:40000")] {
        script.event(from(number, remote));
        assert!(script.closed(ConnId::Accepted(number)), "{remote}");
    }
    script.event(from(103, "[fe80::1%7]:40000"));
    script.say(ConnId::Accepted(103), &usual_open());
    assert!(!script.closed(ConnId::Accepted(103)));
    assert_eq!(script.state(), SessionState::OpenConfirm);
}

#[test]
fn the_scope_of_a_global_address_is_of_no_interest() {
    let config = PeerConfig::new(ip("fd00::1"), RemoteAsn::External);
    assert!(config.is_from(at("[fd00::1]:1")));
    assert!(!config.is_from(at("[fd00::2]:1")));
    let mapped = PeerConfig::new(ip("10.0.0.0"), RemoteAsn::External);
    assert!(mapped.is_from(at("[::ffff:10.0.0.0]:1")) && mapped.is_from(at("10.0.0.0:1")));
}
