//! What an operator does to a neighbour.

use super::*;
use crate::wire::{GracefulRestart, ShutdownText};

fn text(text: &str) -> Option<ShutdownText> {
    ShutdownText::new(text).ok()
}

fn said(script: &Script, conn: ConnId) -> Option<wire::Notification> {
    let sent = script.sent(conn);
    let (_, body) = sent.iter().find(|(kind, _)| *kind == MessageType::Notification as u8)?;
    Some(wire::Notification::decode(body))
}

#[test]
fn rfc9003_2_what_the_operator_says_reaches_the_other_side() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let peer = script.peer;
    script.with(|s, now| s.set_peer_enabled(peer, false, text("rack 3 is moved"), now));
    let notification = said(&script, conn).unwrap();
    assert_eq!((notification.code, notification.subcode), (6, 2));
    assert_eq!(notification.shutdown_communication().as_deref(), Some("rack 3 is moved"));
    assert_eq!(script.state(), SessionState::Idle);
    script.with(|s, now| s.set_peer_enabled(peer, true, None, now));
    assert_eq!(script.state(), SessionState::Active);
}

#[test]
fn rfc9003_2_what_the_other_side_says_is_shown() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let mut bytes = Vec::new();
    let shutdown = wire::Notification::cease(wire::CeaseSubcode::AdministrativeShutdown);
    shutdown.with_text(text("leaf upgrade").as_ref()).encode(&mut bytes);
    script.say(conn, &bytes);
    let words = script.view().last_error.unwrap();
    assert!(words.ends_with("saying \"leaf upgrade\""), "{words}");
}

#[test]
fn rfc4486_3_clear_is_an_administrative_reset_and_starts_anew() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let peer = script.peer;
    script.with(|s, now| s.clear_peer(peer, None, now));
    assert_eq!(script.notified(conn), Some((6, 4)));
    assert_eq!(script.state(), SessionState::Active);
    assert_eq!(script.view().failures, 0);
}

#[test]
fn clear_dials_at_once_whatever_the_back_off() {
    let mut script = Script::new(|_| {});
    for _ in 0..8 {
        let conn = script.actions.iter().find_map(|a| match a {
            Action::Connect { conn, .. } => Some(*conn),
            _ => None,
        });
        script.actions.clear();
        script.event(Event::ConnectFailed { conn: conn.unwrap(), error: "refused".to_owned() });
        script.wait(secs(6));
    }
    script.actions.clear();
    let peer = script.peer;
    script.with(|s, now| s.clear_peer(peer, None, now));
    assert!(script.actions.iter().any(|a| matches!(a, Action::Connect { .. })), "{:?}", script.actions);
}

#[test]
fn rfc2918_3_a_soft_clear_asks_for_every_family_again() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let peer = script.peer;
    script.with(|s, now| s.request_refresh(peer, now).unwrap());
    let asked: Vec<_> = script.sent(conn).into_iter().filter(|(kind, _)| *kind == 5).map(|(_, body)| body).collect();
    assert_eq!(asked, [[0, 1, 0, 1], [0, 2, 0, 1]]);
    assert_eq!(script.state(), SessionState::Established);

    let plain = [Capability::Unicast(Family::V4), Capability::FourOctetAs(65001)];
    let (mut script, _) = Script::established(|_| {}, &open(65001, 9, &plain));
    script.with(|s, now| assert_eq!(s.request_refresh(peer, now), Err(NoRefresh::NotOffered)));
    script.with(|s, now| s.set_peer_enabled(peer, false, None, now));
    script.with(|s, now| assert_eq!(s.request_refresh(peer, now), Err(NoRefresh::NotEstablished)));
}

#[test]
fn stop_withdraws_says_goodbye_and_begins_nothing_again() {
    let restarts = Capability::GracefulRestart(GracefulRestart { restart_time: 120, ..GracefulRestart::default() });
    let capabilities = [Capability::Unicast(Family::V4), Capability::FourOctetAs(65001), restarts];
    let (mut script, conn) = Script::established(|_| {}, &open(65001, 9, &capabilities));
    script.originate(&["10.123.128.0/26"]);
    script.actions.clear();
    script.originated.clear();
    script.with(|s, now| s.stop_all(text("decommissioned"), now));
    let sent = script.sent(conn);
    let kinds: Vec<u8> = sent.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [MessageType::Update as u8, MessageType::Notification as u8]);
    assert_eq!(sent[0].1, [0, 5, 26, 10, 123, 128, 0, 0, 0]);
    assert_eq!(said(&script, conn).unwrap().shutdown_communication().as_deref(), Some("decommissioned"));
    assert!(script.actions.contains(&Action::Close { conn }));
    script.wait(secs(3600));
    assert_eq!(script.state(), SessionState::Idle);
    assert!(!script.actions.iter().any(|a| matches!(a, Action::Connect { .. })));
}
