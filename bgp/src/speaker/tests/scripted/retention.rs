//! Graceful restart, the neighbour's: what is kept over which end of its session, for how long, and what ends it.

use super::*;
use crate::event::RetentionEnd;
use crate::wire::{GracefulFamily, GracefulRestart, LongLived, LongLivedFamily, Notification, end_of_rib};

/// What the neighbour says of its restarts in an OPEN.
#[derive(Clone, Copy)]
struct Says {
    notification: bool,
    /// F of IPv4 and IPv6; `None`: the family is not among them.
    v4: Option<bool>,
    v6: Option<bool>,
    /// F and seconds, of IPv4.
    long_lived: Option<(bool, u32)>,
}

const GRACEFUL: Says = Says { notification: false, v4: Some(true), v6: Some(true), long_lived: None };
const WITH_N: Says = Says { notification: true, ..GRACEFUL };
const RESTART_TIME: u16 = 100;

impl Says {
    fn open(self) -> Vec<u8> {
        let families = [(1, self.v4), (2, self.v6)];
        let families = families
            .into_iter()
            .filter_map(|(afi, said)| said.map(|forwarding| GracefulFamily { afi, safi: 1, forwarding }));
        let restart = GracefulRestart {
            restarted: false,
            notification: self.notification,
            restart_time: RESTART_TIME,
            families: families.collect(),
        };
        let mut capabilities = vec![
            Capability::Unicast(Family::V4),
            Capability::Unicast(Family::V6),
            Capability::FourOctetAs(65001),
            Capability::GracefulRestart(restart),
        ];
        if let Some((forwarding, stale_time)) = self.long_lived {
            let family = LongLivedFamily { afi: 1, safi: 1, forwarding, stale_time };
            capabilities.push(Capability::LongLived(LongLived { families: vec![family] }));
        }
        open(65001, 9, &capabilities)
    }
}

fn marker(family: Family) -> Vec<u8> {
    let mut bytes = Vec::new();
    end_of_rib(family, &mut bytes);
    bytes
}

const A: &str = "10.9.0.0/24";
const B: &str = "10.8.0.0/24";
const SIX: &str = "fd00:9::/64";

fn six() -> Vec<u8> {
    let out = OutAttributes::new(65001, ip("fd00:122:101::"));
    let mut bytes = Vec::new();
    out.announce(&[prefix(SIX)], &mut bytes);
    bytes
}

impl Script {
    /// A session of which everything was told: two IPv4 prefixes and one of IPv6.
    fn told(says: Says) -> (Self, ConnId) {
        Self::told_with(says, |_| {})
    }

    fn told_with(says: Says, change: impl Fn(&mut PeerConfig)) -> (Self, ConnId) {
        let (mut script, conn) = Self::established(change, &says.open());
        script.is_told(conn);
        (script, conn)
    }

    fn is_told(&mut self, conn: ConnId) {
        self.say(conn, &announcement(&[prefix(A), prefix(B)]));
        self.say(conn, &six());
        for family in Family::BOTH {
            self.say(conn, &marker(family));
        }
        assert_eq!(self.known(), [B, A, SIX]);
        self.events.clear();
    }

    fn known(&self) -> Vec<String> {
        self.routes.keys().map(ToString::to_string).collect()
    }

    fn breaks(&mut self, conn: ConnId) {
        self.event(Event::Closed { conn, error: Some("reset by peer".to_owned()) });
        self.work();
    }

    fn comes_back(&mut self, says: Says) -> ConnId {
        let conn = self.accept_from(ip(REMOTE));
        self.say(conn, &says.open());
        self.say(conn, &alive());
        assert_eq!(self.state(), SessionState::Established, "{:?}", self.events);
        self.work();
        conn
    }

