//! BFD's say in sessions.

use super::*;
use crate::event::RefusedBecause;
use crate::wire::{GracefulFamily, GracefulRestart};

fn loose(config: &mut PeerConfig) {
    config.bfd = Some(BfdPolicy { strict: false });
}

fn strict(config: &mut PeerConfig) {
    config.bfd = Some(BfdPolicy { strict: true });
}

impl Script {
    fn bfd(&mut self, state: BfdState, failed_at: Option<Duration>) {
        let peer = self.peer;
        let status = BfdStatus { state, failed_at, control_plane_independent: true, began_anew: false };
        self.with(|s, now| s.handle_bfd(peer, status, now));
    }

    fn established_now(&mut self, open: &[u8]) -> ConnId {
        self.wait(BfdPolicy::SETTLE);
        let conn = self.accept_from(ip(REMOTE));
        self.say(conn, open);
        self.say(conn, &alive());
        assert_eq!(self.state(), SessionState::Established, "{:?}", self.events);
        conn
    }

    fn dials(&self) -> usize {
        self.actions.iter().filter(|a| matches!(a, Action::Connect { .. })).count()
    }

    /// A session that is Established beside a BFD session that is Up.
    fn watched(change: impl Fn(&mut PeerConfig)) -> (Self, ConnId) {
        let mut script = Self::new(change);
        script.bfd(BfdState::Up, None);
        let conn = script.established_now(&usual_open());
        (script, conn)
    }
}

#[test]
fn rfc5882_3_2_a_failure_ends_the_session_at_once() {
    let (mut script, conn) = Script::watched(loose);
    script.wait(secs(5));
    script.bfd(BfdState::Down, Some(script.now));
    assert_eq!(script.notified(conn), Some((6, 10)), "RFC 9384");
    assert_eq!(script.state(), SessionState::Idle);
    let reason = DownReason::BfdDown { control_plane_independent: true, began_anew: false };
    assert!(script.events.iter().any(|e| matches!(e, SpeakerEvent::PeerDown { reason: r, .. } if *r == reason)));
    assert_eq!(script.view().failures, 0, "no failure of the neighbour's BGP");
}

#[test]
fn rfc5882_3_2_admin_down_of_the_neighbour_does_not_end_it() {
    for policy in [loose, strict] {
        let (mut script, conn) = Script::watched(policy);
        script.bfd(BfdState::RemoteAdminDown, None);
        script.bfd(BfdState::Down, None);
        script.bfd(BfdState::Up, None);
        assert_eq!((script.notified(conn), script.state()), (None, SessionState::Established));
    }
}

#[test]
fn rfc5882_3_2_admin_down_of_the_neighbour_does_not_keep_a_session_away() {
    let mut script = Script::new(strict);
    script.bfd(BfdState::RemoteAdminDown, None);
    assert_eq!(script.dials(), 1);
}

#[test]
fn a_failure_is_told_once_and_kills_once() {
    let (mut script, _) = Script::watched(loose);
    script.wait(secs(5));
    let failed = Some(script.now);
    script.bfd(BfdState::Down, failed);
    script.bfd(BfdState::Up, failed);
    let conn = script.established_now(&usual_open());
    script.bfd(BfdState::Up, failed);
    script.bfd(BfdState::RemoteAdminDown, failed);
    script.bfd(BfdState::Down, failed);
    assert_eq!((script.notified(conn), script.state()), (None, SessionState::Established));
}

#[test]
fn late_word_of_an_old_failure_does_not_kill_a_fresh_session() {
    let mut script = Script::new(loose);
    script.wait(secs(2));
    let conn = script.established_now(&usual_open());
    script.bfd(BfdState::Down, Some(secs(1)));
    assert_eq!((script.notified(conn), script.state()), (None, SessionState::Established));
    script.bfd(BfdState::Up, Some(secs(1)));
    script.wait(secs(3));
    script.bfd(BfdState::Up, Some(script.now));
    assert_eq!(script.notified(conn), Some((6, 10)), "it failed and came back before the word came");
}

#[test]
fn a_session_waits_a_second_for_bfd_and_does_without_then() {
    let mut script = Script::new(loose);
    assert_eq!((script.dials(), script.state()), (0, SessionState::Idle));
    assert_eq!(script.view().state_reason.as_deref(), Some("waits for BFD"));
    let early = script.accept_from(ip(REMOTE));
    assert!(script.actions.contains(&Action::Close { conn: early }));
    let why = RefusedBecause::AwaitsBfd;
    assert!(script.events.iter().any(|e| matches!(e, SpeakerEvent::ConnectionRefused { why: w, .. } if *w == why)));
    script.wait(millis(999));
    assert_eq!(script.dials(), 0);
    script.wait(millis(1));
    assert_eq!(script.dials(), 1);
}

