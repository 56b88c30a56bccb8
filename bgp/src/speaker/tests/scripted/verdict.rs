//! RFC 4271 section 8.1.3, event 10: who was silent when the hold timer expired.

use super::*;

fn expire(looked: Option<(u64, u64)>, change: impl Fn(&mut Script, ConnId)) -> (Script, ConnId) {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    change(&mut script, conn);
    script.now += secs(9);
    assert_eq!(script.speaker.hold_due(script.now), [conn]);
    if let Some((unread, silent)) = looked {
        script.event(Event::Looked { conn, unread, silent: millis(silent) });
    }
    script.with(|s, now| s.handle_timeout(now));
    (script, conn)
}

fn down(script: &Script) -> &HoldVerdict {
    let reason = script.events.iter().rev().find_map(|e| match e {
        SpeakerEvent::PeerDown { reason: DownReason::HoldTimerExpired(verdict), .. } => Some(verdict),
        _ => None,
    });
    reason.unwrap()
}

#[test]
fn a_silent_peer_is_said_with_how_long_the_kernel_heard_nothing() {
    let (script, conn) = expire(Some((0, 9_400)), |_, _| {});
    assert_eq!(script.notified(conn), Some((4, 0)));
    assert!(!down(&script).we_were_late());
    let error = script.view().last_error.unwrap();
    assert_eq!(error, "hold timer expired: the peer was silent: nothing arrived for 9.4 s");
}

#[test]
fn without_a_look_only_messages_count() {
    let (script, _) = expire(None, |_, _| {});
    let error = script.view().last_error.unwrap();
    assert_eq!(error, "hold timer expired: the peer was silent: no message for 9.0 s");
}

#[test]
fn data_that_arrived_within_the_hold_time_makes_it_our_fault() {
    let (script, _) = expire(Some((0, 1_200)), |script, _| {
        script.now += secs(1);
        script.event(Event::Stalled { by: millis(7_500) });
    });
    assert!(down(&script).we_were_late());
    assert_eq!(
        script.view().last_error.unwrap(),
        "hold timer expired: we were late: data from the peer arrived 1.2 s ago; this node stood still for 7.5 s meanwhile"
    );
}

#[test]
fn unread_bytes_are_waited_for_once() {
    let (mut script, conn) = expire(Some((19, 100)), |_, _| {});
    assert_eq!(script.state(), SessionState::Established, "the peer had spoken");
    script.say(conn, &alive());
    script.now += secs(8);
    script.with(|s, now| s.handle_timeout(now));
    assert_eq!(script.state(), SessionState::Established);

    let (mut script, conn) = expire(Some((19, 100)), |_, _| {});
    script.now += secs(1);
    script.event(Event::Looked { conn, unread: 19, silent: millis(1_100) });
    script.with(|s, now| s.handle_timeout(now));
    assert_eq!(
        script.view().last_error.unwrap(),
        "hold timer expired: we were late: 19 bytes from the peer lay unread, the last arrived 1.1 s ago"
    );
}

#[test]
fn a_stall_before_the_hold_time_and_a_message_after_a_look_are_forgotten() {
    let (script, _) = expire(Some((0, 9_000)), |script, conn| {
        script.event(Event::Stalled { by: secs(3) });
        script.event(Event::Looked { conn, unread: 5, silent: secs(0) });
        script.now += secs(1);
        script.say(conn, &alive());
    });
    let error = script.view().last_error.unwrap();
    assert_eq!(error, "hold timer expired: the peer was silent: nothing arrived for 9.0 s");
}

#[test]
fn a_hint_of_the_driver_goes_with_the_verdict() {
    let (script, _) = expire(Some((0, 9_100)), |script, conn| {
        script.event(Event::Hint { conn, what: "4 segments with a wrong signature arrived".to_owned() });
    });
    let error = script.view().last_error.unwrap();
    assert!(error.ends_with("nothing arrived for 9.1 s; 4 segments with a wrong signature arrived"), "{error}");
}

#[test]
fn a_leaf_that_heard_nothing_while_this_node_stood_still_is_not_blamed() {
    let expired = wire::Notification::new(wire::ErrorCode::HoldTimer, 0);
    let ended = |stall: Option<u64>| {
        let (mut script, conn) = Script::established(|_| {}, &usual_open());
        if let Some(stall) = stall {
            script.event(Event::Stalled { by: millis(stall) });
        }
        let mut bytes = Vec::new();
        expired.encode(&mut bytes);
        script.say(conn, &bytes);
        script.view().last_error.unwrap()
    };
    assert_eq!(ended(None), "the peer ended it: hold timer expired (4/0)");
    let late = "the peer ended it: hold timer expired (4/0); we were late: this node stood still for 5.2 s";
    assert_eq!(ended(Some(5_200)), late);
}
