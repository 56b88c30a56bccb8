//! Any sequence of events against the invariants.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use petiole_prefix::{Family, Prefix};
use proptest::prelude::*;

use super::super::world::{ip, millis, prefix, secs};
use super::{REMOTE, Script, alive, open, usual_open};
use crate::wire::{Notification, OutAttributes, RouteRefresh, end_of_rib, split_message, withdraw};
use crate::*;

/// What went out on a connection so far.
#[derive(Default)]
struct Sent {
    opened: bool,
    confirmed: bool,
    closed: bool,
}

/// What may happen to a speaker.
#[derive(Clone, Debug)]
enum Step {
    Accept { stranger: bool },
    Connected(bool),
    Closed(usize),
    Say(usize, Say),
    Written(usize),
    Originate(Vec<usize>),
    Peers(u8),
    Uplink(bool),
    Enabled(bool),
    Hold(bool),
    NextHop(bool),
    Bfd(BfdState, bool),
    Wait(u64),
}

#[derive(Clone, Debug)]
enum Say {
    Open { good: bool },
    Keepalive,
    Announce(Vec<usize>),
    Withdraw(Vec<usize>),
    EndOfRib,
    Refresh,
    Notification,
    Mangled(Vec<usize>, prop::sample::Index, u8),
    Noise(Vec<u8>),
}

const POOL: [&str; 8] = [
    "10.1.0.0/26",
    "10.1.0.64/26",
    "10.2.0.0/16",
    "0.0.0.0/0",
    "fd00:1::/122",
    "fd00:2::/64",
    "10.1.0.0/27",
    "fd00:1::/121",
];

fn any_say() -> impl Strategy<Value = Say> {
    let some = || prop::collection::vec(0..POOL.len(), 1..4);
    prop_oneof![
        4 => prop::bool::weighted(0.9).prop_map(|good| Say::Open { good }),
        6 => Just(Say::Keepalive),
        6 => some().prop_map(Say::Announce),
        3 => some().prop_map(Say::Withdraw),
        1 => Just(Say::EndOfRib),
        2 => Just(Say::Refresh),
        1 => Just(Say::Notification),
        2 => (some(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(p, at, to)| Say::Mangled(p, at, to)),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Say::Noise),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::bool::weighted(0.1).prop_map(|stranger| Step::Accept { stranger }),
        4 => prop::bool::weighted(0.8).prop_map(Step::Connected),
        1 => any::<usize>().prop_map(Step::Closed),
        16 => (any::<usize>(), any_say()).prop_map(|(n, say)| Step::Say(n, say)),
        2 => any::<usize>().prop_map(Step::Written),
        3 => prop::collection::vec(0..3usize, 0..3).prop_map(Step::Originate),
        1 => (0u8..3).prop_map(Step::Peers),
        1 => any::<bool>().prop_map(Step::Uplink),
        1 => any::<bool>().prop_map(Step::Enabled),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => any::<bool>().prop_map(Step::NextHop),
        2 => (0usize..3, any::<bool>()).prop_map(|(n, failed)| {
            Step::Bfd([BfdState::Down, BfdState::Up, BfdState::RemoteAdminDown][n], failed)
        }),
        4 => (0u64..5000).prop_map(Step::Wait),
    ]
}

