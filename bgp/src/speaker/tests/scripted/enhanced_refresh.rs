//! Enhanced route refresh (RFC 7313), both ways.

use super::*;
use crate::wire::{end_of_rib, withdraw};

fn enhanced_open() -> Vec<u8> {
    let more = [Capability::Unicast(Family::V4), Capability::Unicast(Family::V6), Capability::FourOctetAs(65001)];
    open(65001, 9, &[&more[..], &[Capability::RouteRefresh, Capability::EnhancedRouteRefresh]].concat())
}

fn mark(family: Family, subtype: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    RouteRefresh::of(family, subtype).encode(&mut bytes);
    bytes
}

/// What was sent: an UPDATE, or the subtype of a ROUTE-REFRESH.
fn kinds(script: &Script, conn: ConnId) -> Vec<Result<u8, &'static str>> {
    let kind = |(kind, body): (u8, Vec<u8>)| match kind {
        5 => Ok(body[2]),
        2 if body == [0, 0, 0, 0] => Err("end of RIB"),
        2 => Err("update"),
        _ => Err("other"),
    };
    script.sent(conn).into_iter().map(kind).collect()
}

fn learn(script: &mut Script, conn: ConnId, prefixes: &[&str]) {
    let prefixes: Vec<Prefix> = prefixes.iter().map(|p| prefix(p)).collect();
    script.say(conn, &announcement(&prefixes));
}

fn known(script: &Script) -> Vec<String> {
    script.routes.keys().map(ToString::to_string).collect()
}

#[test]
fn rfc7313_4_a_refresh_asked_for_has_a_beginning_and_an_end() {
    let (mut script, conn) = Script::established(|_| {}, &enhanced_open());
    assert!(script.view().session.unwrap().enhanced_refresh);
    script.originate(&["10.1.0.0/26", "10.1.0.64/26"]);
    script.actions.clear();
    script.say(conn, &mark(Family::V4, RouteRefresh::REQUEST));
    assert_eq!(kinds(&script, conn), [Ok(RouteRefresh::BEGIN), Err("update"), Ok(RouteRefresh::END)]);
    // Nothing to say is said as well.
    script.actions.clear();
    script.say(conn, &mark(Family::V6, RouteRefresh::REQUEST));
    assert_eq!(kinds(&script, conn), [Ok(RouteRefresh::BEGIN), Ok(RouteRefresh::END)]);
}

#[test]
fn rfc7313_4_a_refresh_waits_for_our_end_of_rib() {
    let mut script = Script::new(|config| config.passive = true);
    script.with(|s, now| s.hold_end_of_rib(true, now));
    script.originate(&["10.1.0.0/26"]);
    let conn = script.accept_from(ip(REMOTE));
    script.say(conn, &enhanced_open());
    script.say(conn, &alive());
    script.actions.clear();
    for _ in 0..5 {
        script.say(conn, &mark(Family::V4, RouteRefresh::REQUEST));
    }
    assert_eq!(kinds(&script, conn), []);
    script.with(|s, now| s.hold_end_of_rib(false, now));
    let once = [Ok(RouteRefresh::BEGIN), Err("update"), Ok(RouteRefresh::END)];
    let said = kinds(&script, conn);
    assert_eq!((said[0], &said[said.len() - 3..]), (Err("end of RIB"), &once[..]), "{said:?}");
}

#[test]
fn rfc7313_3_1_without_the_capability_there_are_no_marks() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.originate(&["10.1.0.0/26"]);
    learn(&mut script, conn, &["10.9.0.0/24"]);
    script.actions.clear();
    script.say(conn, &mark(Family::V4, RouteRefresh::REQUEST));
    assert_eq!(kinds(&script, conn), [Err("update")]);
    // Theirs mean nothing either.
    script.say(conn, &mark(Family::V4, RouteRefresh::BEGIN));
    script.say(conn, &mark(Family::V4, RouteRefresh::END));
    assert_eq!(known(&script), ["10.9.0.0/24"]);
}

