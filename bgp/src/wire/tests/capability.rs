//! Capabilities: their values as other implementations send them, and values no capability can have.

use super::*;

/// Capabilities with a value, by way of well-formed and half-formed values.
pub(super) fn any_with_value() -> impl Strategy<Value = Capability> {
    let tuples = |code: u8, octets: usize| {
        (0usize..12, prop::collection::vec(any::<u8>(), 100))
            .prop_map(move |(n, bytes)| Capability::decode(code, &bytes[..n * octets]))
    };
    prop_oneof![
        tuples(5, 6),
        tuples(71, 7),
        prop::collection::vec((any::<u16>(), any::<u8>(), 1u8..=3), 0..10).prop_map(|families| {
            let value = families.iter().flat_map(|(afi, safi, how)| {
                let [a, b] = afi.to_be_bytes();
                [a, b, *safi, *how]
            });
            Capability::decode(69, &value.collect::<Vec<_>>())
        }),
        (0u8..=5).prop_map(|role| Capability::decode(9, &[role])),
        prop_oneof![Just(6u8), Just(70)].prop_map(|code| Capability::decode(code, &[])),
        ("\\PC{0,40}", "\\PC{0,20}").prop_map(|(host, domain)| Capability::HostName { host, domain }),
        "\\PC{0,60}".prop_map(Capability::SoftwareVersion),
    ]
}

fn read(code: u8, value: &[u8]) -> Capability {
    let capability = Capability::decode(code, value);
    let mut bytes = Vec::new();
    capability.encode(&mut bytes);
    assert_eq!(bytes, [&[code, value.len() as u8], value].concat(), "{capability:?}");
    capability
}

#[test]
fn rfc8950_4_extended_next_hop_capability() {
    let one = read(5, &[0, 1, 0, 1, 0, 2]);
    assert_eq!(one, Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]));
    assert_eq!(one.to_string(), "extended next hop IPv4 unicast over IPv6");
    // FRR and BIRD offer more families in the same value.
    let vpn = ExtendedNextHop { afi: 1, safi: 128, next_hop_afi: 2 };
    let two = read(5, &[0, 1, 0, 1, 0, 2, 0, 1, 0, 128, 0, 2]);
    assert_eq!(two, Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6, vpn]));
    assert!(matches!(read(5, &[0, 1, 0, 1, 0]), Capability::Unknown { .. }));
}

#[test]
fn rfc8654_3_extended_message_capability() {
    assert_eq!(read(6, &[]), Capability::ExtendedMessage);
    assert!(matches!(read(6, &[0]), Capability::Unknown { .. }));
}

#[test]
fn rfc9234_4_1_role_capability() {
    let roles = [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer];
    for (code, role) in roles.into_iter().enumerate() {
        assert_eq!(read(9, &[code as u8]), Capability::Role(role));
        assert_eq!(role.counterpart().counterpart(), role);
    }
    for odd in [&[5][..], &[255], &[], &[3, 3]] {
        assert!(matches!(read(9, odd), Capability::Unknown { .. }), "{odd:?}");
    }
}

#[test]
fn rfc7911_4_add_path_capability() {
    let Capability::AddPath(value) = read(69, &[0, 1, 1, 1, 0, 2, 1, 3]) else { panic!() };
    let said: Vec<_> = value.families.iter().map(|f| (f.family(), f.receive, f.send)).collect();
    assert_eq!(said, [(Some(Family::V4), true, false), (Some(Family::V6), true, true)]);
    for odd in [&[0, 1, 1, 0][..], &[0, 1, 1, 4], &[0, 1, 1], &[0, 1, 1, 1, 0]] {
        assert!(matches!(read(69, odd), Capability::Unknown { .. }), "{odd:?}");
    }
}

#[test]
fn rfc7313_3_1_enhanced_route_refresh_capability() {
    assert_eq!(read(70, &[]), Capability::EnhancedRouteRefresh);
    assert!(matches!(read(70, &[1]), Capability::Unknown { .. }));
}

#[test]
fn rfc9494_3_1_long_lived_capability() {
    let Capability::LongLived(value) = read(71, &[0, 1, 1, 0x80, 0, 0x0e, 0x10]) else { panic!() };
    let family = LongLivedFamily { afi: 1, safi: 1, forwarding: true, stale_time: 3600 };
    assert_eq!(value.families, [family]);
    assert_eq!(family.family(), Some(Family::V4));
}

/// The shapes that crashed a switch's bgpd: the length of the capability is no multiple of a tuple's, or says more than there is.
#[test]
fn cve_2023_31489_long_lived_capability_cut_short() {
    for n in 1..14 {
        if n % 7 != 0 {
            assert!(matches!(Capability::decode(71, &[1; 14][..n]), Capability::Unknown { .. }), "{n} octets");
        }
    }
    // Inside an OPEN: the last capability claims 7 octets and has fewer.
    for have in 0..7u8 {
        let mut open = vec![4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, 4 + have, 2, 2 + have, 71, 7];
        open.extend(std::iter::repeat_n(1, have.into()));
        let n = Open::decode(&open).unwrap_err();
        assert_eq!((n.code, n.subcode), (2, 0), "{have} octets");
    }
}

#[test]
fn names_for_people_are_read_and_harmless_when_shown() {
    let named = read(73, &[4, b'l', b'e', b'a', b'f', 2, b'd', b'c']);
    assert_eq!(named.to_string(), "host name leaf.dc");
    let version = read(75, &[3, b'a', 0x1b, b'b']);
    assert_eq!(version.to_string(), "software version a\\u{1b}b");
    for odd in [&[5, b'x'][..], &[1, 0xff, 0], &[0], &[0, 0, 0]] {
        assert!(matches!(read(73, odd), Capability::Unknown { .. }), "{odd:?}");
    }
    let long = Capability::HostName { host: "é".repeat(200), domain: "d".repeat(200) };
    let mut bytes = Vec::new();
    long.encode(&mut bytes);
    assert!(matches!(Capability::decode(73, &bytes[2..]), Capability::HostName { .. }));
    assert_eq!(bytes.len(), 2 + usize::from(bytes[1]));
}
