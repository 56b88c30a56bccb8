//! Next hops: of the other family, and link-local ones.

use std::net::Ipv6Addr;

use super::*;

const GLOBAL: &str = "fd00:122:101::";
const LINK_LOCAL: &str = "fe80::a8c1:abff:fe00:1";

fn extended() -> UpdateContext {
    UpdateContext { extended_next_hop: true, ..context() }
}

/// An UPDATE that announces one prefix of a family through MP_REACH_NLRI with this next hop field.
fn update(family: Family, next_hop: &[&[u8]]) -> Vec<u8> {
    let next_hop = next_hop.concat();
    let prefix: &[u8] = match family {
        Family::V4 => &[24, 10, 1, 0],
        Family::V6 => &[32, 0xfd, 0, 1, 0x20],
    };
    let afi = u16::from(Afi::of(family)).to_be_bytes();
    let value = [&[afi[0], afi[1], 1, next_hop.len() as u8], &next_hop[..], &[0], prefix].concat();
    let attributes =
        [&[0x80, 14, value.len() as u8], &value[..], &[0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9]].concat();
    [&[0, 0, 0, attributes.len() as u8], &attributes[..]].concat()
}

fn next_hop_of(body: &[u8], ctx: &UpdateContext) -> Result<(IpAddr, Option<Ipv6Addr>), Reset> {
    let update = Update::decode(&Sections::split(body)?, ctx)?;
    assert_eq!(update.faults, []);
    let attributes = update.mp_announced.unwrap().attributes;
    Ok((attributes.next_hop, attributes.next_hop_link_local))
}

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn rfc8950_3_ipv4_prefixes_have_ipv6_next_hops_where_agreed() {
    let (global, link_local) = (v6(GLOBAL), v6(LINK_LOCAL));
    let of = |parts: &[&[u8]]| next_hop_of(&update(Family::V4, parts), &extended()).unwrap();
    assert_eq!(of(&[&global]), (ip(GLOBAL), None));
    assert_eq!(of(&[&link_local]), (ip(LINK_LOCAL), None));
    assert_eq!(of(&[&global, &link_local]), (ip(GLOBAL), Some(LINK_LOCAL.parse().unwrap())));
    // The classic next hop stays possible.
    assert_eq!(of(&[&[10, 0, 0, 1]]), (ip("10.0.0.1"), None));
}

#[test]
fn rfc8950_4_without_the_capability_the_length_is_wrong() {
    for parts in [&[&v6(GLOBAL)[..]][..], &[&v6(GLOBAL), &v6(LINK_LOCAL)]] {
        let reset = next_hop_of(&update(Family::V4, parts), &context()).unwrap_err();
        assert_eq!((reset.notification.code, reset.notification.subcode), (3, 9));
    }
    // RFC 7606 section 7.11: lengths that can't be, agreed or not.
    for len in [0, 5, 15, 17, 24, 31, 33, 48] {
        for family in Family::BOTH {
            assert!(next_hop_of(&update(family, &[&vec![1; len]]), &extended()).is_err(), "{family} {len}");
        }
    }
}

/// What implementations send over a link without global addresses.
#[test]
fn rfc2545_3_the_link_local_next_hop_is_taken_where_the_global_one_is_none() {
    let (none, link_local, other) = ([0; 16], v6(LINK_LOCAL), v6("fe80::2"));
    for family in Family::BOTH {
        let of = |parts: &[&[u8]]| next_hop_of(&update(family, parts), &extended()).unwrap();
        assert_eq!(of(&[&link_local]), (ip(LINK_LOCAL), None));
        assert_eq!(of(&[&none, &link_local]), (ip(LINK_LOCAL), None));
        assert_eq!(of(&[&link_local, &link_local]), (ip(LINK_LOCAL), None));
        assert_eq!(of(&[&other, &link_local]), (ip(LINK_LOCAL), None));
        // Two global ones, or one and none: the first counts.
        assert_eq!(of(&[&v6(GLOBAL), &v6("fd00::1")]), (ip(GLOBAL), None));
        assert_eq!(of(&[&v6(GLOBAL), &none]), (ip(GLOBAL), None));
    }
}

proptest! {
    #[test]
    fn next_hops_of_either_family_survive_the_wire(
        family in any_family(),
        hop in prop_oneof![any::<u128>(), (0u128..9).prop_map(|n| (0xfe80 << 112) | n)],
        beside in prop::option::of(any::<u64>()),
    ) {
        let hop = Ipv6Addr::from_bits(hop);
        let beside = beside.map(|n| Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(n)));
        let beside = beside.filter(|_| !hop.is_unicast_link_local() && !hop.is_unspecified());
        let out = OutAttributes { link_local: beside, ..OutAttributes::new(65001, hop.into()) };
        let prefix = match family { Family::V4 => "10.1.0.0/24", Family::V6 => "fd00:1::/32" };
        let mut bytes = Vec::new();
        prop_assert_eq!(out.announce(&[prefix.parse().unwrap()], &mut bytes), 1);
        let body = frame(&bytes, false).unwrap().unwrap().body;
        prop_assert_eq!(next_hop_of(body, &extended()).unwrap(), (hop.into(), beside));
    }
}
