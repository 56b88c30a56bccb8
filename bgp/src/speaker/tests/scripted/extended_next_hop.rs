//! IPv4 over IPv6 next hops (RFC 8950), and what is told over links with link-local addresses only.

use super::*;
use crate::wire::{ExtendedNextHop, Sections, Update, UpdateContext};

const OURS: &str = "fe80::1";
const THEIRS: &str = "fe80::2";

fn capabilities(extended: bool) -> Vec<Capability> {
    let mut all = vec![
        Capability::Unicast(Family::V4),
        Capability::Unicast(Family::V6),
        Capability::RouteRefresh,
        Capability::FourOctetAs(65001),
    ];
    if extended {
        all.push(Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]));
    }
    all
}

/// A session over link-local addresses, and our OPEN's capabilities.
fn over_ipv6(extended: bool) -> (Script, ConnId, Vec<Capability>) {
    let mut script = Script::new(|config| {
        config.passive = true;
        config.remote = ip(THEIRS);
    });
    let conn = ConnId::Accepted(1);
    let (local, remote) = (SocketAddr::new(ip(OURS), 179), SocketAddr::new(ip(THEIRS), 40000));
    script.event(Event::Accepted { conn, local, remote });
    let said = Open::decode(&script.sent(conn)[0].1).unwrap().capabilities;
    script.say(conn, &open(65001, 9, &capabilities(extended)));
    script.say(conn, &alive());
    assert_eq!(script.state(), SessionState::Established, "{:?}", script.events);
    script.actions.clear();
    (script, conn, said)
}

/// What was announced, and with which next hops.
fn told(script: &Script, conn: ConnId) -> Vec<(Family, IpAddr, Option<std::net::Ipv6Addr>)> {
    let ctx = UpdateContext {
        four_octet_as: true,
        families: Family::BOTH.into_iter().collect(),
        extended_next_hop: true,
        ..UpdateContext::default()
    };
    let mut told = Vec::new();
    for (_, body) in script.sent(conn).iter().filter(|(kind, _)| *kind == MessageType::Update as u8) {
        let update = Update::decode(&Sections::split(body).unwrap(), &ctx).unwrap();
        for a in [update.announced, update.mp_announced].into_iter().flatten() {
            told.push((a.field.family(), a.attributes.next_hop, a.attributes.next_hop_link_local));
        }
    }
    told
}

#[test]
fn rfc8950_4_is_offered_over_ipv6_only() {
    let offer = Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]);
    let (script, _, said) = over_ipv6(true);
    assert!(said.contains(&offer));
    assert!(script.view().session.unwrap().extended_next_hop);
    let (script, conn) = Script::established(|_| {}, &open(65001, 9, &capabilities(true)));
    let session = script.view().session.unwrap();
    assert!(!session.extended_next_hop && !session.capabilities_sent.contains(&offer), "{conn}");
}

#[test]
fn rfc8950_6_ipv4_goes_with_the_ipv6_next_hop_where_both_agreed() {
    let (mut script, conn, _) = over_ipv6(true);
    script.originate(&["10.1.0.0/26", "fd00:1::/122"]);
    assert_eq!(told(&script, conn), [(Family::V4, ip(OURS), None), (Family::V6, ip(OURS), None)]);
    // An IPv4 next hop, once known, is preferred; a global IPv6 one has the link-local one beside it.
    let peer = script.peer;
    script.actions.clear();
    script.with(|s, now| s.set_next_hops(peer, Some([10, 0, 0, 1].into()), Some("fd00::1".parse().unwrap()), now));
    let beside = Some(OURS.parse().unwrap());
    assert_eq!(told(&script, conn), [(Family::V4, ip("10.0.0.1"), None), (Family::V6, ip("fd00::1"), beside)]);
    script.actions.clear();
    script.with(|s, now| s.set_next_hops(peer, None, Some("fd00::1".parse().unwrap()), now));
    assert_eq!(told(&script, conn), [(Family::V4, ip("fd00::1"), beside)]);
    script.actions.clear();
    script.originate(&["fd00:1::/122"]);
    assert_eq!(script.sent(conn).len(), 1, "the withdrawal of IPv4");
}

#[test]
fn rfc8950_4_a_neighbour_that_did_not_offer_it_is_told_no_ipv4() {
    let (mut script, conn, _) = over_ipv6(false);
    script.originate(&["10.1.0.0/26", "fd00:1::/122"]);
    assert_eq!(told(&script, conn), [(Family::V6, ip(OURS), None)]);
    assert_eq!(script.view().not_announced[0].why, view::NotAnnouncedBecause::NoNextHop);
}

#[test]
fn rfc8950_3_ipv4_is_learned_with_a_link_local_next_hop() {
    let (mut script, conn, _) = over_ipv6(true);
    let learned = [prefix("10.9.0.0/24"), prefix("fd00:9::/64")];
    for one in learned {
        let mut bytes = Vec::new();
        OutAttributes::new(65001, ip(THEIRS)).announce(&[one], &mut bytes);
        script.say(conn, &bytes);
        assert_eq!(script.routes[&one].next_hops[0].addr, ip(THEIRS));
    }
    // Our own link-local address as a next hop would send the packets back to us.
    let mut bytes = Vec::new();
    OutAttributes::new(65001, ip(OURS)).announce(&learned[..1], &mut bytes);
    script.say(conn, &bytes);
    assert!(!script.routes.contains_key(&learned[0]));
}