#[test]
fn rfc7313_4_what_a_refresh_does_not_repeat_is_gone_at_its_end() {
    let (mut script, conn) = Script::established(|_| {}, &enhanced_open());
    learn(&mut script, conn, &["10.9.0.0/24", "10.9.1.0/24", "10.9.2.0/24"]);
    let mut v6 = Vec::new();
    OutAttributes::new(65001, ip("fd00:122::")).announce(&[prefix("fd00:9::/64")], &mut v6);
    script.say(conn, &v6);
    script.events.clear();
    script.say(conn, &mark(Family::V4, RouteRefresh::BEGIN));
    assert_eq!(known(&script).len(), 4, "stale routes stay in use");
    learn(&mut script, conn, &["10.9.1.0/24", "10.9.3.0/24"]);
    let mut bytes = Vec::new();
    withdraw(Family::V4, &[prefix("10.9.2.0/24")], &mut bytes);
    script.say(conn, &bytes);
    assert_eq!(known(&script), ["10.9.0.0/24", "10.9.1.0/24", "10.9.3.0/24", "fd00:9::/64"]);
    assert_eq!(script.view().session.unwrap().prefixes_received, 4);
    script.say(conn, &mark(Family::V4, RouteRefresh::END));
    script.wait(millis(1));
    assert_eq!(known(&script), ["10.9.1.0/24", "10.9.3.0/24", "fd00:9::/64"]);
    assert_eq!(script.view().session.unwrap().prefixes_received, 3);
    let ended = SpeakerEvent::Refreshed { peer: script.peer, family: Family::V4, removed: 1, in_time: true };
    assert!(script.events.contains(&ended), "{:?}", script.events);
}

#[test]
fn rfc7313_4_a_refresh_without_an_end_is_not_waited_for() {
    let (mut script, conn) = Script::established(|config| config.hold_time = Duration::ZERO, &enhanced_open());
    learn(&mut script, conn, &["10.9.0.0/24", "10.9.1.0/24"]);
    script.say(conn, &mark(Family::V4, RouteRefresh::BEGIN));
    learn(&mut script, conn, &["10.9.1.0/24"]);
    script.wait(secs(299));
    assert_eq!(known(&script).len(), 2);
    script.wait(secs(2));
    assert_eq!(known(&script), ["10.9.1.0/24"]);
    assert_eq!(script.state(), SessionState::Established);
    // An end without a beginning, and any number of beginnings, do no harm.
    script.say(conn, &mark(Family::V4, RouteRefresh::END));
    for _ in 0..100 {
        script.say(conn, &mark(Family::V4, RouteRefresh::BEGIN));
        learn(&mut script, conn, &["10.9.1.0/24"]);
    }
    script.say(conn, &mark(Family::V4, RouteRefresh::END));
    assert_eq!(known(&script), ["10.9.1.0/24"]);
}

#[test]
fn rfc7313_5_a_wrong_length_is_answered_with_the_whole_message() {
    for extra in [0usize, 1, 3, 5, 100] {
        let (mut script, conn) = Script::established(|_| {}, &enhanced_open());
        let mut bytes = vec![0xff; 16];
        bytes.extend_from_slice(&[0, 19 + extra as u8, 5]);
        bytes.extend(std::iter::repeat_n(1, extra));
        script.say(conn, &bytes);
        let refused = script.view().last_notification_sent.unwrap();
        assert_eq!((refused.code, refused.subcode, refused.data), (7, 1, bytes));
    }
}

#[test]
fn rfc7313_5_unknown_subtypes_are_ignored() {
    let (mut script, conn) = Script::established(|_| {}, &enhanced_open());
    let mut bytes = Vec::new();
    end_of_rib(Family::V4, &mut bytes);
    script.say(conn, &bytes);
    for subtype in 3..=255 {
        script.say(conn, &mark(Family::V4, subtype));
    }
    assert_eq!(kinds(&script, conn), []);
    assert_eq!(script.state(), SessionState::Established);
}
