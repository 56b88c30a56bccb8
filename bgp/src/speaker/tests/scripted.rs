//! One speaker against a neighbour that says what the test wants.

mod add_path;
mod any_sequence;
mod bfd;
mod collision;
mod delay_open;
mod enhanced_refresh;
mod extended_message;
mod extended_next_hop;
mod graceful;
mod hint;
mod limits;
mod link_local;
mod load;
mod operator;
mod owned;
mod policy;
mod retention;
mod verdict;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use petiole_prefix::{Family, Prefix};

use super::world::{blocks, ip, millis, prefix, secs};
use crate::wire::{Capability, MessageType, Open, OutAttributes, RouteRefresh, keepalive, split_message};
use crate::*;

const ASN: u32 = 4_200_000_011;
const REMOTE: &str = "10.0.0.0";

/// A speaker, and what it did.
struct Script {
    speaker: Speaker,
    now: Duration,
    peer: PeerId,
    originated: BTreeMap<Prefix, Originated>,
    actions: Vec<Action>,
    events: Vec<SpeakerEvent>,
    routes: BTreeMap<Prefix, LocRoute>,
    accepted: u64,
}

fn open(asn: u32, hold: u64, capabilities: &[Capability]) -> Vec<u8> {
    let open =
        Open { asn, hold_time: secs(hold), router_id: [10, 0, 0, 0].into(), capabilities: capabilities.to_vec() };
    let mut bytes = Vec::new();
    open.encode(&mut bytes);
    bytes
}

fn usual_open() -> Vec<u8> {
    open(
        65001,
        9,
        &[
            Capability::Unicast(Family::V4),
            Capability::Unicast(Family::V6),
            Capability::RouteRefresh,
            Capability::FourOctetAs(65001),
        ],
    )
}

fn alive() -> Vec<u8> {
    let mut bytes = Vec::new();
    keepalive(&mut bytes);
    bytes
}

fn announcement(prefixes: &[Prefix]) -> Vec<u8> {
    let out = OutAttributes::new(65001, ip(REMOTE));
    let mut bytes = Vec::new();
    out.announce(prefixes, &mut bytes);
    bytes
}

impl Script {
    fn new(change: impl Fn(&mut PeerConfig)) -> Self {
        let local = LocalConfig { asn: ASN, router_id: Ipv4Addr::new(10, 0, 0, 1) };
        let mut config = PeerConfig::new(ip(REMOTE), RemoteAsn::Is(65001));
        change(&mut config);
        let peer = PeerId::of_address(ip(REMOTE));
        let mut script = Self {
            speaker: Speaker::new(local, [3; 32], Duration::ZERO),
            now: Duration::ZERO,
            peer,
            originated: BTreeMap::new(),
            actions: Vec::new(),
            events: Vec::new(),
            routes: BTreeMap::new(),
            accepted: 0,
        };
        script.with(|s, now| s.set_peers([(peer, config)].into(), now));
        script
    }

    fn with(&mut self, f: impl FnOnce(&mut Speaker, Duration)) {
        f(&mut self.speaker, self.now);
        while let Some(action) = self.speaker.poll_action() {
            if let Action::Send { bytes, .. } = &action {
                guard::check(bytes, &self.originated).unwrap();
            }
            self.actions.push(action);
        }
        while let Some(event) = self.speaker.poll_event() {
            self.events.push(event);
        }
        while let Some(batch) = self.speaker.poll_route_changes() {
            for (prefix, route) in batch.changes {
                match route {
                    Some(route) => self.routes.insert(prefix, route),
                    None => self.routes.remove(&prefix),
                };
            }
        }
    }