    /// Does all that is put off.
    fn work(&mut self) {
        while self.speaker.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.with(|s, now| s.handle_timeout(now));
        }
    }

    /// Lets time pass, KEEPALIVEs coming in.
    fn passes(&mut self, time: Duration, conn: Option<ConnId>) {
        let end = self.now + time;
        while self.now < end {
            self.now = (self.now + secs(1)).min(end);
            if let Some(conn) = conn {
                self.say(conn, &alive());
            }
            self.work();
        }
    }

    fn lapsed(&self) -> Vec<(Family, u64, RetentionEnd)> {
        let lapsed = |e: &SpeakerEvent| match e {
            SpeakerEvent::PathsLapsed { family, paths, why, .. } => Some((*family, *paths, *why)),
            _ => None,
        };
        self.events.iter().filter_map(lapsed).collect()
    }

    fn notify(&mut self, conn: ConnId, notification: &Notification) {
        let mut bytes = Vec::new();
        notification.encode(&mut bytes);
        self.say(conn, &bytes);
        self.work();
    }
}

#[test]
fn rfc4724_4_2_a_broken_connection_keeps_paths_in_use_without_a_change() {
    let (mut script, conn) = Script::told(GRACEFUL);
    let before = script.routes.clone();
    script.breaks(conn);
    assert_eq!(script.routes, before);
    let view = script.view().retention.unwrap();
    assert_eq!(
        view.families.iter().map(|f| (f.family, f.paths)).collect::<Vec<_>>(),
        [(Family::V4, 2), (Family::V6, 1)]
    );
    assert!(view.why.contains("reset by peer") && !view.back);
    let paths = script.speaker.routes_received(None, None);
    assert!(paths.iter().all(|p| p.stale.as_ref().is_some_and(|s| s.since == script.now && !s.long_lived)));
    // Said again: nobody hears of anything else.
    let conn = script.comes_back(GRACEFUL);
    for bytes in [announcement(&[prefix(A), prefix(B)]), six()] {
        let event = Event::Received { conn, bytes: bytes.into() };
        script.speaker.handle_event(event, script.now);
        for (prefix, route) in std::iter::from_fn(|| script.speaker.poll_route_changes()).flat_map(|b| b.changes) {
            assert_eq!(route.as_ref(), before.get(&prefix));
        }
    }
    assert!(script.speaker.routes_received(None, None).iter().all(|p| p.stale.is_none()));
    for family in Family::BOTH {
        script.say(conn, &marker(family));
        assert!(script.lapsed().contains(&(family, 0, RetentionEnd::Confirmed)));
    }
    assert!(script.view().retention.is_none());
    script.passes(secs(400), Some(conn));
    assert_eq!(script.routes, before);
}

#[test]
fn rfc4724_4_2_what_is_not_said_again_goes_with_end_of_rib_of_its_family() {
    let (mut script, conn) = Script::told(GRACEFUL);
    script.breaks(conn);
    let conn = script.comes_back(GRACEFUL);
    script.say(conn, &announcement(&[prefix(A)]));
    script.say(conn, &marker(Family::V4));
    script.work();
    assert_eq!(script.known(), [A, SIX], "IPv6 has had no End-of-RIB yet");
    assert_eq!(script.lapsed(), [(Family::V4, 1, RetentionEnd::Confirmed)]);
    script.say(conn, &marker(Family::V6));
    script.work();
    assert_eq!(script.known(), [A]);
}

#[test]
fn rfc4724_4_2_a_withdrawal_takes_out_what_is_kept() {
    let (mut script, conn) = Script::told(GRACEFUL);
    script.breaks(conn);
    let conn = script.comes_back(GRACEFUL);
    let mut bytes = Vec::new();
    wire::withdraw(Family::V4, &[prefix(A)], &mut bytes);
    script.say(conn, &bytes);
    assert_eq!(script.known(), [B, SIX]);
}

#[test]
fn rfc4724_4_2_the_restart_time_runs_out() {
    let (mut script, conn) = Script::told(GRACEFUL);
    script.breaks(conn);
    script.passes(secs(99), None);
    assert_eq!(script.known(), [B, A, SIX]);
    script.passes(secs(1), None);
    assert_eq!(script.known(), [] as [&str; 0]);
    let why = RetentionEnd::RestartTimeOver;
    assert_eq!(script.lapsed(), [(Family::V4, 2, why), (Family::V6, 1, why)]);
    assert!(script.view().retention.is_none());
}

