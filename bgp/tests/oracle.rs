//! The codec against another implementation's, bgpkit-parser's: what we write it reads as the same, and what it writes we do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where the two disagree")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bgpkit_parser::models::{
    AsPath as TheirPath, AsPathSegment, Asn, AsnLength, AttrFlags, Attribute, AttributeValue, BgpMessage,
    BgpUpdateMessage, Community, LargeCommunity, MetaCommunity, NetworkPrefix, NextHopAddress, Nlri,
    Origin as TheirOrigin,
};
use bgpkit_parser::parser::bgp::messages::parse_bgp_message;
use bytes::Bytes;
use petiole_bgp::wire::{
    AddPath, AddPathFamily, AsPath, Attributes, Capability, ExtendedNextHop, GracefulFamily, GracefulRestart,
    Notification, Open, Origin, OutAttributes, OutCommunities, Role, RouteRefresh, Sections, SegmentKind, Update,
    UpdateContext, end_of_rib, frame, withdraw,
};
use petiole_prefix::{Family, Prefix};
use proptest::prelude::*;

fn context(four_octet_as: bool) -> UpdateContext {
    UpdateContext {
        four_octet_as,
        families: Family::BOTH.into_iter().collect(),
        extended_next_hop: true,
        ..UpdateContext::default()
    }
}

const fn length(four_octet_as: bool) -> AsnLength {
    if four_octet_as { AsnLength::Bits32 } else { AsnLength::Bits16 }
}

/// What the other implementation reads.
fn theirs(bytes: &[u8], four_octet_as: bool) -> BgpMessage {
    parse_bgp_message(&mut Bytes::copy_from_slice(bytes), false, &length(four_octet_as)).unwrap()
}

/// An UPDATE as we read it: what is announced, with which attributes, and what is withdrawn.
fn ours(bytes: &[u8], four_octet_as: bool) -> (Vec<String>, Option<Attributes>, Vec<String>) {
    let body = frame(bytes, true).unwrap().unwrap().body;
    let update = Update::decode(&Sections::split(body).unwrap(), &context(four_octet_as)).unwrap();
    assert_eq!(update.faults, []);
    let announcement = update.announced.or(update.mp_announced);
    let announced = announcement.as_ref().map(|a| texts(&a.field)).unwrap_or_default();
    let withdrawn = update.withdrawn.iter().flatten().flat_map(texts).collect();
    (announced, announcement.map(|a| a.attributes), withdrawn)
}

fn texts(field: &petiole_bgp::wire::NlriField<'_>) -> Vec<String> {
    use petiole_bgp::wire::nlri::{Bits, Bits6};
    let text = |addr: IpAddr, len: u8| Prefix::new(addr, len).unwrap().to_string();
    let v4 = field.keys::<u32>().map(|(key, len)| text(key.addr(), len));
    v4.chain(field.keys::<Bits6>().map(|(key, len)| text(key.addr(), len))).collect()
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

/// None of length zero: the other implementation takes a field that begins with a zero for one with path identifiers.
fn prefixes(family: Family) -> impl Strategy<Value = Vec<Prefix>> {
    prop::collection::vec((any::<u128>(), any::<u8>()), 1..40).prop_map(move |drawn| {
        let one = |(bits, len): (u128, u8)| match family {
            Family::V4 => Prefix::truncated(Ipv4Addr::from_bits((bits >> 96) as u32).into(), 1 + len % 32).unwrap(),
            Family::V6 => Prefix::truncated(Ipv6Addr::from_bits(bits).into(), 1 + len % 128).unwrap(),
        };
        drawn.into_iter().map(one).collect()
    })
}

fn next_hop(family: Family) -> impl Strategy<Value = IpAddr> {
    let v6 = any::<u128>().prop_map(|n| Ipv6Addr::from_bits(n | 0x2000 << 112).into());
    let link_local = any::<u64>().prop_map(|n| Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(n)).into());
    let v4 = any::<u32>().prop_map(|n| Ipv4Addr::from_bits(n).into());
    let any_v6 = prop_oneof![v6, link_local];
    match family {
        Family::V4 => prop_oneof![v4, any_v6].boxed(),
        Family::V6 => any_v6.boxed(),
    }
}

