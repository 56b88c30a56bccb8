//! Much input, slow input, and a peer that does not read.

use std::net::Ipv4Addr;

use petiole_prefix::{Family, Prefix};

use super::super::world::{ip, prefix, secs};
use super::{REMOTE, Script, announcement, usual_open};
use crate::wire::{Notification, OutAttributes, end_of_rib};
use crate::*;

#[test]
fn a_flood_is_worked_off_in_pieces_and_is_no_silence() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let prefixes: Vec<Prefix> =
        (0..40_000u32).map(|i| Prefix::new(Ipv4Addr::from_bits(0x0b00_0000 | i << 6).into(), 26).unwrap()).collect();
    let mut bytes = Vec::new();
    let out = OutAttributes::new(65001, ip(REMOTE));
    let mut rest = &prefixes[..];
    while !rest.is_empty() {
        rest = &rest[out.announce(rest, &mut bytes)..];
    }
    end_of_rib(Family::V4, &mut bytes);
    for piece in bytes.chunks(60_000) {
        let before = script.view().counters.announced_in;
        script.say(conn, piece);
        assert!(script.view().counters.announced_in - before <= 4096 + 1024, "one call did too much");
    }
    assert!(script.routes.len() < 20_000);
    // Late: the hold time has passed meanwhile, but it is we who have not listened.
    script.now += secs(10);
    let mut rounds = 0;
    while let Some((at, TimerReason::Backlog)) = script.speaker.poll_timeout() {
        assert!(at <= script.now);
        script.with(|s, now| s.handle_timeout(now));
        rounds += 1;
    }
    assert!((5..20).contains(&rounds), "{rounds}");
    assert_eq!(script.state(), SessionState::Established);
    assert_eq!(script.routes.len(), 40_000);
    assert!(script.speaker.end_of_rib_received(script.peer, Family::V4));
    assert_eq!(script.speaker.rib_sizes().attribute_sets, 1);
    // Silence from here on is one.
    script.now += secs(10);
    script.with(|s, now| s.handle_timeout(now));
    assert_eq!(script.notified(conn), Some((4, 0)));
    assert_eq!(script.speaker.routes_received(None, None).len(), 0);
    while let Some((_, TimerReason::Backlog)) = script.speaker.poll_timeout() {
        script.with(|s, now| s.handle_timeout(now));
    }
    assert!(script.routes.is_empty());
    assert_eq!(script.speaker.rib_sizes(), view::RibSizes { v4: 0, v6: 0, attribute_sets: 0 });
}

#[test]
fn reading_is_paused_while_too_much_waits() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let one = announcement(&[prefix("10.9.0.0/24")]);
    let many = one.repeat(6000);
    script.say(conn, &many);
    assert_eq!(script.actions, [Action::PauseReading { conn }]);
    while let Some((_, TimerReason::Backlog)) = script.speaker.poll_timeout() {
        script.with(|s, now| s.handle_timeout(now));
    }
    assert_eq!(script.actions, [Action::PauseReading { conn }, Action::ResumeReading { conn }]);
}

#[test]
fn a_close_behind_a_backlog_waits_for_it() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let mut bytes = announcement(&[prefix("10.9.0.0/24")]).repeat(1000);
    Notification::cease(wire::CeaseSubcode::AdministrativeReset).encode(&mut bytes);
    script.say(conn, &bytes);
    script.event(Event::Closed { conn, error: None });
    assert_eq!(script.state(), SessionState::Established);
    while let Some((_, TimerReason::Backlog)) = script.speaker.poll_timeout() {
        script.with(|s, now| s.handle_timeout(now));
    }
    assert_eq!(script.view().last_error.unwrap(), "the peer ended it: cease: administrative reset (6/4)");
}

#[test]
fn one_octet_at_a_time_does_not_keep_a_session_alive() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let message = announcement(&[prefix("10.9.0.0/24")]);
    for octet in &message[..15] {
        script.now += secs(1);
        script.with(|s, now| s.handle_timeout(now));
        script.say(conn, &[*octet]);
    }
    assert_eq!(script.notified(conn), Some((4, 0)));
}

#[test]
fn a_peer_that_reads_nothing_holds_up_only_itself() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    let set: Vec<String> =
        (0..40_000u32).map(|i| format!("{}/26", Ipv4Addr::from_bits(0x0b00_0000 | i << 6))).collect();
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    script.originate(&set);
    let outstanding: usize = script.sent(conn).iter().map(|(_, body)| body.len() + 19).sum();
    assert!(outstanding < 64 * 1024 + 4096, "{outstanding}");
    let queued = |s: &Script| {
        let views = s.speaker.routes_advertised(None);
        views.iter().filter(|v| v.not_announced == Some(view::NotAnnouncedBecause::Queued)).count()
    };
    assert!(queued(&script) > 0);
    // Keepalives still go.
    script.now += secs(3);
    script.with(|s, now| s.handle_timeout(now));
    assert_eq!(script.sent(conn).last().unwrap().0, 4);
    for _ in 0..10 {
        script.event(Event::Written { conn, bytes: 65536 });
    }
    assert_eq!(queued(&script), 0);
}

#[test]
fn a_prefix_counts_as_told_when_the_kernel_has_taken_the_last_octet_of_its_message() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.event(Event::Written { conn, bytes: 65536 });
    let told = |s: &Script| s.speaker.is_told(&prefix("10.123.150.7/32"));
    script.originate(&["10.123.150.7/32"]);
    assert!(!told(&script), "handed over, and not taken");
    let outstanding: usize = script.sent(conn).iter().map(|(_, body)| body.len() + 19).sum();
    script.event(Event::Written { conn, bytes: outstanding - 1 });
    assert!(!told(&script));
    script.event(Event::Written { conn, bytes: 1 });
    assert!(told(&script));
    script.event(Event::Closed { conn, error: None });
    assert!(told(&script), "nobody is there to be told");
}