#[test]
fn rfc4724_4_2_f_cleared_or_family_missing_ends_it_at_once() {
    for says in [Says { v4: Some(false), ..GRACEFUL }, Says { v4: None, ..GRACEFUL }] {
        let (mut script, conn) = Script::told(GRACEFUL);
        script.breaks(conn);
        script.comes_back(says);
        assert_eq!(script.known(), [SIX]);
        assert_eq!(script.lapsed(), [(Family::V4, 2, RetentionEnd::NotForwarded)]);
    }
    let (mut script, conn) = Script::told(GRACEFUL);
    script.breaks(conn);
    let conn = script.accept_from(ip(REMOTE));
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    script.work();
    assert_eq!(script.known(), [] as [&str; 0], "without the capability");
}

#[test]
fn rfc4724_4_2_only_families_of_the_capability_are_kept() {
    let (mut script, conn) = Script::told(Says { v6: None, ..GRACEFUL });
    script.breaks(conn);
    assert_eq!(script.known(), [B, A]);
}

#[test]
fn rfc4724_4_2_without_the_capability_or_our_consent_routes_go_at_once() {
    let (mut script, conn) = Script::told(Says { v4: None, v6: None, ..WITH_N });
    script.breaks(conn);
    assert_eq!(script.known(), [] as [&str; 0]);
    let (mut script, conn) = Script::told_with(WITH_N, |c| c.graceful_restart = None);
    script.breaks(conn);
    assert_eq!(script.known(), [] as [&str; 0]);
    assert!(script.lapsed().is_empty());
}

#[test]
fn rfc4724_4_2_stale_before_goes_with_the_second_end() {
    let (mut script, conn) = Script::told(GRACEFUL);
    script.breaks(conn);
    let conn = script.comes_back(GRACEFUL);
    script.say(conn, &announcement(&[prefix(A)]));
    script.breaks(conn);
    assert_eq!(script.known(), [A], "what was said in the last session is kept, what was not is not");
    let why = RetentionEnd::EndedAgain;
    assert_eq!(script.lapsed(), [(Family::V4, 1, why), (Family::V6, 1, why)]);
}

#[test]
fn rfc8538_4_1_with_n_repeated_ends_keep_all_until_the_stale_time_of_the_first() {
    let (mut script, conn) = Script::told(WITH_N);
    script.breaks(conn);
    let start = script.now;
    for _ in 0..3 {
        script.passes(secs(90), None);
        let conn = script.comes_back(WITH_N);
        script.say(conn, &announcement(&[prefix(A)]));
        script.breaks(conn);
        assert_eq!(script.known(), [B, A, SIX]);
    }
    script.passes(secs(89), None);
    assert_eq!(script.known(), [B, A, SIX]);
    script.passes(secs(1), None);
    assert_eq!(script.now - start, secs(360));
    assert_eq!(script.known(), [] as [&str; 0]);
}

#[test]
fn rfc8538_4_1_the_stale_time_ends_the_wait_for_end_of_rib() {
    let (mut script, conn) = Script::told(GRACEFUL);
    script.breaks(conn);
    script.passes(secs(50), None);
    let conn = script.comes_back(GRACEFUL);
    script.say(conn, &announcement(&[prefix(A)]));
    script.passes(secs(309), Some(conn));
    assert_eq!(script.known(), [B, A, SIX]);
    script.passes(secs(1), Some(conn));
    assert_eq!(script.known(), [A]);
    let why = RetentionEnd::StaleTimeOver;
    assert_eq!(script.lapsed(), [(Family::V4, 1, why), (Family::V6, 1, why)]);
}