fn bytes_of(say: &Say) -> Vec<u8> {
    let pick = |which: &[usize]| -> Vec<Prefix> { which.iter().map(|i| prefix(POOL[*i])).collect() };
    let of =
        |list: &[Prefix], family| -> Vec<Prefix> { list.iter().copied().filter(|p| p.family() == family).collect() };
    let announce = |list: &[Prefix]| {
        let mut bytes = Vec::new();
        for (family, next_hop) in [(Family::V4, REMOTE), (Family::V6, "fd00:122::")] {
            let list = of(list, family);
            let out = OutAttributes::new(65001, ip(next_hop));
            if !list.is_empty() {
                out.announce(&list, &mut bytes);
            }
        }
        bytes
    };
    let mut bytes = Vec::new();
    match say {
        Say::Open { good: true } => bytes = usual_open(),
        Say::Open { good: false } => bytes = open(65077, 9, &[]),
        Say::Keepalive => bytes = alive(),
        Say::Announce(which) => bytes = announce(&pick(which)),
        Say::Withdraw(which) => {
            for family in Family::BOTH {
                withdraw(family, &of(&pick(which), family), &mut bytes);
            }
        }
        Say::EndOfRib => end_of_rib(Family::V4, &mut bytes),
        Say::Refresh => {
            RouteRefresh { afi: wire::Afi::Ipv4, subtype: 0, safi: wire::Safi::Unicast }.encode(&mut bytes);
        }
        Say::Notification => Notification::cease(wire::CeaseSubcode::OutOfResources).encode(&mut bytes),
        Say::Mangled(which, at, to) => {
            bytes = announce(&pick(which));
            let at = at.index(bytes.len());
            bytes[at] = *to;
        }
        Say::Noise(noise) => bytes.clone_from(noise),
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens in whatever order: UPDATEs only on an Established connection, announcements only of what is ours at
    /// that instant, nothing on a closed connection, one OPEN per connection, at most two connections, timers that move on.
    #[test]
    fn any_sequence_keeps_the_invariants(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut script = Script::new(|_| {});
        let mut conns: Vec<ConnId> = Vec::new();
        let mut sent = BTreeMap::<ConnId, Sent>::new();
        for step in steps {
            match step {
                Step::Accept { stranger } => {
                    let from = if stranger { "10.0.0.9" } else { REMOTE };
                    conns.push(script.accept_from(ip(from)));
                }
                Step::Connected(good) => {
                    let dialled = conns.iter().rev().find(|c| matches!(c, ConnId::Dialled(_))).copied();
                    if let Some(conn) = dialled {
                        let (local, remote) = (SocketAddr::new(ip("10.0.0.1"), 5), SocketAddr::new(ip(REMOTE), 179));
                        script.event(match good {
                            true => Event::Connected { conn, local, remote },
                            false => Event::ConnectFailed { conn, error: "refused".to_owned() },
                        });
                    }
                }
                Step::Closed(n) if !conns.is_empty() => {
                    script.event(Event::Closed { conn: conns[n % conns.len()], error: None });
                }
                Step::Say(n, say) if !conns.is_empty() => {
                    script.say(conns[n % conns.len()], &bytes_of(&say));
                }
                Step::Written(n) if !conns.is_empty() => {
                    script.event(Event::Written { conn: conns[n % conns.len()], bytes: n % 10_000 });
                }
                Step::Closed(_) | Step::Say(..) | Step::Written(_) => {}
                Step::Originate(which) => {
                    let which: Vec<&str> = which.iter().map(|i| POOL[[0, 1, 4][*i]]).collect();
                    script.originate(&which);
                }
                Step::Peers(n) => {
                    let mut config = PeerConfig::new(ip(REMOTE), RemoteAsn::Is(65001));
                    config.bfd = (n > 0).then_some(BfdPolicy { strict: n > 1 });
                    config.hold_time = secs(u64::from(n) * 9);
                    let peers = if n == 0 { BTreeMap::new() } else { BTreeMap::from([(script.peer, config)]) };
                    script.with(|s, now| s.set_peers(peers, now));
                }
                Step::Uplink(up) => {
                    let peer = script.peer;
                    script.with(|s, now| s.handle_uplink(peer, up, now));
                }
                Step::Enabled(enabled) => {
                    let peer = script.peer;
                    script.with(|s, now| s.set_peer_enabled(peer, enabled, None, now));
                }
                Step::Bfd(state, failed) => {
                    let peer = script.peer;
                    let failed_at = failed.then_some(script.now);
                    let status = BfdStatus { state, failed_at, control_plane_independent: failed, began_anew: !failed };
                    script.with(|s, now| s.handle_bfd(peer, status, now));
                }
                Step::Hold(held) => script.with(|s, now| s.hold_end_of_rib(held, now)),
                Step::NextHop(given) => {
                    let peer = script.peer;
                    let v6 = given.then(|| "fd00:122::1".parse().unwrap());
                    script.with(|s, now| s.set_next_hops(peer, None, v6, now));
                }
                Step::Wait(ms) => {
                    let until = script.now + millis(ms);
                    let mut calls = 0;
                    while let Some((at, _)) = script.speaker.poll_timeout().filter(|(at, _)| *at <= until) {
                        script.now = script.now.max(at);
                        script.with(|s, now| s.handle_timeout(now));
                        calls += 1;
                        prop_assert!(calls < 200, "timers do not move on: {:?}", script.speaker.poll_timeout());
                    }
                    script.now = until;
                }
            }
            for action in std::mem::take(&mut script.actions) {
                match action {
                    Action::Connect { conn, .. } => {
                        conns.push(conn);
                        prop_assert!(sent.insert(conn, Sent::default()).is_none());
                    }
                    Action::Send { conn, bytes } => {
                        let Sent { opened, confirmed, closed } = sent.entry(conn).or_default();
                        prop_assert!(!*closed, "sent after the close");
                        let (kind, _, _) = split_message(&bytes).unwrap();
                        match kind {
                            1 => prop_assert!(!std::mem::replace(opened, true), "two OPENs"),
                            2 => prop_assert!(*confirmed, "UPDATE before Established"),
                            3 => {}
                            4 => {
                                prop_assert!(*opened, "KEEPALIVE before OPEN");
                                *confirmed = true;
                            }
                            _ => prop_assert!(*opened, "type {kind} before OPEN"),
                        }
                    }
                    Action::Close { conn } | Action::Reset { conn } => {
                        let closed = &mut sent.entry(conn).or_default().closed;
                        prop_assert!(!std::mem::replace(closed, true), "closed twice");
                    }
                    Action::PauseReading { .. } | Action::ResumeReading { .. } => {}
                }
            }
            // What the forwarding table was told is what is in use, and nothing of ours is among it.
            for (prefix, route) in &script.routes {
                prop_assert!(!script.originated.contains_key(prefix));
                let now = script.speaker.lookup(*prefix);
                prop_assert!(now.is_none() || now.as_ref() == Some(route));
            }
            if let Some(view) = script.speaker.peers().next() {
                prop_assert_eq!(view.counters.guard_drops, 0);
                prop_assert_eq!(view.state == SessionState::Established, view.session.is_some());
            }
        }
    }
}
