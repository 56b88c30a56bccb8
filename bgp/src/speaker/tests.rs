//! Two speakers, one pretended network, virtual time.

mod scripted;
mod simulation;
mod world;

use std::time::Duration;

use petiole_prefix::Family;

use crate::*;
use world::{World, ip, millis, prefix, secs};

#[test]
fn two_speakers_reach_established_and_exchange_what_they_own() {
    let mut world = World::pair(1, |_, _| {});
    world.originate(0, &["10.1.0.0/26", "10.1.0.64/26"]);
    world.originate(1, &["10.2.0.0/26"]);
    assert!(world.establish(secs(5)));
    world.run(secs(1));
    assert_eq!(
        world.nodes[1].routes.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.1.0.0/26", "10.1.0.64/26"]
    );
    let route = &world.nodes[0].routes[&prefix("10.2.0.0/26")];
    assert_eq!(route.next_hops[0].addr, ip("10.0.0.2"));
    assert_eq!(route.best.attributes.as_path.to_string(), "4200000002");
    for node in 0..2 {
        for family in Family::BOTH {
            assert!(world.nodes[node].speaker.end_of_rib_received(world.peer_of(node), family));
        }
    }
}

#[test]
fn simultaneous_open_ends_with_one_connection_under_any_delays() {
    for seed in 0..600 {
        let mut world = World::pair(seed, |_, _| {});
        world.max_delay = millis(1 + seed % 700);
        assert!(world.establish(secs(30)), "seed {seed}: {:?} {:?}", world.view(0), world.view(1));
        world.run(secs(30));
        assert!(world.both_established(), "seed {seed} flapped");
        for node in 0..2 {
            let ups = world.count(node, |e| matches!(e, SpeakerEvent::PeerUp { .. }));
            assert_eq!(ups, 1, "seed {seed}: {:#?}", world.nodes[node].events);
        }
    }
}

#[test]
fn a_quiet_session_costs_little() {
    let mut world = World::pair(7, |_, _| {});
    assert!(world.establish(secs(5)));
    world.run(secs(1));
    let calls = world.calls;
    world.run(secs(1000));
    assert!(world.both_established());
    // One KEEPALIVE each way per 2 s and a bit: sent, written, and received in a few pieces.
    assert!(world.calls - calls < 1000 * 8, "{} calls", world.calls - calls);
}

#[test]
fn dead_neighbours_are_tried_at_a_bounded_rate() {
    let mut world = World::pair(3, |_, _| {});
    world.cut = true;
    world.lose_all();
    world.run(secs(20));
    let calls = world.calls;
    world.run(secs(1000));
    assert!(world.calls - calls < 2000, "{} calls", world.calls - calls);
    world.cut = false;
    assert!(world.establish(secs(10)));
}

#[test]
fn silence_is_noticed_after_the_hold_time_and_routes_go() {
    let mut world = World::pair(4, |_, config| config.graceful_restart = None);
    world.originate(1, &["10.2.0.0/26"]);
    assert!(world.establish(secs(5)));
    world.run(secs(1));
    assert_eq!(world.nodes[0].routes.len(), 1);
    world.cut = true;
    world.lose_all();
    let cut_at = world.now;
    world.run(secs(10));
    assert!(world.nodes[0].routes.is_empty());
    let down = world.nodes[0].events.iter().find_map(|e| match e {
        SpeakerEvent::PeerDown { at, reason, .. } => Some((*at, reason.clone())),
        _ => None,
    });
    let (at, reason) = down.unwrap();
    assert!(matches!(&reason, DownReason::HoldTimerExpired(v) if !v.we_were_late()), "{reason}");
    assert!(at - cut_at <= secs(9), "{:?}", at - cut_at);
    world.cut = false;
    assert!(world.establish(secs(15)));
    world.run(secs(1));
    assert_eq!(world.nodes[0].routes.len(), 1);
}

