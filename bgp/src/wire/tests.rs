//! Tests of the codec: another implementation's bytes, RFC 7606's table, round trips, any bytes at all.

mod capability;
mod communities;
mod next_hop;
mod recorded;
mod rfc7606;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use proptest::prelude::*;

use super::*;

pub(super) fn context() -> UpdateContext {
    UpdateContext { four_octet_as: true, families: Family::BOTH.into_iter().collect(), ..UpdateContext::default() }
}

pub(super) fn prefixes(field: &NlriField<'_>) -> Vec<Prefix> {
    let v4 = field.keys::<u32>().map(|(key, len)| Prefix::new(key.addr(), len).unwrap());
    let v6 = field.keys::<Bits6>().map(|(key, len)| Prefix::new(key.addr(), len).unwrap());
    v4.chain(v6).collect()
}

fn texts(field: &NlriField<'_>) -> Vec<String> {
    prefixes(field).iter().map(ToString::to_string).collect()
}

/// The messages FRR sent, as recorded.
fn recorded() -> Vec<Vec<u8>> {
    let text = include_str!("../../testdata/frr-8.4.4-leaf.hex");
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let octets = |l: &str| (0..l.len()).step_by(2).map(|i| u8::from_str_radix(&l[i..i + 2], 16).unwrap()).collect();
    lines.map(octets).collect()
}

#[test]
fn recorded_open_is_read_with_all_its_capabilities() {
    let first = &recorded()[0];
    let frame = frame(first, false).unwrap().unwrap();
    assert_eq!((frame.kind, frame.len), (MessageType::Open, first.len()));
    let open = Open::decode(frame.body).unwrap();
    assert_eq!((open.asn, open.hold_time), (65001, Duration::from_secs(9)));
    assert_eq!(open.router_id, Ipv4Addr::new(10, 122, 1, 1));
    let names: Vec<String> = open.capabilities.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "IPv4 unicast",
            "IPv6 unicast",
            "route refresh (old)",
            "route refresh",
            "enhanced route refresh",
            "four-octet AS 65001",
            "extended message",
            "add-path IPv4 receive, IPv6 receive",
            "host name leaf1",
            "graceful restart within 120 s, restarted (R), also over NOTIFICATIONs (N)",
            "long-lived graceful restart, IPv4 for 0 s forwarding (F), IPv6 for 0 s forwarding (F)",
        ]
    );
}

#[test]
fn recorded_updates_say_what_the_switch_was_configured_to_say() {
    let mut lines = Vec::new();
    for message in recorded() {
        let frame = frame(&message, false).unwrap().unwrap();
        if frame.kind != MessageType::Update {
            continue;
        }
        let update = Update::decode(&Sections::split(frame.body).unwrap(), &context()).unwrap();
        assert!(update.faults.is_empty(), "{:?}", update.faults);
        lines.extend(update.end_of_rib.map(|family| format!("{family} done")));
        for a in [&update.announced, &update.mp_announced].into_iter().flatten() {
            let t = &a.attributes;
            let mut line =
                format!("+ {} via {} path {} {:?}", texts(&a.field).join(" "), t.next_hop, t.as_path, t.origin);
            if t.med != Some(0) {
                line += &format!(" med {:?}", t.med);
            }
            if let Some(aggregator) = t.aggregator {
                line += &format!(" aggregated {} {} {}", t.atomic_aggregate, aggregator.asn, aggregator.router_id);
            }
            if !t.communities.is_empty() {
                line += &format!(" {:?} {:?} {:?}", t.communities, t.large_communities, t.extended_communities);
            }
            lines.push(line);
        }
        lines.extend(update.withdrawn.iter().flatten().map(|f| format!("- {}", texts(f).join(" "))));
    }
    assert_eq!(
        lines,
        [
            // Its networks took it longer than the session.
            "IPv4 done",
            "IPv6 done",
            "+ 10.120.201.0/27 10.121.9.0/25 10.120.201.64/27 via 10.122.101.0 path 65001 Igp",
            "+ ::/0 fd00:121::/48 fd00:120:201:1::/64 via fd00:122:101:: path 65001 Igp",
            "+ 10.121.9.0/24 via 10.122.101.0 path 65001 Igp aggregated true 65001 10.122.1.1",
            "+ fd00:123:8000::/122 via fd00:122:101:: path 65001 4200000011 Igp med None",
            "+ 10.122.0.11/32 10.123.128.0/26 via 10.122.101.0 path 65001 4200000011 Igp med None",
            "+ 10.121.0.0/24 via 10.122.101.0 path 65001 64600 4200000099 Incomplete med Some(77) [4259905636, 4259905736] \
         [[65001, 1, 2]] [[0, 2, 253, 233, 0, 0, 0, 7]]",
            "- 10.120.201.64/27",
            "- fd00:121::/48",
        ]
    );
}

