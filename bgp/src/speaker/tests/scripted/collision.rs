//! Two connections with one neighbour (RFC 4271 section 6.8).

use std::net::SocketAddr;

use super::super::world::ip;
use super::{REMOTE, Script, alive, usual_open};
use crate::*;

#[test]
fn section_6_8_an_established_session_stands_and_is_probed() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let second = script.accept_from(ip(REMOTE));
    assert_eq!(script.notified(second), Some((6, 7)));
    assert!(script.closed(second) && !script.closed(conn));
    assert_eq!(script.sent(conn).last().unwrap().0, 4);
    assert_eq!(script.state(), SessionState::Established);
}

#[test]
fn section_6_8_the_higher_identifier_keeps_what_it_dialled() {
    // Ours is 10.0.0.1, theirs 10.0.0.0: the connection that we dialled stays, whichever OPEN comes first.
    for accepted_first in [true, false] {
        let mut script = Script::new(|_| {});
        let Some(Action::Connect { conn: dialled, remote, .. }) = script.actions.first().cloned() else { panic!() };
        let local = SocketAddr::new(ip("10.0.0.1"), 50000);
        script.event(Event::Connected { conn: dialled, local, remote });
        let accepted = script.accept_from(ip(REMOTE));
        let first = if accepted_first { accepted } else { dialled };
        script.say(first, &usual_open());
        assert_eq!(script.notified(accepted), Some((6, 7)), "{accepted_first}");
        assert!(!script.closed(dialled));
        if accepted_first {
            script.say(dialled, &usual_open());
        }
        script.say(dialled, &alive());
        assert_eq!(script.state(), SessionState::Established);
    }
}

#[test]
fn a_connection_that_comes_late_is_parked_and_used_if_the_first_fails() {
    let mut script = Script::new(|_| {});
    let Some(Action::Connect { conn: dialled, remote, .. }) = script.actions.first().cloned() else { panic!() };
    let local = SocketAddr::new(ip("10.0.0.1"), 50000);
    script.event(Event::Connected { conn: dialled, local, remote });
    script.say(dialled, &usual_open());
    let accepted = script.accept_from(ip(REMOTE));
    script.say(accepted, &usual_open());
    assert!(script.sent(accepted).is_empty());
    // It fails.
    script.event(Event::Closed { conn: dialled, error: Some("reset".to_owned()) });
    script.with(|s, now| s.handle_timeout(now));
    let kinds: Vec<u8> = script.sent(accepted).iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 4]);
    script.say(accepted, &alive());
    assert_eq!(script.state(), SessionState::Established);
}
