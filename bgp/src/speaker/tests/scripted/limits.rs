//! Too many prefixes, and a neighbour that takes nothing.

use super::*;
use crate::session::Timer;

/// `n` prefixes of one attribute set.
fn many(n: u32) -> Vec<Prefix> {
    (0..n).map(|i| Prefix::new(Ipv4Addr::from_bits(0x0a40_0000 + i * 64).into(), 26).unwrap()).collect()
}

fn limited(limit: u32, action: OverLimit) -> (Script, ConnId) {
    Script::established(|c| c.max_prefix = Some(MaxPrefix { limit, warn_at: 75, action }), &usual_open())
}

fn levels(script: &Script) -> Vec<(Family, u64, LimitLevel)> {
    let of = |e: &SpeakerEvent| match e {
        SpeakerEvent::PrefixLimit { usage, .. } => Some((usage.family, usage.count, usage.level)),
        _ => None,
    };
    script.events.iter().filter_map(of).collect()
}

#[test]
fn rfc4271_6_7_a_warning_comes_once_near_the_limit_and_once_over_it() {
    let (mut script, conn) = limited(100, OverLimit::Warn);
    script.say(conn, &announcement(&many(74)));
    assert_eq!(levels(&script), []);
    script.say(conn, &announcement(&many(75)));
    script.say(conn, &announcement(&many(100)));
    script.say(conn, &announcement(&many(101)));
    script.say(conn, &announcement(&many(101)));
    let near = (Family::V4, 75, LimitLevel::Near);
    assert_eq!(levels(&script), [near, (Family::V4, 101, LimitLevel::Over)]);
    assert_eq!(script.state(), SessionState::Established);
    let usage = script.view().prefix_usage;
    assert_eq!(usage[0].to_string(), "101 IPv4 prefixes, which is over its limit of 100 (max_prefix)");
    assert_eq!((usage[1].count, usage[1].level), (0, LimitLevel::Fine));
    // A count that trembles at 75 is one report, and one when it has gone well below.
    let gone = |prefixes: &[Prefix]| {
        let mut bytes = Vec::new();
        wire::withdraw(Family::V4, prefixes, &mut bytes);
        bytes
    };
    script.events.clear();
    script.say(conn, &gone(&many(101)[74..]));
    script.say(conn, &announcement(&many(75)));
    script.say(conn, &gone(&many(75)[60..]));
    assert_eq!(levels(&script), [(Family::V4, 74, LimitLevel::Fine), near, (Family::V4, 60, LimitLevel::Fine)]);
}

#[test]
fn rfc4486_4_over_the_limit_ends_in_cease_1_with_family_and_limit() {
    let (mut script, conn) = limited(10, OverLimit::Idle);
    script.say(conn, &announcement(&many(11)));
    let sent = script.sent(conn);
    let (_, body) = sent.iter().find(|(kind, _)| *kind == MessageType::Notification as u8).unwrap();
    assert_eq!(body[..], [6, 1, 0, 1, 1, 0, 0, 0, 10]);
    assert!(script.closed(conn));
    let view = script.view();
    assert_eq!(view.state, SessionState::Idle);
    let words = "it sent more than 10 IPv4 prefixes (max_prefix), and is left alone until `petiole bgp clear`";
    assert_eq!(view.state_reason.as_deref(), Some(words));
    assert_eq!(view.last_error.as_deref(), Some(words));
}

#[test]
fn each_family_is_counted_for_itself() {
    let (mut script, conn) = limited(10, OverLimit::Idle);
    script.say(conn, &announcement(&many(10)));
    let v6: Vec<Prefix> = (0..10).map(|i| prefix(&format!("fd00:{i}::/64"))).collect();
    let out = OutAttributes::new(65001, ip("fd00:122::"));
    let mut bytes = Vec::new();
    out.announce(&v6, &mut bytes);
    script.say(conn, &bytes);
    assert_eq!(script.state(), SessionState::Established);
    assert_eq!(script.view().prefix_usage.iter().map(|u| u.count).collect::<Vec<_>>(), [10, 10]);
}

