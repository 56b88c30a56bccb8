//! BFD in a whole node: what is watched, and what follows from what is seen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod world;

use std::time::Duration;

use petiole_node::bfd::{Counters, Diagnostic, SessionConfig, SessionView, State, Status};
use petiole_node::view::{Answer, BfdView, PeerView, Query};
use petiole_node::{BfdReport, Event};
use world::{World, ip};

const LEAF: &str = "10.122.101.0";

fn node(bfd: &str) -> World {
    World::new(&format!(
        r#"
[node]
name = "worker1"
router_id = "10.122.0.11"
addresses = ["10.122.0.11/32"]

[store]
etcd = {{ endpoints = ["http://10.122.0.1:2379"] }}

[bgp]
asn = 4200000011

[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
{bfd}
"#
    ))
}

fn view(world: &World, state: State, remote_state: State, failed_at: Option<Duration>) -> SessionView {
    let status = Status {
        state,
        remote_state,
        since: world.now,
        failed_at,
        diagnostic: if failed_at.is_some() { Diagnostic::DETECTION_TIME_EXPIRED } else { Diagnostic::NONE },
        remote_diagnostic: Diagnostic::NONE,
        discriminator: 7,
        remote_discriminator: 9,
        control_plane_independent: false,
        transmit_interval: Some(Duration::from_millis(100)),
        detection_time: Some(Duration::from_millis(300)),
        remote_min_tx: Duration::from_millis(100),
        remote_min_rx: Duration::from_millis(50),
        remote_multiplier: 3,
        ups: 1,
    };
    let session = *world.bfd.keys().next().unwrap();
    SessionView { session, status, received: 5, sent: 6, last_received: Some(world.now) }
}

fn says(world: &mut World, state: State, remote_state: State, failed_at: Option<Duration>) {
    let sessions = vec![view(world, state, remote_state, failed_at)];
    world.bfd_reports(BfdReport { sessions, counters: Counters::default() });
}

fn peer(world: &mut World) -> PeerView {
    match world.ask(Query::Peers) {
        Answer::Peers(mut peers) => peers.remove(0),
        other => panic!("{other:?}"),
    }
}

fn watched(world: &mut World) -> BfdView {
    peer(world).bfd.unwrap()
}

#[test]
fn a_leaf_with_bfd_is_watched_from_the_uplinks_address() {
    let world = node("bfd = { interval = \"100ms\", multiplier = 5 }");
    let (session, config) = world.bfd.iter().next().unwrap();
    assert_eq!((session.remote, session.link), (ip(LEAF), 2));
    assert_eq!(*config, SessionConfig::new(ip("10.122.101.1"), Duration::from_millis(100), 5));
    assert_eq!(node("").bfd.len(), 0);
}

#[test]
fn a_failure_takes_the_session_and_its_routes_at_once() {
    let mut world = node("bfd = {}");
    says(&mut world, State::Up, State::Up, None);
    world.run_for(Duration::from_secs(60));
    world.leaf_announces(LEAF, &["10.99.0.0/16"]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(peer(&mut world).state, "Established");
    assert!(world.kernel.routes.keys().any(|k| k.prefix.to_string() == "10.99.0.0/16"));
    let now = world.now;
    says(&mut world, State::Down, State::Down, Some(now));
    assert_eq!(peer(&mut world).state, "Idle");
    world.run_for(Duration::from_millis(10));
    let left: Vec<_> = world.kernel.routes.iter().filter(|(k, _)| k.prefix.to_string() == "10.99.0.0/16").collect();
    assert!(left.is_empty(), "{left:?} {:?} {:?}", world.log, world.kernel.steps);
    assert!(world.log.iter().any(|e| matches!(e, Event::BfdDown { .. })));
    assert_eq!(peer(&mut world).last_notification_sent.unwrap(), "cease: BFD down (6/10)");
    let seen = watched(&mut world);
    assert_eq!((seen.state.as_str(), seen.diagnostic.as_str()), ("Down", "control detection time expired"));
}

#[test]
fn a_leaf_whose_bfd_begins_anew_is_one_that_restarts() {
    // What it says of the reason, and whether its routes are kept for it: "control detection time expired" says that it lost us.
    for (remote_diagnostic, kept) in [
        (Diagnostic::NONE, true),
        (Diagnostic::NEIGHBOR_SIGNALED_DOWN, true),
        (Diagnostic::DETECTION_TIME_EXPIRED, false),
    ] {
        let mut world = node("bfd = {}");
        says(&mut world, State::Up, State::Up, None);
        world.run_for(Duration::from_secs(60));
        world.leaf_announces(LEAF, &["10.99.0.0/16"]);
        world.run_for(Duration::from_secs(1));
        let mut down = view(&world, State::Down, State::Down, Some(world.now));
        down.status.diagnostic = Diagnostic::NEIGHBOR_SIGNALED_DOWN;
        down.status.remote_diagnostic = remote_diagnostic;
        world.bfd_reports(BfdReport { sessions: vec![down], counters: Counters::default() });
        assert_eq!(peer(&mut world).state, "Idle");
        world.run_for(Duration::from_millis(10));
        let there = world.kernel.routes.keys().any(|k| k.prefix.to_string() == "10.99.0.0/16");
        assert_eq!(there, kept, "{remote_diagnostic}");
    }
}

#[test]
fn admin_down_of_the_leaf_costs_nothing() {
    let mut world = node("bfd = {}");
    says(&mut world, State::Up, State::Up, None);
    world.run_for(Duration::from_secs(5));
    says(&mut world, State::Down, State::AdminDown, None);
    world.run_for(Duration::from_secs(60));
    assert_eq!(peer(&mut world).state, "Established");
    assert_eq!(watched(&mut world).remote_state.as_deref(), Some("AdminDown"));
}

#[test]
fn strict_waits_for_bfd_and_loose_does_without() {
    let mut strict = node("bfd = { strict = true }");
    strict.run_for(Duration::from_secs(60));
    assert_eq!(peer(&mut strict).state_reason.as_deref(), Some("waits for BFD"));
    says(&mut strict, State::Up, State::Up, None);
    strict.run_for(Duration::from_secs(1));
    assert_eq!(peer(&mut strict).state, "Established");

    let mut loose = node("bfd = {}");
    loose.run_for(Duration::from_millis(900));
    assert_eq!(peer(&mut loose).state, "Idle");
    loose.run_for(Duration::from_secs(2));
    assert_eq!(peer(&mut loose).state, "Established");
}

#[test]
fn intervals_in_force_and_counters_are_shown() {
    let mut world = node("bfd = { interval = \"100ms\", multiplier = 5 }");
    assert_eq!(watched(&mut world).state, "Down");
    says(&mut world, State::Up, State::Up, None);
    let seen = watched(&mut world);
    assert_eq!((seen.transmit_interval_seconds, seen.detection_time_seconds), (Some(0.1), Some(0.3)));
    assert_eq!((seen.packets_in, seen.packets_out, seen.multiplier), (5, 6, 5));
    let Answer::Metrics(samples) = world.ask(Query::Metrics) else { panic!("no metrics") };
    assert!(samples.iter().any(|s| s.name == "petiole_bfd_up" && s.value == 1.0));
}

#[test]
fn a_stall_is_said() {
    let mut world = node("bfd = {}");
    let stalled = Duration::from_millis(140);
    let counters = Counters { stalls: 1, last_stall: stalled, longest_stall: stalled, ..Counters::default() };
    world.bfd_reports(BfdReport { sessions: Vec::new(), counters });
    assert!(world.log.contains(&Event::BfdStalled { milliseconds: 140 }));
}

#[test]
fn word_of_a_session_that_is_not_wanted_is_not_heard() {
    let mut world = node("bfd = {}");
    says(&mut world, State::Up, State::Up, None);
    world.run_for(Duration::from_secs(5));
    let mut stranger = view(&world, State::Down, State::Down, Some(world.now));
    stranger.session.link = 99;
    world.bfd_reports(BfdReport { sessions: vec![stranger], counters: Counters::default() });
    assert_eq!(peer(&mut world).state, "Established");
}