/// Which ends keep paths, with N on both sides and without.
#[test]
fn rfc8538_4_which_ends_keep_paths() {
    let cease = |subcode| Notification::cease(subcode);
    let received = |n: Notification| move |s: &mut Script, conn: ConnId| s.notify(conn, &n);
    let hard = cease(wire::CeaseSubcode::AdministrativeShutdown).into_hard_reset();
    let ours = |f: fn(&mut Speaker, PeerId, Duration)| {
        move |s: &mut Script, _: ConnId| {
            let peer = s.peer;
            s.with(|speaker, now| f(speaker, peer, now));
            s.work();
        }
    };
    type End = Box<dyn Fn(&mut Script, ConnId)>;
    let cases: [(&str, End, [bool; 2]); 10] = [
        ("closed", Box::new(|s, conn| s.event(Event::Closed { conn, error: None })), [true, true]),
        ("broken", Box::new(Script::breaks), [true, true]),
        ("admin reset received", Box::new(received(cease(wire::CeaseSubcode::AdministrativeReset))), [false, true]),
        ("hold timer received", Box::new(received(Notification::new(wire::ErrorCode::HoldTimer, 0))), [false, true]),
        ("hard reset received", Box::new(received(hard)), [false, false]),
        ("hold timer", Box::new(|s, _| s.passes(secs(10), None)), [false, true]),
        ("malformed", Box::new(|s, conn| s.say(conn, &usual_open())), [false, true]),
        ("link down", Box::new(ours(|s, peer, now| s.handle_uplink(peer, false, now))), [false, false]),
        ("disabled", Box::new(ours(|s, peer, now| s.set_peer_enabled(peer, false, None, now))), [false, false]),
        ("cleared", Box::new(ours(|s, peer, now| s.clear_peer(peer, None, now))), [false, false]),
    ];
    for (what, end, kept) in &cases {
        for (says, kept) in [(GRACEFUL, kept[0]), (WITH_N, kept[1])] {
            let (mut script, conn) = Script::told(says);
            end(&mut script, conn);
            script.work();
            assert_ne!(script.state(), SessionState::Established, "{what}");
            let expected: &[&str] = if kept { &[B, A, SIX] } else { &[] };
            assert_eq!(script.known(), expected, "{what}, N {}", says.notification);
        }
    }
}

#[test]
fn what_is_kept_goes_when_the_link_does_or_the_operator_says_so() {
    for ends in [
        (|s, peer, now| s.handle_uplink(peer, false, now)) as fn(&mut Speaker, PeerId, Duration),
        |s, peer, now| s.set_peer_enabled(peer, false, None, now),
        |s, _, now| s.set_peers(BTreeMap::new(), now),
    ] {
        let (mut script, conn) = Script::told(WITH_N);
        script.breaks(conn);
        assert_eq!(script.known().len(), 3);
        let peer = script.peer;
        script.with(|s, now| ends(s, peer, now));
        script.work();
        assert_eq!(script.known(), [] as [&str; 0]);
    }
}

/// RFC 5882 section 4.3.2: whether BFD dies with the neighbour's control plane decides whether its failure means the way.
#[test]
fn rfc5882_4_3_2_bfd_down_keeps_paths_only_where_it_shares_fate() {
    let both = [false, true];
    for (control_plane_independent, session_first, began_anew) in
        both.iter().flat_map(|c| both.iter().flat_map(move |f| both.map(|anew| (*c, *f, anew))))
    {
        // A neighbour that dies closes its connection before its BFD is missed, or its BFD is back before that is heard of.
        let kept = if !control_plane_independent && (session_first || began_anew) { 3 } else { 0 };
        let mut script = Script::new(|c| {
            c.passive = true;
            c.bfd = Some(BfdPolicy::default());
        });
        let peer = script.peer;
        let up = BfdStatus { state: BfdState::Up, control_plane_independent, ..BfdStatus::default() };
        script.with(|s, now| s.handle_bfd(peer, up, now));
        script.now += BfdPolicy::SETTLE;
        script.with(|s, now| s.handle_timeout(now));
        let conn = script.comes_back(GRACEFUL);
        script.is_told(conn);
        script.now += secs(1);
        if session_first {
            script.breaks(conn);
        }
        let down = BfdStatus { state: BfdState::Down, failed_at: Some(script.now), began_anew, ..up };
        script.with(|s, now| s.handle_bfd(peer, down, now));
        script.work();
        let case = (control_plane_independent, session_first, began_anew);
        assert_eq!(script.known().len(), kept, "C bit, session first, BFD anew: {case:?}");
    }
}

