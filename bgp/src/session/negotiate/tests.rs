//! What two OPENs agree on, and what they can't agree on.

use super::*;
use crate::config::RemoteAsn;
use crate::wire::AddPath;

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

fn agree(theirs: Open, peer: &PeerConfig) -> Result<Negotiated, Notification> {
    negotiate(&our_open(&LOCAL, peer, &OwnRestart::default(), Circumstances::default()), theirs, peer)
}

fn families(capabilities: &[Capability]) -> Result<Vec<Family>, u8> {
    let open = theirs(65001, 90, capabilities);
    match agree(open, &peer(RemoteAsn::Is(65001))) {
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
        let n = agree(theirs(65001, given, &[]), &config).unwrap();
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
        let answer = agree(theirs(asn, 9, &[]), &peer(remote_asn));
        assert_eq!(answer.is_ok(), good, "{remote_asn} {asn}");
        if let Err(n) = answer {
            assert_eq!((n.code, n.subcode), (2, 2));
        }
    }
}

#[test]
fn rfc_6793_needs_both_sides() {
    let four = |c: &[Capability]| agree(theirs(65001, 9, c), &peer(RemoteAsn::External)).unwrap().update.four_octet_as;
    assert!(four(&[Capability::FourOctetAs(65001)]));
    assert!(!four(&[]));
    let open = our_open(&LOCAL, &peer(RemoteAsn::External), &OwnRestart::default(), Circumstances::default());
    assert!(open.capabilities.contains(&Capability::FourOctetAs(LOCAL.asn)));
}

#[test]
fn unknown_capabilities_are_ignored_and_kept() {
    let odd = Capability::Unknown { code: 200, value: vec![1, 2, 3] };
    let n = agree(theirs(65001, 9, std::slice::from_ref(&odd)), &peer(RemoteAsn::External)).unwrap();
    assert_eq!(n.capabilities_received, [odd]);
}

#[test]
fn terms_hang_on_what_both_sides_offered() {
    let config = peer(RemoteAsn::External);
    let add_path = |receive, send| {
        let family = AddPathFamily { afi: 1, safi: 1, receive, send };
        Capability::AddPath(AddPath { families: vec![family] })
    };
    let next_hop = Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]);
    let plain = [Capability::Unicast(Family::V4), Capability::RouteRefresh, Capability::FourOctetAs(65001)];
    let all = [Capability::ExtendedMessage, Capability::EnhancedRouteRefresh, next_hop];
    let open = |asn, more: &[Capability]| theirs(asn, 9, &[&plain, more].concat());
    let terms = |ours: &[Capability], their: &[Capability]| {
        let n = negotiate(&open(LOCAL.asn, ours), open(65001, their), &config).unwrap();
        let add_path: Vec<_> = n.update.add_path.iter().copied().collect();
        (n.extended_in, n.extended_out, n.enhanced_refresh, n.update.extended_next_hop, add_path)
    };
    let (ours, their) = ([&all[..], &[add_path(true, false)]].concat(), [&all[..], &[add_path(true, true)]].concat());
    assert_eq!(terms(&ours, &their), (true, true, true, true, vec![Family::V4]));
    // RFC 8654 section 4: who offers to read large messages has to, whatever the other offers.
    assert_eq!(terms(&ours, &[]), (true, false, false, false, vec![]));
    assert_eq!(terms(&[], &their), (false, false, false, false, vec![]));
    assert_eq!(terms(&ours, &[add_path(true, false)]).4, []);
}

#[test]
fn rfc4724_3_the_last_graceful_restart_capability_counts() {
    let restart = |restart_time| Capability::GracefulRestart(GracefulRestart { restart_time, ..Default::default() });
    let long = Capability::LongLived(LongLived::default());
    let n = agree(theirs(65001, 9, &[restart(1), long.clone(), restart(2)]), &peer(RemoteAsn::External)).unwrap();
    assert_eq!(n.graceful_restart.map(|g| g.restart_time), Some(2));
    assert!(n.long_lived.is_some());
    // RFC 9494 section 4.1: alone it means nothing.
    assert_eq!(agree(theirs(65001, 9, &[long]), &peer(RemoteAsn::External)).unwrap().long_lived, None);
}