#[test]
fn recorded_refreshes_and_notification_are_read() {
    let mut refreshed = Vec::new();
    let mut said = None;
    for message in recorded() {
        let frame = frame(&message, false).unwrap().unwrap();
        match frame.kind {
            MessageType::RouteRefresh => refreshed.push(RouteRefresh::decode(frame.body).unwrap().family().unwrap()),
            MessageType::Notification => said = Some(Notification::decode(frame.body).to_string()),
            _ => {}
        }
    }
    assert_eq!(refreshed, Family::BOTH);
    assert_eq!(said.as_deref(), Some("cease: administrative shutdown (6/2), saying \"night work\""));
}

#[test]
fn section_6_1_header_errors() {
    let answer = |bytes: &[u8]| frame(bytes, false).unwrap_err();
    let mut message = Vec::new();
    keepalive(&mut message);
    let mut bad = message.clone();
    bad[0] = 0;
    assert_eq!((answer(&bad).code, answer(&bad).subcode), (1, 1));
    for len in [0u16, 18, 20, 4097, 65535] {
        let mut bad = message.clone();
        bad[16..18].copy_from_slice(&len.to_be_bytes());
        let n = answer(&bad);
        assert_eq!((n.code, n.subcode, n.data), (1, 2, len.to_be_bytes().to_vec()), "length {len}");
    }
    let mut bad = message.clone();
    bad[18] = 6;
    assert_eq!(answer(&bad), Notification::new(ErrorCode::Header, 3).with_data(&[6]));
    // Short for their type, although long enough for a header.
    for (kind, len) in [(1, 28u16), (2, 22), (3, 20)] {
        let mut bad = message.clone();
        bad[16..18].copy_from_slice(&len.to_be_bytes());
        bad[18] = kind;
        assert_eq!(answer(&bad).subcode, 2);
    }
}