fn nets(prefixes: &[NetworkPrefix]) -> Vec<String> {
    prefixes.iter().map(|p| p.prefix.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn announcements_are_read_alike_and_come_back_the_same(
        (prefixes, next_hop) in family().prop_flat_map(|f| (prefixes(f), next_hop(f))),
        asn in prop_oneof![1u32..23456, 70_000u32..],
        four_octet_as in any::<bool>(),
        beside in prop::option::of(any::<u64>()),
        standard in prop::collection::vec(any::<u32>(), 0..100),
        extended in prop::collection::vec(any::<[u8; 6]>(), 0..50),
        large in prop::collection::vec(any::<[u32; 3]>(), 0..40),
    ) {
        let beside = beside.map(|n| Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(n)));
        let beside = beside.filter(|_| matches!(next_hop, IpAddr::V6(a) if !a.is_unicast_link_local()));
        // Route targets of two-octet AS numbers, which both read as eight octets that mean the same.
        let extended = extended.into_iter().map(|[a, b, c, d, e, f]| [0, 2, a, b, c, d, e, f]);
        let communities = OutCommunities::new(standard, extended, large).unwrap();
        let out = OutAttributes {
            four_octet_as,
            link_local: beside,
            communities: communities.clone().into(),
            ..OutAttributes::new(asn, next_hop)
        };
        let mut bytes = Vec::new();
        prop_assert_eq!(out.announce(&prefixes, &mut bytes), prefixes.len());
        let message = theirs(&bytes, four_octet_as);
        let BgpMessage::Update(update) = &message else { panic!("{message:?}") };
        let attributes = &update.attributes;
        prop_assert!(attributes.validation_warnings().is_empty(), "{:?}", attributes.validation_warnings());

        let expected: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        let reached = attributes.get_reachable_nlri();
        prop_assert_eq!(nets(reached.map_or(&update.announced_prefixes, |n| &n.prefixes)), expected.clone());
        match (reached.and_then(|n| n.next_hop), next_hop, beside) {
            (None, IpAddr::V4(_), _) => prop_assert_eq!(attributes.next_hop(), Some(next_hop)),
            (Some(NextHopAddress::Ipv6(a)), IpAddr::V6(b), None) => prop_assert_eq!(a, b),
            (Some(NextHopAddress::Ipv6LinkLocal(a, c)), IpAddr::V6(b), Some(d)) => prop_assert_eq!((a, c), (b, d)),
            other => panic!("{other:?}"),
        }
        prop_assert_eq!(attributes.origin(), TheirOrigin::IGP);
        let path = attributes.effective_as_path().unwrap();
        prop_assert_eq!(path.to_u32_vec_opt(false), Some(vec![asn]));
        let (mut standard, mut large, mut extended) = (0, Vec::new(), 0);
        for community in attributes.iter_communities() {
            match community {
                MetaCommunity::Large(l) => large.push([l.global_admin, l.local_data[0], l.local_data[1]]),
                MetaCommunity::Plain(_) => standard += 1,
                MetaCommunity::Extended(_) => extended += 1,
                MetaCommunity::Ipv6Extended(_) => panic!("none was sent"),
            }
        }
        prop_assert_eq!(large, communities.large());
        prop_assert_eq!((standard, extended), (communities.standard().len(), communities.extended().len()));

        // Written again by them, read by us: nothing has changed.
        let again = message.encode(length(four_octet_as)).unwrap();
        prop_assert_eq!(ours(&again, four_octet_as), ours(&bytes, four_octet_as));
        prop_assert_eq!(ours(&again, four_octet_as).0, expected);
    }

    #[test]
    fn withdrawals_are_read_alike(prefixes in family().prop_flat_map(prefixes)) {
        let family = prefixes[0].family();
        let mut bytes = Vec::new();
        prop_assert_eq!(withdraw(family, &prefixes, &mut bytes), prefixes.len());
        let message = theirs(&bytes, true);
        let BgpMessage::Update(update) = &message else { panic!("{message:?}") };
        let gone = update.attributes.get_unreachable_nlri().map_or(&update.withdrawn_prefixes, |n| &n.prefixes);
        let expected: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        prop_assert_eq!(nets(gone), expected.clone());
        prop_assert_eq!(ours(&message.encode(AsnLength::Bits32).unwrap(), true).2, expected);
    }

    #[test]
    fn what_they_announce_is_what_we_read(
        prefixes in family().prop_flat_map(prefixes),
        origin in 0usize..3,
        path in prop::collection::vec((any::<bool>(), prop::collection::vec(1u32..23456, 1..10)), 1..4),
        hop in any::<u64>(),
        med in prop::option::of(any::<u32>()),
        atomic in any::<bool>(),
        aggregator in prop::option::of((1u32..23456, any::<u32>())),
        standard in prop::collection::vec((any::<u16>(), any::<u16>()), 0..80),
        large in prop::collection::vec(any::<[u32; 3]>(), 0..30),
        customer in prop::option::of(1u32..),
        four_octet_as in any::<bool>(),
    ) {
        let origins = [(TheirOrigin::IGP, Origin::Igp), (TheirOrigin::EGP, Origin::Egp)];
        let (origin, our_origin) = origins.get(origin).copied().unwrap_or((TheirOrigin::INCOMPLETE, Origin::Incomplete));
        let mut their_path = TheirPath::new();
        for (set, asns) in &path {
            their_path.append_segment(if *set { AsPathSegment::set(asns) } else { AsPathSegment::sequence(asns) });
        }
        let nets: Vec<NetworkPrefix> = prefixes.iter().map(|p| p.to_string().parse().unwrap()).collect();
        let v4 = prefixes[0].family() == Family::V4;
        let next_hop: IpAddr = if v4 {
            Ipv4Addr::from_bits(hop as u32).into()
        } else {
            Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(hop)).into()
        };
        let mut values = vec![AttributeValue::Origin(origin), AttributeValue::AsPath(their_path)];
        if v4 {
            values.push(AttributeValue::NextHop(next_hop));
        }
        values.extend(med.map(AttributeValue::MultiExitDiscriminator));
        values.extend(atomic.then_some(AttributeValue::AtomicAggregate));
        values.extend(
            aggregator.map(|(asn, id)| AttributeValue::Aggregator { asn: Asn::new_32bit(asn), id: id.into() }),
        );
        let communities = standard.iter().map(|(asn, n)| Community::Custom(Asn::new_32bit((*asn).into()), *n));
        if !standard.is_empty() {
            values.push(AttributeValue::Communities(communities.collect()));
        }
        if !v4 {
            let mut nlri = Nlri::new_reachable(nets[0], Some(next_hop));
            nlri.prefixes.clone_from(&nets);
            values.push(AttributeValue::MpReachNlri(nlri));
        }
        let larges = large.iter().map(|[a, b, c]| LargeCommunity::new(*a, [*b, *c]));
        if !large.is_empty() {
            values.push(AttributeValue::LargeCommunities(larges.collect()));
        }
        values.extend(customer.map(|asn| AttributeValue::OnlyToCustomer(Asn::new_32bit(asn))));
        let message = BgpMessage::Update(BgpUpdateMessage {
            withdrawn_prefixes: Vec::new(),
            // With two octets of length each, which the other implementation leaves to its caller.
            attributes: values.into_iter().map(extended).collect(),
            announced_prefixes: if v4 { nets } else { Vec::new() },
        });
        let bytes = message.encode(length(four_octet_as)).unwrap();
        prop_assume!(bytes.len() <= 65535);
        let (announced, attributes, _) = ours(&bytes, four_octet_as);
        prop_assert_eq!(announced, prefixes.iter().map(ToString::to_string).collect::<Vec<_>>());
        let read = attributes.unwrap();
        prop_assert_eq!((read.origin, read.next_hop), (our_origin, next_hop));
        prop_assert_eq!((read.med, read.atomic_aggregate), (med, atomic));
        prop_assert_eq!(read.aggregator.map(|a| (a.asn, a.router_id.to_bits())), aggregator);
        let standard: Vec<u32> = standard.iter().map(|(asn, n)| u32::from(*asn) << 16 | u32::from(*n)).collect();
        prop_assert_eq!(&*read.communities, standard);
        prop_assert_eq!(&*read.large_communities, large);
        prop_assert_eq!(read.only_to_customer, customer);
        prop_assert_eq!(segments(&read.as_path), path);
    }

    #[test]
    fn opens_come_back_the_same(
        asn in prop_oneof![1u32..23456, 70_000u32..],
        hold in prop_oneof![Just(0u64), 3..=65535u64],
        id in 1u32..,
        restart in any::<(bool, u16, bool)>(),
        paths in 1u8..=3,
        role in 0u8..=4,
    ) {
        let (restarted, restart_time, forwarding) = restart;
        let families = [1, 2].map(|afi| GracefulFamily { afi, safi: 1, forwarding }).to_vec();
        let (receive, send) = (paths & 1 != 0, paths & 2 != 0);
        let open = Open {
            asn,
            hold_time: Duration::from_secs(hold),
            router_id: id.into(),
            capabilities: vec![
                Capability::Unicast(Family::V4),
                Capability::Unicast(Family::V6),
                Capability::RouteRefresh,
                Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]),
                Capability::ExtendedMessage,
                Capability::Role(Role::from_code(role).unwrap()),
                Capability::GracefulRestart(GracefulRestart {
                    restarted,
                    notification: false,
                    restart_time: restart_time & 0x0fff,
                    families,
                }),
                Capability::FourOctetAs(asn),
                Capability::AddPath(AddPath { families: vec![AddPathFamily { afi: 1, safi: 1, receive, send }] }),
                Capability::EnhancedRouteRefresh,
            ],
        };
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        let again = theirs(&bytes, true).encode(AsnLength::Bits32).unwrap();
        prop_assert_eq!(Open::decode(frame(&again, false).unwrap().unwrap().body).unwrap(), open);
    }

    #[test]
    fn notifications_and_refreshes_come_back_the_same(
        code in 1u8..=6,
        data in prop::collection::vec(any::<u8>(), 0..300),
        family in family(),
        subtype in 0u8..=2,
    ) {
        let said = Notification { code, subcode: 1, data };
        let mut bytes = Vec::new();
        said.encode(&mut bytes);
        let again = theirs(&bytes, true).encode(AsnLength::Bits32).unwrap();
        prop_assert_eq!(Notification::decode(frame(&again, false).unwrap().unwrap().body), said);
        let mut bytes = Vec::new();
        RouteRefresh::of(family, subtype).encode(&mut bytes);
        prop_assert_eq!(&*theirs(&bytes, true).encode(AsnLength::Bits32).unwrap(), &bytes);
    }
}

fn extended(value: AttributeValue) -> Attribute {
    let plain = Attribute::from(value);
    Attribute { flag: plain.flag | AttrFlags::EXTENDED, ..plain }
}

fn segments(path: &AsPath) -> Vec<(bool, Vec<u32>)> {
    path.segments().map(|s| (s.kind == SegmentKind::Set, s.asns.to_vec())).collect()
}

#[test]
fn end_of_rib_is_known_to_both() {
    for family in Family::BOTH {
        let mut bytes = Vec::new();
        end_of_rib(family, &mut bytes);
        let message = theirs(&bytes, true);
        assert!(matches!(&message, BgpMessage::Update(update) if update.is_end_of_rib()), "{message:?}");
    }
}
