//! Several paths of one prefix from one neighbour (RFC 7911).

use super::*;
use crate::trace::{Traced, describe};
use crate::wire::{AddPath, AddPathFamily, GracefulFamily, GracefulRestart, end_of_rib};

fn offer(receive: bool, send: bool) -> Capability {
    let family = |afi| AddPathFamily { afi, safi: 1, receive, send };
    Capability::AddPath(AddPath { families: vec![family(1), family(2)] })
}

fn session(receive: bool) -> (Script, ConnId) {
    let more = [Capability::Unicast(Family::V4), Capability::Unicast(Family::V6), Capability::FourOctetAs(65001)];
    let refresh = [Capability::RouteRefresh, Capability::EnhancedRouteRefresh];
    let bytes = open(65001, 9, &[&more[..], &refresh, &[offer(false, true)]].concat());
    Script::established(|config| config.add_path_receive = receive, &bytes)
}

/// An UPDATE of IPv4 paths: identifier, third octet of 10.9.x.0/24, last octet of the next hop.
fn announce(paths: &[(u32, u8)], hop: u8) -> Vec<u8> {
    let nlri: Vec<u8> = paths.iter().flat_map(|(id, x)| [&id.to_be_bytes()[..], &[24, 10, 9, *x]].concat()).collect();
    let attributes = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 3, 4, 10, 0, 0, hop];
    message(&[&[0, 0, 0, attributes.len() as u8], &attributes[..], &nlri].concat())
}

fn withdraw(paths: &[(u32, u8)]) -> Vec<u8> {
    let nlri: Vec<u8> = paths.iter().flat_map(|(id, x)| [&id.to_be_bytes()[..], &[24, 10, 9, *x]].concat()).collect();
    message(&[&[0, nlri.len() as u8], &nlri[..], &[0, 0]].concat())
}

fn message(body: &[u8]) -> Vec<u8> {
    let [high, low] = (body.len() as u16 + 19).to_be_bytes();
    [&[0xff; 16][..], &[high, low, 2], body].concat()
}

/// The paths held: prefix, identifier, next hop.
fn held(script: &Script) -> Vec<(String, Option<u32>, String)> {
    let paths = script.speaker.routes_received(None, None);
    paths.iter().map(|p| (p.prefix.to_string(), p.path_id, p.attributes.next_hop.to_string())).collect()
}

fn path(x: u8, id: u32, hop: u8) -> (String, Option<u32>, String) {
    (format!("10.9.{x}.0/24"), Some(id), format!("10.0.0.{hop}"))
}

#[test]
fn rfc7911_4_is_offered_for_receiving_only_and_only_when_configured() {
    let (script, _) = session(true);
    let view = script.view().session.unwrap();
    assert!(view.capabilities_sent.contains(&offer(true, false)));
    assert_eq!(view.add_path_receive, Family::BOTH);
    let (script, _) = session(false);
    let view = script.view().session.unwrap();
    assert!(!view.capabilities_sent.iter().any(|c| matches!(c, Capability::AddPath(_))));
    assert_eq!(view.add_path_receive, []);
}

#[test]
fn rfc7911_3_paths_with_different_identifiers_stand_beside_each_other() {
    let (mut script, conn) = session(true);
    script.say(conn, &announce(&[(7, 1), (7, 2)], 8));
    script.say(conn, &announce(&[(900_000, 1)], 6));
    assert_eq!(held(&script), [path(1, 7, 8), path(1, 900_000, 6), path(2, 7, 8)]);
    let hops: Vec<_> = script.routes[&prefix("10.9.1.0/24")].next_hops.iter().map(|h| h.addr).collect();
    assert_eq!(hops, [ip("10.0.0.6"), ip("10.0.0.8")], "both are used");
    assert_eq!(script.view().session.unwrap().prefixes_received, 3);
    // The same identifier replaces; a withdrawal takes one path and leaves the other.
    script.say(conn, &announce(&[(7, 1)], 4));
    assert_eq!(held(&script), [path(1, 7, 4), path(1, 900_000, 6), path(2, 7, 8)]);
    script.say(conn, &withdraw(&[(7, 1), (8, 1), (900_000, 2)]));
    assert_eq!(held(&script), [path(1, 900_000, 6), path(2, 7, 8)]);
    assert_eq!(script.routes[&prefix("10.9.1.0/24")].next_hops.len(), 1);
    script.say(conn, &withdraw(&[(900_000, 1), (7, 2)]));
    assert_eq!(held(&script), []);
    assert!(script.routes.is_empty());
}

#[test]
fn rfc7911_5_our_own_updates_have_no_identifiers() {
    let (mut script, conn) = session(true);
    script.originate(&["10.1.0.0/26"]);
    let (_, body) = script.sent(conn).pop().unwrap();
    assert!(body.ends_with(&[26, 10, 1, 0, 0]) && !body.ends_with(&[0, 26, 10, 1, 0, 0]), "{body:x?}");
}

#[test]
fn rfc7911_5_without_an_agreement_a_prefix_is_a_prefix() {
    let (mut script, conn) = session(false);
    script.say(conn, &announcement(&[prefix("10.9.1.0/24")]));
    assert_eq!(held(&script), [("10.9.1.0/24".to_owned(), None, REMOTE.to_owned())]);
}