#[test]
fn section_6_2_open_errors() {
    let good = [4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, 0];
    assert!(Open::decode(&good).is_ok());
    type Change = (usize, u8);
    let cases: &[(&str, &[Change], u8)] = &[
        ("version", &[(0, 5)], 1),
        ("AS 0", &[(1, 0), (2, 0)], 2),
        ("AS_TRANS without the capability", &[(1, 0x5b), (2, 0xa0)], 2),
        ("hold time 1", &[(4, 1)], 6),
        ("hold time 2", &[(4, 2)], 6),
        ("identifier 0", &[(5, 0), (8, 0)], 3),
        ("parameters longer than the message", &[(9, 1)], 0),
    ];
    for (name, changes, subcode) in cases {
        let mut bad = good;
        for (at, value) in *changes {
            bad[*at] = *value;
        }
        let n = Open::decode(&bad).unwrap_err();
        assert_eq!((n.code, n.subcode), (2, *subcode), "{name}");
    }
    // Unknown parameter type 1, and parameters cut at every place.
    let n = Open::decode(&[4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, 2, 1, 0]).unwrap_err();
    assert_eq!((n.code, n.subcode), (2, 4));
    let whole = [4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, 8, 2, 6, 65, 4, 0, 0, 0xfd, 0xe9];
    assert_eq!(Open::decode(&whole).unwrap().capabilities, [Capability::FourOctetAs(65001)]);
    for end in 0..whole.len() {
        assert!(Open::decode(&whole[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn rfc_9072_extended_parameters() {
    let mut open = vec![4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, 255, 255, 0, 9, 2, 0, 6, 65, 4, 0, 0, 0xfd, 0xe9];
    assert_eq!(Open::decode(&open).unwrap().asn, 65001);
    open[12] = 10;
    assert!(Open::decode(&open).is_err());
    // What made an implementation read past the end: nothing behind the marker.
    assert!(Open::decode(&[4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, 255]).is_err());
    assert!(Open::decode(&[4, 0xfd, 0xe9, 0, 9, 10, 0, 0, 1, 255, 255]).is_err());
}

#[test]
fn martians_are_known() {
    for text in [
        "127.0.0.0/8",
        "0.0.0.0/8",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "169.254.1.0/24",
        "fe80::/64",
        "ff02::/16",
        "::1/128",
        "::ffff:10.0.0.0/104",
    ] {
        assert!(is_martian(&text.parse().unwrap()), "{text}");
    }
    for text in
        ["0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8", "1.0.0.0/8", "223.255.255.0/24", "::/0", "fd00::/8", "2000::/3"]
    {
        assert!(!is_martian(&text.parse().unwrap()), "{text}");
    }
}

pub(super) fn any_prefix(family: Family) -> impl Strategy<Value = Prefix> {
    (any::<u128>(), 0..=family.max_len()).prop_map(move |(bits, len)| {
        let addr: IpAddr = match family {
            Family::V4 => Ipv4Addr::from_bits((bits >> 96) as u32).into(),
            Family::V6 => std::net::Ipv6Addr::from_bits(bits).into(),
        };
        Prefix::truncated(addr, len).unwrap()
    })
}

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn any_capability() -> impl Strategy<Value = Capability> {
    let unknown = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40));
    prop_oneof![
        any_family().prop_map(Capability::Unicast),
        Just(Capability::RouteRefresh),
        (any::<u16>(), prop::collection::vec(any::<[u8; 4]>(), 0..5)).prop_map(|(head, families)| {
            let value = [&head.to_be_bytes()[..], &families.concat()].concat();
            match Capability::decode(64, &value) {
                Capability::GracefulRestart(restart) => Capability::GracefulRestart(restart),
                other => panic!("{other:?}"),
            }
        }),
        unknown.prop_map(|(code, value)| Capability::decode(code, &value)),
        capability::any_with_value(),
    ]
}

/// Everything that reads bytes, fed these.
fn read_all(bytes: &[u8], four_octet_as: bool) {
    let _ = Open::decode(bytes);
    let _ = Notification::decode(bytes).to_string();
    let _ = RouteRefresh::decode(bytes);
    if let Ok(sections) = Sections::split(bytes) {
        let ctx = UpdateContext { four_octet_as, ..context() };
        if let Ok(update) = Update::decode(&sections, &ctx) {
            for announcement in [update.announced, update.mp_announced].into_iter().flatten() {
                let _ = announcement.attributes.as_path.to_string();
                assert_eq!(prefixes(&announcement.field).len(), announcement.field.count());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), four in any::<bool>()) {
        let _ = frame(&bytes, false).map(|f| f.map(|f| f.len));
        read_all(&bytes, four);
    }

    #[test]
    fn recorded_messages_with_octets_changed_are_read_without_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        four in any::<bool>(),
    ) {
        let recorded = recorded();
        let mut body = recorded[which.index(recorded.len())][HEADER_LEN..].to_vec();
        if body.is_empty() {
            return Ok(());
        }
        for (at, value) in changes {
            let at = at.index(body.len());
            body[at] = value;
        }
        read_all(&body, four);
        body.truncate(cut.index(body.len() + 1));
        read_all(&body, four);
    }

    #[test]
    fn open_survives_the_wire(
        asn in 1u32..,
        hold in prop_oneof![Just(0u64), 3..=65535u64],
        id in 1u32..,
        mut capabilities in prop::collection::vec(any_capability(), 0..20),
    ) {
        prop_assume!(asn != u32::from(AS_TRANS));
        capabilities.retain(|c| !matches!(c, Capability::FourOctetAs(_)));
        capabilities.push(Capability::FourOctetAs(asn));
        let mut once = Vec::new();
        for capability in capabilities {
            if !once.contains(&capability) {
                once.push(capability);
            }
        }
        let open = Open { asn, hold_time: Duration::from_secs(hold), router_id: id.into(), capabilities: once };
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        let frame = frame(&bytes, false).unwrap().unwrap();
        prop_assert_eq!(Open::decode(frame.body).unwrap(), open);
    }

    #[test]
    fn announcements_survive_the_wire(
        family in any_family(),
        asn in 1u32..,
        four_octet_as in any::<bool>(),
        seed in prop::collection::btree_set(any::<u128>(), 1..1500),
        len in 1u8..=32,
        hop in 1u32..,
    ) {
        prop_assume!(four_octet_as || asn != u32::from(AS_TRANS));
        let (shift, len) = match family { Family::V4 => (96, len), Family::V6 => (0, len * 4) };
        let wanted: Vec<Prefix> = seed
            .iter()
            .map(|bits| match family {
                Family::V4 => Prefix::truncated(Ipv4Addr::from_bits((bits >> shift) as u32).into(), len).unwrap(),
                Family::V6 => Prefix::truncated(std::net::Ipv6Addr::from_bits(*bits).into(), len).unwrap(),
            })
            .collect();
        let next_hop: IpAddr = match family {
            Family::V4 => Ipv4Addr::from_bits(hop).into(),
            Family::V6 => std::net::Ipv6Addr::from_bits(u128::from(hop) << 64).into(),
        };
        let out = OutAttributes { four_octet_as, ..OutAttributes::new(asn, next_hop) };
        let (mut told, mut gone) = (Vec::new(), Vec::new());
        let ctx = UpdateContext { four_octet_as, ..context() };
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            let mut bytes = Vec::new();
            rest = &rest[out.announce(rest, &mut bytes)..];
            prop_assert!(bytes.len() <= MAX_MESSAGE_LEN);
            let frame = frame(&bytes, false).unwrap().unwrap();
            let update = Update::decode(&Sections::split(frame.body).unwrap(), &ctx).unwrap();
            prop_assert!(update.faults.is_empty());
            let announced = update.announced.or(update.mp_announced).unwrap();
            prop_assert_eq!(&announced.attributes, &Attributes::new(Origin::Igp, AsPath::sequence(&[asn]), next_hop));
            told.extend(prefixes(&announced.field));
        }
        prop_assert_eq!(&told, &wanted);
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            let mut bytes = Vec::new();
            rest = &rest[withdraw(family, rest, &mut bytes)..];
            prop_assert!(bytes.len() <= MAX_MESSAGE_LEN);
            let frame = frame(&bytes, false).unwrap().unwrap();
            let update = Update::decode(&Sections::split(frame.body).unwrap(), &ctx).unwrap();
            prop_assert!(update.announced.is_none() && update.mp_announced.is_none());
            gone.extend(update.withdrawn.iter().flatten().flat_map(prefixes));
        }
        prop_assert_eq!(&gone, &wanted);
    }

    #[test]
    fn keys_are_what_prefixes_are(prefix in any_family().prop_flat_map(any_prefix)) {
        let mut bytes = Vec::new();
        nlri::encode(&prefix, &mut bytes);
        let field = NlriField::new(prefix.family(), &bytes).unwrap();
        prop_assert_eq!(prefixes(&field), [prefix]);
        // Host bits in the last octet change nothing.
        if prefix.len() % 8 != 0 {
            *bytes.last_mut().unwrap() |= 0xff >> (prefix.len() % 8);
            prop_assert_eq!(prefixes(&NlriField::new(prefix.family(), &bytes).unwrap()), [prefix]);
        }
    }
}

#[test]
fn end_of_rib_is_known_for_both_families() {
    for family in Family::BOTH {
        let mut bytes = Vec::new();
        end_of_rib(family, &mut bytes);
        let frame = frame(&bytes, false).unwrap().unwrap();
        let update = Update::decode(&Sections::split(frame.body).unwrap(), &context()).unwrap();
        assert_eq!(update.end_of_rib, Some(family));
    }
}

#[test]
fn rfc_6793_paths_of_two_octet_speakers_are_merged() {
    let ctx = UpdateContext { four_octet_as: false, ..context() };
    // AS_PATH 65001 23456 23456, AS4_PATH 4200000011 4200000012: the new one replaces the tail of the old.
    let attributes = [
        &[0x40, 1, 1, 0][..],
        &[0x40, 2, 8, 2, 3, 0xfd, 0xe9, 0x5b, 0xa0, 0x5b, 0xa0],
        &[0x40, 3, 4, 10, 0, 0, 1],
        &[0xc0, 17, 10, 2, 2, 0xfa, 0x56, 0xea, 0x0b, 0xfa, 0x56, 0xea, 0x0c],
    ]
    .concat();
    let sections = Sections { withdrawn: &[], attributes: &attributes, nlri: &[8, 10] };
    let update = Update::decode(&sections, &ctx).unwrap();
    assert_eq!(update.announced.unwrap().attributes.as_path.to_string(), "65001 4200000011 4200000012");
    // From a four-octet speaker AS4_PATH is noise (section 6).
    let longer = [&[0x40, 1, 1, 0][..], &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9], &attributes[15..]].concat();
    let sections = Sections { withdrawn: &[], attributes: &longer, nlri: &[8, 10] };
    let update = Update::decode(&sections, &context()).unwrap();
    assert_eq!(update.announced.unwrap().attributes.as_path.to_string(), "65001");
    assert_eq!(update.faults[0].0, Treatment::Discard);
}
