//! What two OPENs agree on, and what they can't agree on.

use super::*;
use crate::config::RemoteAsn;

const LOCAL: LocalConfig = LocalConfig { asn: 4_200_000_011, router_id: Ipv4Addr::new(10, 122, 0, 11) };

fn peer(remote_asn: RemoteAsn) -> PeerConfig {
    PeerConfig::new("10.122.101.0".parse().unwrap(), remote_asn)
}

fn theirs(asn: u32, hold: u64, capabilities: &[Capability]) -> Open {
    Open {
        asn,
        hold_time: Duration::from_secs(hold),
        router_id: [10, 122, 1, 1].into(),
        capabilities: capabilities.to_vec(),
    }
}

fn families(capabilities: &[Capability]) -> Result<Vec<Family>, u8> {
    let open = theirs(65001, 90, capabilities);
    match negotiate(open, &LOCAL, &peer(RemoteAsn::Is(65001))) {
        Ok(n) => Ok(n.update.families.into_iter().collect()),
        Err(n) => Err(n.subcode),
    }
}

#[test]
fn rfc_4760_section_8_families() {
    let other = Capability::OtherFamily { afi: 25, safi: 70 };
    assert_eq!(families(&[]), Ok(vec![Family::V4]));
    assert_eq!(families(&[Capability::RouteRefresh]), Ok(vec![Family::V4]));
    assert_eq!(families(&[Capability::Unicast(Family::V6)]), Ok(vec![Family::V6]));
    let both = [Capability::Unicast(Family::V6), Capability::Unicast(Family::V4), other.clone()];
    assert_eq!(families(&both), Ok(vec![Family::V4, Family::V6]));
    assert_eq!(families(&[other]), Err(7));
}

#[test]
fn the_lower_hold_time_is_used() {
    for (ours, given, used) in [(9, 90, 9), (9, 3, 3), (9, 0, 0), (0, 90, 0)] {
        let mut config = peer(RemoteAsn::External);
        config.hold_time = Duration::from_secs(ours);
        let n = negotiate(theirs(65001, given, &[]), &LOCAL, &config).unwrap();
        assert_eq!(n.hold_time, Duration::from_secs(used));
        assert_eq!(n.keepalive(), Duration::from_secs(used) / 3);
    }
}

#[test]
fn section_6_2_bad_peer_as() {
    for (remote_asn, asn, good) in [
        (RemoteAsn::Is(65001), 65001, true),
        (RemoteAsn::Is(65001), 65002, false),
        (RemoteAsn::External, 65002, true),
        (RemoteAsn::External, LOCAL.asn, false),
    ] {
        let answer = negotiate(theirs(asn, 9, &[]), &LOCAL, &peer(remote_asn));
        assert_eq!(answer.is_ok(), good, "{remote_asn} {asn}");
        if let Err(n) = answer {
            assert_eq!((n.code, n.subcode), (2, 2));
        }
    }
}

#[test]
fn rfc_6793_needs_both_sides() {
    let four = |c: &[Capability]| {
        negotiate(theirs(65001, 9, c), &LOCAL, &peer(RemoteAsn::External)).unwrap().update.four_octet_as
    };
    assert!(four(&[Capability::FourOctetAs(65001)]));
    assert!(!four(&[]));
    let open = our_open(&LOCAL, &peer(RemoteAsn::External));
    assert!(open.capabilities.contains(&Capability::FourOctetAs(LOCAL.asn)));
}

#[test]
fn unknown_capabilities_are_ignored_and_kept() {
    let odd = Capability::Unknown { code: 200, value: vec![1, 2, 3] };
    let n = negotiate(theirs(65001, 9, std::slice::from_ref(&odd)), &LOCAL, &peer(RemoteAsn::External)).unwrap();
    assert_eq!(n.capabilities_received, [odd]);
}