    /// Lets time pass, with whatever is due in it.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((at, _)) = self.speaker.poll_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.with(|s, now| s.handle_timeout(now));
        }
        self.now = until;
    }

    fn event(&mut self, event: Event) {
        self.with(|s, now| s.handle_event(event, now));
    }

    fn originate(&mut self, prefixes: &[&str]) {
        self.originated = blocks(prefixes);
        let set = self.originated.clone();
        self.with(|s, now| s.set_originated(set, now));
    }

    fn accept_from(&mut self, from: IpAddr) -> ConnId {
        self.accepted += 1;
        let conn = ConnId::Accepted(self.accepted);
        let (local, remote) = (SocketAddr::new(ip("10.0.0.1"), 179), SocketAddr::new(from, 40000));
        self.event(Event::Accepted { conn, local, remote });
        conn
    }

    fn say(&mut self, conn: ConnId, bytes: &[u8]) {
        self.event(Event::Received { conn, bytes: Bytes::copy_from_slice(bytes) });
    }

    /// An Established session that the neighbour dialled, with nothing else under way.
    fn established(change: impl Fn(&mut PeerConfig), open: &[u8]) -> (Self, ConnId) {
        let mut script = Self::new(|config| {
            config.passive = true;
            change(config);
        });
        let conn = script.accept_from(ip(REMOTE));
        script.say(conn, open);
        script.say(conn, &alive());
        assert_eq!(script.state(), SessionState::Established, "{:?}", script.events);
        script.actions.clear();
        (script, conn)
    }

    fn state(&self) -> SessionState {
        self.view().state
    }

    fn view(&self) -> PeerView {
        self.speaker.peers().next().unwrap()
    }

    /// The messages sent on a connection since the actions were last cleared.
    fn sent(&self, on: ConnId) -> Vec<(u8, Vec<u8>)> {
        let mut messages = Vec::new();
        for action in &self.actions {
            if let Action::Send { conn, bytes } = action
                && *conn == on
            {
                let mut rest: &[u8] = bytes;
                while let Some((kind, body, tail)) = split_message(rest) {
                    messages.push((kind, body.to_vec()));
                    rest = tail;
                }
            }
        }
        messages
    }

    fn notified(&self, on: ConnId) -> Option<(u8, u8)> {
        let sent = self.sent(on);
        let (_, body) = sent.iter().find(|(kind, _)| *kind == MessageType::Notification as u8)?;
        Some((body[0], body[1]))
    }

    fn closed(&self, on: ConnId) -> bool {
        self.actions.iter().any(|a| matches!(a, Action::Close { conn } | Action::Reset { conn } if *conn == on))
    }
}

#[test]
fn a_stranger_gets_nothing_but_a_close() {
    let mut script = Script::new(|_| {});
    script.actions.clear();
    let conn = script.accept_from(ip("10.0.0.9"));
    assert_eq!(script.actions, [Action::Close { conn }]);
    assert!(matches!(
        script.events.last(),
        Some(SpeakerEvent::ConnectionRefused { why: event::RefusedBecause::Stranger, .. })
    ));
    script.actions.clear();
    script.say(conn, &usual_open());
    assert!(script.actions.is_empty());
}

#[test]
fn settings_that_cannot_work_keep_the_neighbour_idle_and_say_why() {
    for (change, words) in [
        ((|c: &mut PeerConfig| c.remote_asn = RemoteAsn::Is(0)) as fn(&mut PeerConfig), "AS 0"),
        (|c| c.remote_asn = RemoteAsn::Is(ASN), "our own"),
        (|c| c.hold_time = secs(2), "hold time"),
        (|c| c.hold_time = millis(3500), "hold time"),
        (|c| c.hold_time = secs(65536), "hold time"),
        (|c| c.families.clear(), "family"),
    ] {
        let mut script = Script::new(change);
        assert!(script.actions.is_empty());
        assert_eq!(script.state(), SessionState::Idle);
        assert!(script.view().state_reason.unwrap().contains(words));
        let conn = script.accept_from(ip(REMOTE));
        assert_eq!(script.actions, [Action::Close { conn }]);
    }
}

#[test]
fn nothing_is_announced_before_established_and_all_of_it_then() {
    let mut script = Script::new(|c| c.passive = true);
    script.originate(&["10.1.0.0/26"]);
    let conn = script.accept_from(ip(REMOTE));
    script.say(conn, &usual_open());
    let kinds: Vec<u8> = script.sent(conn).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 4]);
    script.say(conn, &alive());
    let kinds: Vec<u8> = script.sent(conn).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 4, 2, 2, 2]);
}

#[test]
fn end_of_rib_is_held_until_the_node_is_ready_but_routes_are_not() {
    let mut script = Script::new(|c| c.passive = true);
    script.with(|s, now| s.hold_end_of_rib(true, now));
    script.originate(&["10.1.0.0/26"]);
    let conn = script.accept_from(ip(REMOTE));
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    assert_eq!(script.sent(conn).iter().filter(|(kind, _)| *kind == 2).count(), 1);
    script.actions.clear();
    script.originate(&["10.1.0.0/26", "10.1.0.64/26"]);
    script.with(|s, now| s.hold_end_of_rib(false, now));
    let sent = script.sent(conn);
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[1].1, [0, 0, 0, 0]);
    assert_eq!(script.view().session.unwrap().end_of_rib_sent, Family::BOTH);
}