#[test]
fn more_paths_than_are_kept_are_counted_and_change_nothing() {
    let (mut script, conn) = session(true);
    for id in 0..100 {
        script.say(conn, &announce(&[(id, 1)], 8));
    }
    assert_eq!(held(&script).len(), 16);
    assert_eq!(script.view().counters.paths_refused, 84);
    // A place that is given up is used again.
    script.say(conn, &withdraw(&[(3, 1)]));
    script.say(conn, &announce(&[(500, 1)], 8));
    assert_eq!(held(&script).len(), 16);
    assert!(held(&script).contains(&path(1, 500, 8)));
    assert_eq!(script.state(), SessionState::Established);
}

#[test]
fn rfc7911_and_rfc7313_a_refresh_takes_the_paths_it_does_not_repeat() {
    let (mut script, conn) = session(true);
    let mark = |subtype| {
        let mut bytes = Vec::new();
        RouteRefresh::of(Family::V4, subtype).encode(&mut bytes);
        bytes
    };
    script.say(conn, &announce(&[(1, 1), (2, 1), (1, 2)], 8));
    script.say(conn, &mark(RouteRefresh::BEGIN));
    script.say(conn, &announce(&[(2, 1), (3, 1)], 8));
    assert_eq!(held(&script), [path(1, 1, 8), path(1, 2, 8), path(1, 3, 8), path(2, 1, 8)]);
    script.say(conn, &mark(RouteRefresh::END));
    script.wait(millis(1));
    assert_eq!(held(&script), [path(1, 2, 8), path(1, 3, 8)]);
    assert_eq!(script.view().session.unwrap().prefixes_received, 2);
}

#[test]
fn a_prefix_without_room_for_its_identifier_ends_the_session() {
    let (mut script, conn) = session(true);
    script.say(conn, &message(&[0, 3, 0, 0, 0, 0, 0]));
    let refused = script.view().last_notification_sent.unwrap();
    assert_eq!((refused.code, refused.subcode), (3, 10));
}

/// A neighbour that restarts, with several paths or without.
fn restarting(several: bool) -> Vec<u8> {
    let family = GracefulFamily { afi: 1, safi: 1, forwarding: true };
    let restart = GracefulRestart { restarted: false, notification: false, restart_time: 100, families: vec![family] };
    let more = [Capability::Unicast(Family::V4), Capability::FourOctetAs(65001), Capability::GracefulRestart(restart)];
    let offer = if several { vec![offer(false, true)] } else { Vec::new() };
    open(65001, 9, &[&more[..], &offer].concat())
}

/// A session that has told three paths, broke, and is back.
fn back(several_then: bool, several_now: bool) -> (Script, ConnId) {
    let told = restarting(several_then);
    let (mut script, conn) = Script::established(|config| config.add_path_receive = true, &told);
    if several_then {
        script.say(conn, &announce(&[(1, 1), (2, 1), (1, 2)], 8));
    } else {
        script.say(conn, &announcement(&[prefix("10.9.1.0/24"), prefix("10.9.2.0/24")]));
    }
    script.event(Event::Closed { conn, error: None });
    let conn = script.accept_from(ip(REMOTE));
    script.say(conn, &restarting(several_now));
    script.say(conn, &alive());
    assert_eq!(script.state(), SessionState::Established);
    (script, conn)
}

#[test]
fn rfc7911_3_and_rfc4724_4_2_a_path_told_again_replaces_the_kept_one_with_its_identifier_only() {
    let (mut script, conn) = back(true, true);
    assert_eq!(held(&script), [path(1, 1, 8), path(1, 2, 8), path(2, 1, 8)], "kept, with their identifiers");
    script.say(conn, &announce(&[(2, 1)], 6));
    assert_eq!(held(&script), [path(1, 1, 8), path(1, 2, 6), path(2, 1, 8)], "path 1 waits for its turn");
    let kept = script.speaker.routes_received(None, None).iter().filter(|p| p.stale.is_some()).count();
    assert_eq!(kept, 2);
    script.say(conn, &withdraw(&[(1, 1)]));
    assert_eq!(held(&script), [path(1, 2, 6), path(2, 1, 8)]);
    let mut marker = Vec::new();
    end_of_rib(Family::V4, &mut marker);
    script.say(conn, &marker);
    script.wait(millis(1));
    assert_eq!(held(&script), [path(1, 2, 6)], "what was not told again goes");
}

#[test]
fn rfc7911_3_and_rfc4724_4_2_where_only_one_session_had_identifiers_a_prefix_replaces_all_its_paths() {
    let (mut script, conn) = back(true, false);
    script.say(conn, &announcement(&[prefix("10.9.1.0/24")]));
    assert_eq!(held(&script), [("10.9.1.0/24".to_owned(), None, REMOTE.to_owned()), path(2, 1, 8)]);
    let (mut script, conn) = back(false, true);
    script.say(conn, &announce(&[(5, 1)], 8));
    assert_eq!(held(&script), [path(1, 5, 8), ("10.9.2.0/24".to_owned(), None, REMOTE.to_owned())]);
}

#[test]
fn rfc7911_3_the_trace_reads_prefixes_with_their_identifiers() {
    let (mut script, conn) = session(true);
    script.say(conn, &announce(&[(7, 1), (900_000, 2)], 8));
    script.say(conn, &withdraw(&[(7, 1)]));
    let told: Vec<String> = script
        .speaker
        .trace(PeerId::of_address(ip(REMOTE)))
        .into_iter()
        .filter_map(|entry| match entry.what {
            Traced::Message { bytes, path_ids, sent: false, .. } => Some(describe(&bytes, &path_ids)),
            _ => None,
        })
        .collect();
    let last = &told[told.len() - 2..];
    assert_eq!(
        last,
        ["UPDATE: announces 10.9.1.0/24 path 7, 10.9.2.0/24 path 900000", "UPDATE: withdraws 10.9.1.0/24 path 7"]
    );
}
