//! Translation both ways, without a kernel; the kernel's side is in `tests/netlink`.

use std::net::IpAddr;

use petiole_node::dataplane::ident::{ADDRESS_PROTOCOL, ROUTE_PROTOCOL, TABLE_LOCAL, TABLE_MAIN};
use petiole_node::dataplane::{Address, Hop, KernelEvent, Put, Route, RouteKey, RouteKind, Scope, Step};

use super::socket::{RTM_DELADDR, RTM_DELLINK, RTM_DELROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, messages};
use super::{encode, parse};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn hop(gateway: &str, link: u32) -> Hop {
    Hop { gateway: Some(ip(gateway)), link }
}

fn routes() -> Vec<(RouteKey, Route)> {
    let route = |prefix: &str, kind, prefsrc: Option<&str>, hops: &[Hop]| {
        let table = if kind == RouteKind::Local { TABLE_LOCAL } else { TABLE_MAIN };
        let key = RouteKey { prefix: prefix.parse().unwrap(), table, metric: 1024 };
        (key, Route { kind, protocol: ROUTE_PROTOCOL, prefsrc: prefsrc.map(ip), hops: hops.to_vec() })
    };
    vec![
        route("10.20.0.0/26", RouteKind::Unicast, Some("10.9.9.9"), &[hop("10.1.0.2", 3)]),
        route("10.20.0.0/26", RouteKind::Unicast, Some("10.9.9.9"), &[hop("10.1.0.2", 3), hop("10.2.0.2", 5)]),
        route("10.20.0.0/26", RouteKind::Unicast, None, &[hop("10.1.0.2", 3), hop("fe80::1", 5)]),
        route("10.20.0.0/26", RouteKind::Unicast, None, &[Hop { gateway: None, link: 7 }]),
        route("0.0.0.0/0", RouteKind::Unicast, None, &[hop("10.1.0.2", 3)]),
        route("::/0", RouteKind::Unicast, Some("fd00::9"), &[hop("fe80::1", 3), hop("fe80::1", 5)]),
        route("fd00:20::/122", RouteKind::Blackhole, None, &[]),
        route("10.30.0.0/17", RouteKind::Local, None, &[]),
    ]
}

/// One message as bytes, and what it is read as.
fn read_back(step: &Step) -> Option<KernelEvent> {
    let mut bytes = Vec::new();
    encode::step(step, 7, true, &mut bytes);
    let all: Vec<_> = messages(&bytes).collect();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].sequence_number(), all[0].length() as usize), (7, bytes.len()));
    parse::event(all[0].message_type(), all[0].flags(), all[0].payload())
}

#[test]
fn what_is_written_is_read_back() {
    for (key, route) in routes() {
        let create = read_back(&Step::PutRoute(key, route.clone(), Put::Create));
        assert_eq!(create, Some(KernelEvent::Route(key, route.clone())));
        let replace = read_back(&Step::PutRoute(key, route.clone(), Put::Replace));
        assert_eq!(replace, Some(KernelEvent::RouteReplaced(key, route.clone())));
        // A delete names the key and the protocol only.
        let Some(KernelEvent::RouteGone(gone, named)) = read_back(&Step::DeleteRoute(key, route)) else {
            panic!("gone")
        };
        assert_eq!((gone, named.protocol, named.hops.as_slice()), (key, ROUTE_PROTOCOL, &[][..]));
    }
    for (addr, len, scope) in [("10.123.0.0", 17, Scope::Link), ("fd00::9", 128, Scope::Global)] {
        let address = Address { link: 1, addr: ip(addr), len, scope, deprecated: false, protocol: ADDRESS_PROTOCOL };
        assert_eq!(read_back(&Step::AddAddress(address.clone())), Some(KernelEvent::Address(address.clone())));
        assert_eq!(read_back(&Step::DeleteAddress(address.clone())), Some(KernelEvent::AddressGone(address)));
    }
}

#[test]
fn what_is_not_mirrored_is_left_out() {
    for (key, route) in routes() {
        for (key, protocol) in [
            (key, 1),
            (key, 2),
            (RouteKey { table: 253, ..key }, ROUTE_PROTOCOL),
            (RouteKey { table: 1000, ..key }, ROUTE_PROTOCOL),
        ] {
            let route = Route { protocol, ..route.clone() };
            assert_eq!(read_back(&Step::PutRoute(key, route, Put::Create)), None);
        }
    }
}

#[test]
fn siblings_are_hops_of_one_ipv6_route() {
    let of = |prefix: &str, hops: &[Hop]| {
        let key = RouteKey { prefix: prefix.parse().unwrap(), table: TABLE_MAIN, metric: 1024 };
        (key, Route { kind: RouteKind::Unicast, protocol: 4, prefsrc: None, hops: hops.to_vec() })
    };
    let first = of("fd00::/64", &[hop("fe80::1", 3)]);
    assert!(parse::are_siblings(&first, &of("fd00::/64", &[hop("fe80::1", 5)])));
    assert!(!parse::are_siblings(&first, &of("fd00:1::/64", &[hop("fe80::1", 5)])));
    assert!(!parse::are_siblings(&first, &of("fd00::/64", &[Hop { gateway: None, link: 5 }])));
    let v4 = of("10.0.0.0/8", &[hop("10.1.0.2", 3)]);
    assert!(!parse::are_siblings(&v4, &of("10.0.0.0/8", &[hop("10.2.0.2", 5)])), "two IPv4 routes are two routes");
}

#[test]
fn garbage_is_nothing_and_never_a_panic() {
    let mut state = 1_u64;
    let mut next = || {
        // Xorshift; Marsaglia, "Xorshift RNGs", 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let types = [RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE, 999];
    let seeds: Vec<Vec<u8>> = routes()
        .into_iter()
        .map(|(key, route)| {
            let mut bytes = Vec::new();
            encode::step(&Step::PutRoute(key, route, Put::Create), 1, false, &mut bytes);
            bytes
        })
        .collect();
    for round in 0..200_000_usize {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..1 + next() % 4 {
            let at = next() as usize % bytes.len();
            bytes[at] = next() as u8;
        }
        bytes.truncate(next() as usize % (bytes.len() + 1));
        for message in messages(&bytes) {
            parse::event(message.message_type(), message.flags(), message.payload());
        }
        let kind = types[round % types.len()];
        parse::event(kind, 0, &bytes);
        parse::event(kind, 0, bytes.get(16..).unwrap_or_default());
    }
}