#[test]
fn ipv6_waits_for_a_next_hop_on_an_ipv4_session() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.originate(&["10.1.0.0/26", "fd00:1::/122"]);
    assert_eq!(script.sent(conn).len(), 1);
    let why = script.speaker.routes_advertised(None)[1].not_announced;
    assert_eq!(why, Some(view::NotAnnouncedBecause::NoNextHop));
    assert_eq!(script.view().not_announced[0].family, Family::V6);
    let peer = script.peer;
    script.with(|s, now| s.set_next_hops(peer, None, Some("fd00:122:101::1".parse().unwrap()), now));
    assert_eq!(script.sent(conn).len(), 2);
    assert!(script.view().not_announced.is_empty());
    // Another one is told; losing it withdraws.
    script.with(|s, now| s.set_next_hops(peer, None, Some("fd00:122:101::3".parse().unwrap()), now));
    assert_eq!(script.sent(conn).len(), 3);
    let sent = script.speaker.routes_advertised(None)[1].sent.clone().unwrap();
    assert_eq!(sent.next_hop, ip("fd00:122:101::3"));
    script.with(|s, now| s.set_next_hops(peer, None, None, now));
    assert_eq!(script.sent(conn).len(), 4);
    assert!(script.speaker.routes_advertised(None)[1].sent.is_none());
}

#[test]
fn rfc_6793_a_two_octet_peer_hears_as_trans_and_the_whole_path() {
    let (mut script, conn) = Script::established(|_| {}, &open(65001, 9, &[Capability::Unicast(Family::V4)]));
    script.originate(&["10.1.0.0/26"]);
    let body = &script.sent(conn)[0].1;
    let (short, whole) = ([0x40, 2, 4, 2, 1, 0x5b, 0xa0], [0xc0, 17, 6, 2, 1, 0xfa, 0x56, 0xea, 0x0b]);
    let says = |part: &[u8]| body.windows(part.len()).any(|w| w == part);
    assert!(says(&short) && says(&whole), "{body:x?}");
}

#[test]
fn rfc_2918_refresh_sends_everything_of_the_family_again() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.originate(&["10.1.0.0/26", "10.1.0.64/26"]);
    let first = script.sent(conn);
    script.actions.clear();
    let mut bytes = Vec::new();
    RouteRefresh { afi: wire::Afi::Ipv4, subtype: 0, safi: wire::Safi::Unicast }.encode(&mut bytes);
    script.say(conn, &bytes);
    assert_eq!(script.sent(conn), first);
    script.actions.clear();
    // Not agreed on, or of another RFC: nothing.
    for (afi, subtype) in [(wire::Afi::Other(25), 0), (wire::Afi::Ipv4, 1)] {
        let mut bytes = Vec::new();
        RouteRefresh { afi, subtype, safi: wire::Safi::Unicast }.encode(&mut bytes);
        script.say(conn, &bytes);
    }
    assert!(script.actions.is_empty());
    assert_eq!(script.state(), SessionState::Established);
}

#[test]
fn nothing_foreign_passes_the_last_step_before_the_connection() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.originate(&["10.1.0.0/26"]);
    script.actions.clear();
    let peer = script.peer;
    for (text, passes) in [("10.1.0.0/26", true), ("10.1.0.0/27", false), ("10.9.0.0/24", false), ("0.0.0.0/0", false)]
    {
        let bytes = announcement(&[prefix(text)]);
        script.with(|s, _| assert_eq!(s.transmit(peer, conn, bytes), passes, "{text}"));
    }
    assert_eq!(script.sent(conn).len(), 1);
    assert_eq!(script.view().counters.guard_drops, 3);
    let dropped = script.events.iter().filter(|e| matches!(e, SpeakerEvent::GuardDropped { .. })).count();
    assert_eq!(dropped, 3);
}

#[test]
fn withdrawals_beside_the_same_attributes_as_before_are_seen() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let first = announcement(&[prefix("10.9.0.0/24"), prefix("10.8.0.0/24")]);
    script.say(conn, &first);
    assert_eq!(script.routes.len(), 2);
    // The same attributes, 10.9.0.0/24 withdrawn and 10.7.0.0/24 announced.
    let mut both = announcement(&[prefix("10.7.0.0/24")]);
    both.splice(19..21, [0, 4, 24, 10, 9, 0]);
    let len = u16::try_from(both.len()).unwrap();
    both[16..18].copy_from_slice(&len.to_be_bytes());
    script.say(conn, &both);
    let routes: Vec<_> = script.routes.keys().copied().collect();
    assert_eq!(routes, [prefix("10.7.0.0/24"), prefix("10.8.0.0/24")]);
}

#[test]
fn a_malformed_announcement_withdraws_its_routes_and_keeps_the_session() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.say(conn, &announcement(&[prefix("10.9.0.0/24"), prefix("10.8.0.0/24")]));
    assert_eq!(script.routes.len(), 2);
    // The same for one of them, with an ORIGIN that does not exist.
    let mut bad = announcement(&[prefix("10.9.0.0/24")]);
    let origin = bad.windows(4).position(|w| w == [0x40, 1, 1, 0]).unwrap();
    bad[origin + 3] = 9;
    script.say(conn, &bad);
    assert_eq!(script.routes.keys().copied().collect::<Vec<_>>(), [prefix("10.8.0.0/24")]);
    assert_eq!(script.state(), SessionState::Established);
    assert_eq!(script.view().counters.update_errors, 1);
    assert!(script.actions.is_empty());
}