#[test]
fn link_down_closes_at_once_and_link_up_dials_at_once() {
    let mut world = World::pair(5, |_, _| {});
    assert!(world.establish(secs(5)));
    let peer = world.peer_of(0);
    world.with(0, |s, now| s.handle_uplink(peer, false, now));
    assert_eq!(world.state(0), SessionState::Idle);
    world.cut = true;
    world.lose_all();
    world.run(secs(30));
    world.cut = false;
    let up_at = world.now;
    world.with(0, |s, now| s.handle_uplink(peer, true, now));
    assert!(world.establish(secs(5)));
    assert!(world.now - up_at < secs(1), "{:?}", world.now - up_at);
}

#[test]
fn a_link_that_comes_up_late_is_not_waited_for_long() {
    let mut world = World::pair(9, |_, _| {});
    world.cut = true;
    world.lose_all();
    // Long enough for the longest waits.
    world.run(secs(120));
    let (here, there) = (world.peer_of(0), world.peer_of(1));
    for up in [false, true] {
        world.with(0, |s, now| s.handle_uplink(here, up, now));
        world.with(1, |s, now| s.handle_uplink(there, up, now));
    }
    // The first attempt finds the way not ready yet.
    world.run(millis(100));
    world.cut = false;
    assert!(world.establish(secs(1)), "{:?}", world.view(0));
}

#[test]
fn withdrawals_go_before_announcements() {
    let mut world = World::pair(6, |_, _| {});
    world.originate(0, &["10.1.0.0/26"]);
    assert!(world.establish(secs(5)));
    world.run(secs(1));
    world.nodes[0].events.clear();
    world.originate(0, &["10.1.0.64/26"]);
    let order: Vec<bool> = world.nodes[0]
        .events
        .iter()
        .filter_map(|e| match e {
            SpeakerEvent::Withdrawn { .. } => Some(true),
            SpeakerEvent::Advertised { .. } => Some(false),
            _ => None,
        })
        .collect();
    assert_eq!(order, [true, false]);
    world.run(secs(1));
    assert_eq!(world.nodes[1].routes.keys().copied().collect::<Vec<_>>(), [prefix("10.1.0.64/26")]);
}

#[test]
fn hold_time_zero_needs_no_keepalives() {
    let mut world = World::pair(8, |_, config| config.hold_time = Duration::ZERO);
    assert!(world.establish(secs(5)));
    let sent = world.view(0).counters.messages_out;
    world.run(secs(3600));
    assert!(world.both_established());
    assert!(world.view(0).counters.messages_out <= sent + 2);
}

#[test]
fn whatever_breaks_heals_at_a_bounded_rate() {
    for seed in 0..100 {
        let mut world = World::pair(seed, |_, _| {});
        world.max_delay = millis(1 + seed * 7 % 400);
        world.originate(0, &["10.1.0.0/26"]);
        world.originate(1, &["10.2.0.0/26"]);
        for round in 0..6u64 {
            match (seed + round * 3) % 5 {
                0 => world.restart(0),
                1 => world.restart(1),
                2 => world.break_one_end(0),
                3 => world.break_one_end(1),
                _ => {
                    world.cut = true;
                    world.run(millis(seed * 97 % 15_000));
                    world.lose_all();
                    world.cut = false;
                }
            }
            // Some healing, never all the way, before the next fault.
            world.run(millis((seed * 31 + round * 700) % 4000));
        }
        let calls = world.calls;
        assert!(world.establish(secs(40)), "seed {seed}: {:#?} {:#?}", world.view(0), world.view(1));
        world.run(secs(60));
        assert!(world.both_established(), "seed {seed} flapped");
        assert!(world.calls - calls < 100 * 20, "seed {seed}: {} calls", world.calls - calls);
        for (node, theirs) in [(0, "10.2.0.0/26"), (1, "10.1.0.0/26")] {
            let routes: Vec<_> = world.nodes[node].routes.keys().copied().collect();
            assert_eq!(routes, [prefix(theirs)], "seed {seed}");
        }
    }
}