#[test]
fn bfd_that_comes_up_begins_the_session_when_word_of_it_had_time_to_spread() {
    let mut script = Script::new(loose);
    script.wait(millis(300));
    script.bfd(BfdState::Up, None);
    script.wait(BfdPolicy::SETTLE - millis(1));
    assert_eq!(script.dials(), 0);
    script.wait(millis(1));
    assert_eq!(script.dials(), 1);
    script.wait(secs(1));
    assert_eq!(script.dials(), 1, "the wait is over");
}

#[test]
fn more_word_of_bfd_that_is_up_leaves_the_wait_and_its_end_alone() {
    for state in [BfdState::Up, BfdState::RemoteAdminDown] {
        let mut script = Script::new(loose);
        script.bfd(BfdState::Up, None);
        script.wait(millis(3));
        script.bfd(state, None);
        assert_eq!(script.dials(), 0);
        script.wait(BfdPolicy::SETTLE - millis(3));
        assert_eq!(script.dials(), 1);
    }
}

#[test]
fn after_a_failure_bfd_gets_its_second_again() {
    let (mut script, _) = Script::watched(loose);
    let before = script.dials();
    script.bfd(BfdState::Down, Some(script.now));
    script.wait(millis(900));
    assert_eq!(script.dials(), before);
    script.wait(millis(100));
    assert_eq!(script.dials(), before + 1);
}

#[test]
fn an_uplink_that_comes_back_waits_as_well() {
    let (mut script, _) = Script::watched(loose);
    let (peer, before) = (script.peer, script.dials());
    script.with(|s, now| s.handle_uplink(peer, false, now));
    script.bfd(BfdState::Down, Some(script.now));
    script.wait(secs(5));
    script.with(|s, now| s.handle_uplink(peer, true, now));
    assert_eq!(script.dials(), before);
    script.bfd(BfdState::Up, Some(script.now - secs(5)));
    assert_eq!(script.dials(), before + 1);
}

#[test]
fn strict_waits_for_ever() {
    let mut script = Script::new(strict);
    script.wait(secs(600));
    assert_eq!((script.dials(), script.state()), (0, SessionState::Idle));
    script.bfd(BfdState::Up, None);
    script.wait(BfdPolicy::SETTLE);
    assert_eq!(script.dials(), 1);
    script.bfd(BfdState::Down, Some(script.now));
    script.wait(secs(600));
    assert_eq!((script.dials(), script.state()), (1, SessionState::Idle));
}

#[test]
fn settings_of_bfd_are_no_terms_of_the_session() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let peer = script.peer;
    let mut config = PeerConfig::new(ip(REMOTE), RemoteAsn::Is(65001));
    config.passive = true;
    for bfd in [Some(BfdPolicy { strict: true }), Some(BfdPolicy { strict: false }), None] {
        config.bfd = bfd;
        let config = config.clone();
        script.with(|s, now| s.set_peers([(peer, config)].into(), now));
        assert_eq!((script.notified(conn), script.state()), (None, SessionState::Established));
    }
}

#[test]
fn strictness_that_ends_lets_the_session_begin() {
    let mut script = Script::new(strict);
    let peer = script.peer;
    let mut config = PeerConfig::new(ip(REMOTE), RemoteAsn::Is(65001));
    loose(&mut config);
    script.with(|s, now| s.set_peers([(peer, config)].into(), now));
    assert_eq!(script.dials(), 1);
}

#[test]
fn without_bfd_configured_its_word_counts_nothing() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.bfd(BfdState::Down, Some(script.now));
    assert_eq!((script.notified(conn), script.state()), (None, SessionState::Established));
}

/// RFC 5882 section 4.3.2, RFC 4724 section 4.1: what a neighbour chooses before its BFD has settled, it would take back.
#[test]
fn rfc5882_4_3_2_a_restarting_neighbour_with_bfd_hears_end_of_rib_a_little_later() {
    for (watched, restarted) in [(true, true), (true, false), (false, true)] {
        let restart = GracefulRestart {
            restarted,
            notification: true,
            restart_time: 100,
            families: vec![GracefulFamily { afi: 1, safi: 1, forwarding: true }],
        };
        let hello = open(65001, 9, &[Capability::FourOctetAs(65001), Capability::GracefulRestart(restart)]);
        let mut script = Script::new(|config| config.bfd = watched.then(BfdPolicy::default));
        script.bfd(BfdState::Up, None);
        let conn = script.established_now(&hello);
        let told = |s: &Script| s.events.iter().any(|e| matches!(e, SpeakerEvent::EndOfRibSent { .. }));
        script.wait(BfdPolicy::SETTLE - millis(1));
        assert_eq!(told(&script), !(watched && restarted), "BFD {watched}, restarted {restarted}");
        script.wait(millis(1));
        assert!(told(&script), "BFD {watched}, restarted {restarted}");
        assert_eq!((script.notified(conn), script.state()), (None, SessionState::Established));
    }
}