#[test]
fn a_prefix_that_cannot_be_read_ends_the_session_in_words() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let mut bad = announcement(&[prefix("10.9.0.0/24")]);
    let at = bad.len() - 4;
    bad[at] = 33;
    script.say(conn, &bad);
    assert_eq!(script.notified(conn), Some((3, 10)));
    assert!(script.closed(conn));
    let words = script.view().last_error.unwrap();
    assert!(words.contains("invalid network field (3/10)"), "{words}");
}

#[test]
fn import_policy_refuses_loops_foreign_first_as_and_impossible_next_hops() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.originate(&["10.0.0.77/32"]);
    let announce = |asn, next_hop: &str, text: &str| {
        let out = OutAttributes::new(asn, ip(next_hop));
        let mut bytes = Vec::new();
        out.announce(&[prefix(text)], &mut bytes);
        bytes
    };
    for (asn, next_hop, text, reason) in [
        (ASN, REMOTE, "10.9.1.0/24", Reason::RejectedOwnAs),
        (65002, REMOTE, "10.9.2.0/24", Reason::RejectedFirstAs),
        (65001, "127.0.0.1", "10.9.3.0/24", Reason::RejectedMartianNextHop),
        (65001, "0.0.0.0", "10.9.4.0/24", Reason::RejectedMartianNextHop),
        (65001, "224.0.0.1", "10.9.5.0/24", Reason::RejectedMartianNextHop),
        (65001, "10.0.0.1", "10.9.6.0/24", Reason::RejectedOwnNextHop),
        (65001, "10.0.0.77", "10.9.7.0/24", Reason::RejectedOwnNextHop),
        (65001, REMOTE, "127.9.0.0/24", Reason::RejectedMartianPrefix),
        (65001, REMOTE, "10.0.0.77/32", Reason::LostToLocal),
        (65001, REMOTE, "0.0.0.0/0", Reason::Best),
    ] {
        script.say(conn, &announce(asn, next_hop, text));
        let views = script.speaker.routes_received(None, Some(prefix(text)));
        assert_eq!(views[0].reason, reason, "{text}");
    }
    assert_eq!(script.routes.keys().copied().collect::<Vec<_>>(), [prefix("0.0.0.0/0")]);
}

#[test]
fn a_neighbour_that_keeps_failing_is_turned_away_for_a_while() {
    let mut script = Script::new(|c| c.passive = true);
    let mut refused = 0;
    for _ in 0..20 {
        let conn = script.accept_from(ip(REMOTE));
        script.say(conn, &open(65999, 9, &[]));
        refused += usize::from(script.notified(conn).is_none());
    }
    assert!(refused >= 15, "{refused}");
    assert_eq!(script.state(), SessionState::Idle);
    script.now += secs(6);
    script.with(|s, now| s.handle_timeout(now));
    let conn = script.accept_from(ip(REMOTE));
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    assert_eq!(script.state(), SessionState::Established);
}

#[test]
fn changing_the_configuration_touches_only_what_changed() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let config = PeerConfig { passive: true, ..PeerConfig::new(ip(REMOTE), RemoteAsn::Is(65001)) };
    let peer = script.peer;
    let other = PeerId::of_address(ip("10.0.0.8"));
    let new = PeerConfig::new(ip("10.0.0.8"), RemoteAsn::External);
    let both = BTreeMap::from([(peer, config.clone()), (other, new)]);
    script.with(|s, now| s.set_peers(both, now));
    assert_eq!(script.actions.len(), 1);
    assert!(matches!(script.actions[0], Action::Connect { peer, .. } if peer == other));
    script.actions.clear();
    let slower = PeerConfig { hold_time: secs(30), ..config };
    script.with(|s, now| s.set_peers([(peer, slower)].into(), now));
    assert_eq!(script.notified(conn), Some((6, 6)));
    script.with(|s, now| s.set_peers(BTreeMap::new(), now));
    assert_eq!(script.speaker.peers().count(), 0);
    assert_eq!(script.speaker.poll_timeout(), None);
}

#[test]
fn disabling_says_so_and_enabling_starts_again() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let peer = script.peer;
    script.with(|s, now| s.set_peer_enabled(peer, false, None, now));
    assert_eq!(script.notified(conn), Some((6, 2)));
    assert_eq!(script.view().state_reason.as_deref(), Some("disabled by the operator"));
    let conn = script.accept_from(ip(REMOTE));
    assert!(script.closed(conn) && script.sent(conn).is_empty());
    script.with(|s, now| s.set_peer_enabled(peer, true, None, now));
    assert_eq!(script.state(), SessionState::Active);
}