#[test]
fn rfc4724_5_a_new_connection_beside_an_old_session_is_a_restart() {
    let (mut script, conn) = Script::told(GRACEFUL);
    script.passes(secs(10), Some(conn));
    script.actions.clear();
    let new = script.accept_from(ip(REMOTE));
    assert!(script.actions.contains(&Action::Reset { conn }));
    script.say(new, &GRACEFUL.open());
    script.say(new, &alive());
    script.work();
    assert_eq!(script.state(), SessionState::Established);
    assert_eq!(script.known(), [B, A, SIX]);
    assert_eq!(script.view().established_count, 2);
}

const LONG: Says = Says { long_lived: Some((true, 1000)), ..WITH_N };

#[test]
fn rfc9494_4_2_long_lived_after_the_restart_time_and_gone_after_its_own() {
    let (mut script, conn) = Script::told(LONG);
    script.breaks(conn);
    script.passes(secs(100), None);
    assert_eq!(script.known(), [B, A], "IPv6 is not among its long-lived families");
    let view = script.view().retention.unwrap();
    assert!(view.families[0].long_lived);
    assert_eq!(view.families[0].until, script.now + secs(1000));
    let paths = script.speaker.routes_received(None, None);
    assert!(paths.iter().all(|p| p.stale.as_ref().is_some_and(|s| s.long_lived)));
    assert!(paths.iter().all(|p| p.attributes.communities.contains(&0xffff_0006)), "shown with LLGR_STALE");
    script.passes(secs(999), None);
    assert_eq!(script.known(), [B, A]);
    script.passes(secs(1), None);
    assert_eq!(script.known(), [] as [&str; 0]);
    assert_eq!(script.lapsed().last(), Some(&(Family::V4, 2, RetentionEnd::LongLivedTimeOver)));
}

#[test]
fn rfc9494_4_2_our_limit_and_consent() {
    for (limit, kept) in [(secs(10), 2), (Duration::ZERO, 0)] {
        let policy = RestartPolicy { long_lived_time: limit, ..RestartPolicy::default() };
        let (mut script, conn) = Script::told_with(LONG, |c| c.graceful_restart = Some(policy));
        script.breaks(conn);
        script.passes(secs(101), None);
        assert_eq!(script.known().len(), kept);
        script.passes(secs(10), None);
        assert_eq!(script.known().len(), 0);
    }
}

#[test]
fn rfc9494_4_2_a_session_that_comes_back_confirms_or_ends_it() {
    for (back, known) in
        [(LONG, vec![B, A]), (Says { long_lived: Some((false, 1000)), ..LONG }, vec![]), (WITH_N, vec![])]
    {
        let (mut script, conn) = Script::told(LONG);
        script.breaks(conn);
        script.passes(secs(200), None);
        let conn = script.comes_back(back);
        assert_eq!(script.known(), known);
        script.say(conn, &announcement(&[prefix(A)]));
        script.say(conn, &marker(Family::V4));
        script.work();
        assert_eq!(script.known(), [A]);
        assert!(script.speaker.routes_received(None, None)[0].stale.is_none());
    }
}

#[test]
fn rfc9494_4_2_no_llgr_paths_go_with_the_restart_time() {
    let (mut script, conn) = Script::told(LONG);
    let communities = wire::OutCommunities::new([0xffff_0007], [], []).unwrap();
    let out = OutAttributes { communities: communities.into(), ..OutAttributes::new(65001, ip(REMOTE)) };
    let mut bytes = Vec::new();
    out.announce(&[prefix(A)], &mut bytes);
    script.say(conn, &bytes);
    script.breaks(conn);
    assert_eq!(script.known(), [B, A, SIX]);
    script.passes(secs(100), None);
    assert_eq!(script.known(), [B]);
}