#[test]
fn idle_stays_idle_until_an_operator_clears_it() {
    let (mut script, conn) = limited(10, OverLimit::Idle);
    script.say(conn, &announcement(&many(11)));
    script.wait(secs(100_000));
    script.actions.clear();
    let refused = script.accept_from(ip(REMOTE));
    assert_eq!(script.actions, [Action::Close { conn: refused }]);
    let peer = script.peer;
    script.with(|s, now| s.clear_peer(peer, None, now));
    assert_eq!(script.state(), SessionState::Active);
    let conn = script.accept_from(ip(REMOTE));
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    assert_eq!(script.state(), SessionState::Established);
}

#[test]
fn restart_tries_again_after_its_time() {
    let (mut script, conn) = limited(10, OverLimit::Restart { after: secs(60) });
    script.say(conn, &announcement(&many(11)));
    assert_eq!(script.notified(conn), Some((6, 1)));
    script.wait(secs(59));
    assert_eq!(script.state(), SessionState::Idle);
    script.wait(secs(2));
    assert_eq!(script.state(), SessionState::Active);
}

#[test]
fn another_limit_frees_a_neighbour_that_was_stopped_by_the_old_one() {
    let (mut script, conn) = limited(10, OverLimit::Idle);
    script.say(conn, &announcement(&many(11)));
    let peer = script.peer;
    let mut config = PeerConfig::new(ip(REMOTE), RemoteAsn::Is(65001));
    config.passive = true;
    config.max_prefix = Some(MaxPrefix { limit: 20, warn_at: 75, action: OverLimit::Idle });
    let with = |config: PeerConfig| move |s: &mut Speaker, now| s.set_peers([(peer, config)].into(), now);
    script.with(with(config.clone()));
    assert_eq!(script.state(), SessionState::Active);
    let conn = script.accept_from(ip(REMOTE));
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    script.say(conn, &announcement(&many(15)));
    assert_eq!(script.state(), SessionState::Established);
    // A lower one holds for the session that there is.
    config.max_prefix = Some(MaxPrefix { limit: 14, warn_at: 75, action: OverLimit::Idle });
    script.with(with(config));
    assert_eq!(script.notified(conn), Some((6, 1)));
}

/// A session on which the neighbour keeps talking but takes nothing.
fn stuck(script: &mut Script, conn: ConnId, time: Duration) {
    let until = script.now + time;
    while script.now < until && script.state() == SessionState::Established {
        script.wait(secs(2));
        script.say(conn, &alive());
    }
}

#[test]
fn rfc9687_3_1_a_peer_that_takes_nothing_is_reset_after_8_minutes() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.event(Event::Written { conn, bytes: 1 << 20 });
    stuck(&mut script, conn, secs(478));
    assert_eq!(script.state(), SessionState::Established);
    script.actions.clear();
    stuck(&mut script, conn, secs(10));
    assert_ne!(script.state(), SessionState::Established);
    // Nothing waits behind what is stuck: the connection goes at once.
    assert!(script.actions.contains(&Action::Reset { conn }), "{:?}", script.actions);
    assert_eq!(script.notified(conn), None);
    let down = |e: &SpeakerEvent| matches!(e, SpeakerEvent::PeerDown { reason: DownReason::SendHoldTimerExpired, .. });
    assert!(script.events.iter().any(down));
}

#[test]
fn rfc9687_3_1_a_peer_that_takes_slowly_is_kept() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    for _ in 0..20 {
        stuck(&mut script, conn, secs(400));
        script.event(Event::Written { conn, bytes: 1 });
    }
    assert_eq!(script.state(), SessionState::Established);
    // Everything taken: nothing to wait for.
    script.event(Event::Written { conn, bytes: 1 << 20 });
    let timer = script.speaker.poll_timeout().map(|(_, why)| why);
    assert_ne!(timer, Some(TimerReason::SendHold));
}

#[test]
fn rfc9687_3_1_the_default_is_twice_a_long_hold_time() {
    let mut config = PeerConfig::new(ip(REMOTE), RemoteAsn::External);
    assert_eq!(config.send_hold(secs(9)), Some(secs(480)));
    assert_eq!(config.send_hold(secs(600)), Some(secs(1200)));
    assert_eq!(config.send_hold(secs(0)), None);
    config.send_hold_time = Some(secs(20));
    assert_eq!(config.send_hold(secs(600)), Some(secs(20)));
    config.send_hold_time = Some(secs(0));
    assert_eq!(config.send_hold(secs(600)), None);
    assert_eq!(Timer::SendHold.reason(), TimerReason::SendHold);
}
