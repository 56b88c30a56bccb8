//! What operators order, in a world of virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::time::Duration;

use petiole_node::bgp::wire::ShutdownText;
use petiole_node::bgp::{PeerId, SessionState};
use petiole_node::store::memory::Memory;
use petiole_node::view::{Answer, DrainView, PeerOrder, PeerView, Query, RouteTable, StatusView};
use world::{Kernel, World, ip, p};

const LEAF: &str = "10.122.101.0";

const WORKER: &str = worker!(
    r#"
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
max_prefix = { limit = 3, action = "idle" }

[ipam]
pools = [{ cidr = "10.123.128.0/17", block_size = 26 }]
"#
);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn leaf() -> PeerId {
    PeerId::of_address(ip(LEAF))
}

fn status(world: &mut World) -> StatusView {
    match world.ask(Query::Status) {
        Answer::Status(view) => *view,
        other => panic!("{other:?}"),
    }
}

fn peer(world: &mut World) -> PeerView {
    match world.ask(Query::Peers) {
        Answer::Peers(mut views) => views.remove(0),
        other => panic!("{other:?}"),
    }
}

fn drain(world: &mut World, after: Option<u64>) -> DrainView {
    match world.ask(Query::Drain { after: after.map(seconds) }) {
        Answer::Drain(view) => view,
        other => panic!("{other:?}"),
    }
}

fn order(world: &mut World, order: PeerOrder) -> String {
    match world.ask(Query::Peer { peer: leaf(), order }) {
        Answer::Order(view) => view.done,
        other => panic!("{other:?}"),
    }
}

fn leaf_state(world: &World) -> SessionState {
    world.leaves[&ip(LEAF)].speaker.peers().next().unwrap().state
}

/// The node, started anew over the same kernel.
fn restarted(world: &mut World, boot: &str) -> World {
    let kernel = std::mem::replace(&mut world.kernel, Kernel::fresh());
    World::without_store(WORKER, kernel, world.saved.clone(), boot)
}

#[test]
fn rfc8326_4_a_drain_withdraws_after_its_time_and_keeps_the_session() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let before = world.seen_by(LEAF);
    assert_eq!(before.len(), 3, "{before:?}");
    let view = drain(&mut world, Some(10));
    assert_eq!((view.state.as_str(), view.withdraw_in_seconds), ("draining", Some(10.0)));
    world.run_for(seconds(9));
    assert_eq!(world.seen_by(LEAF), before);
    assert_eq!(status(&mut world).drain.state, "draining");
    let routes = world.kernel.ours();
    world.run_for(seconds(2));
    assert_eq!(world.seen_by(LEAF), Vec::<String>::new());
    assert_eq!(leaf_state(&world), SessionState::Established);
    world.run_for(seconds(60));
    assert_eq!(world.kernel.ours(), routes, "the kernel keeps what the pods of this node need");
    let view = status(&mut world);
    assert_eq!(view.drain.state, "drained");
    assert!(!view.announcements.iter().any(|a| a.announced), "{:?}", view.announcements);
    assert_eq!(view.announcements.iter().filter(|a| a.code == "drained").count(), 3, "{:?}", view.announcements);
    assert!(matches!(world.ask(Query::Undrain), Answer::Drain(view) if view.state == "none"));
    world.run_for(seconds(1));
    assert_eq!(world.seen_by(LEAF), before);
    assert_eq!(peer(&mut world).established_count, 1);
}

#[test]
fn a_drain_without_a_time_withdraws_when_told() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    drain(&mut world, None);
    world.run_for(seconds(10_000));
    assert_eq!(world.seen_by(LEAF).len(), 3);
    let view = drain(&mut world, Some(0));
    assert_eq!(view.state, "drained");
    world.run_for(seconds(1));
    assert_eq!(world.seen_by(LEAF).len(), 0);
}

#[test]
fn a_drain_outlives_the_agent_and_the_boot() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    drain(&mut world, Some(10));
    world.run_for(seconds(1));
    // Killed while it warned: the wait begins anew.
    let mut again = restarted(&mut world, world::BOOT);
    again.run_for(seconds(8));
    assert_eq!(again.seen_by(LEAF).len(), 3);
    again.run_for(seconds(5));
    assert_eq!(again.seen_by(LEAF).len(), 0);
    // Another boot: nothing comes back by itself.
    let mut after = restarted(&mut again, "another-boot");
    after.run_for(seconds(120));
    assert_eq!(leaf_state(&after), SessionState::Established);
    assert_eq!(after.seen_by(LEAF).len(), 0);
    after.ask(Query::Undrain);
    after.run_for(seconds(2));
    // Its own addresses; blocks wait for the store after a boot.
    assert_eq!(after.seen_by(LEAF).len(), 2);
    assert_eq!(after.saved.as_ref().unwrap().orders.drain, None);
}

#[test]
fn a_drain_is_saved_before_the_store_was_ever_seen() {
    let mut world = World::without_store(WORKER, Kernel::fresh(), None, world::BOOT);
    world.run_for(seconds(2));
    assert!(world.saved.is_none());
    drain(&mut world, Some(0));
    world.run_for(seconds(1));
    let mut again = restarted(&mut world, world::BOOT);
    again.run_for(seconds(60));
    assert_eq!(again.seen_by(LEAF).len(), 0);
}

#[test]
fn a_disabled_session_stays_so_until_it_is_enabled() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let message = ShutdownText::new("cable is replaced").ok();
    let words = order(&mut world, PeerOrder::Disable { message });
    assert!(words.contains("`petiole bgp enable 10.122.101.0`"), "{words}");
    world.run_for(seconds(1));
    let view = world.leaves[&ip(LEAF)].speaker.peers().next().unwrap();
    assert!(view.last_error.unwrap().contains("cable is replaced"));
    assert_eq!(peer(&mut world).state_reason.as_deref(), Some("disabled by the operator"));
    let mut again = restarted(&mut world, world::BOOT);
    again.run_for(seconds(30));
    assert_eq!(peer(&mut again).state, "Idle");
    assert_ne!(leaf_state(&again), SessionState::Established);
    order(&mut again, PeerOrder::Enable);
    again.run_for(seconds(10));
    assert_eq!(peer(&mut again).state, "Established");
}

#[test]
fn stop_says_goodbye_and_ends_the_agent() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let message = ShutdownText::new("decommissioned").ok();
    assert!(!world.ended);
    assert!(matches!(world.ask(Query::Stop { message }), Answer::Order(_)));
    assert!(world.ended);
    world.run_for(seconds(1));
    let view = world.leaves[&ip(LEAF)].speaker.peers().next().unwrap();
    let error = view.last_error.unwrap();
    assert!(error.contains("administrative shutdown") && error.contains("decommissioned"), "{error}");
    assert_eq!(world.seen_by(LEAF).len(), 0);
}

#[test]
fn too_many_prefixes_are_a_problem_until_the_session_is_cleared() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let many = ["10.200.0.0/24", "10.200.1.0/24", "10.200.2.0/24", "10.200.3.0/24"];
    world.leaf_announces(LEAF, &many);
    world.run_for(seconds(5));
    assert_eq!(peer(&mut world).state, "Idle");
    let problems = status(&mut world).problems.join("\n");
    assert!(problems.contains("it sent more than 3 IPv4 prefixes"), "{problems}");
    world.leaf_announces(LEAF, &many[..2]);
    order(&mut world, PeerOrder::Clear { message: None });
    world.run_for(seconds(10));
    let view = peer(&mut world);
    assert_eq!(view.state, "Established");
    assert_eq!(view.prefix_limits[0], "2 IPv4 prefixes, of 3 at most (max_prefix)");
    let problems = status(&mut world).problems.join("\n");
    assert!(!problems.contains("prefixes"), "{problems}");
}

#[test]
fn a_soft_clear_keeps_the_session() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    world.leaf_announces(LEAF, &["10.200.0.0/24"]);
    world.run_for(seconds(1));
    let before = peer(&mut world).updates_in;
    order(&mut world, PeerOrder::Refresh);
    world.run_for(seconds(1));
    let view = peer(&mut world);
    assert!(view.updates_in > before);
    assert_eq!(view.established_count, 1);
}

#[test]
fn orders_that_cannot_be_say_what_to_do() {
    let mut world = World::with(WORKER, Memory::default(), Kernel::fresh(), None);
    world.run_for(seconds(5));
    let unknown = PeerId::of_address(ip("192.0.2.9"));
    let error = world.refused(Query::Peer { peer: unknown, order: PeerOrder::Enable });
    assert!(error.contains("no peer 192.0.2.9 (configured: 10.122.101.0)"), "{error}");
    order(&mut world, PeerOrder::Disable { message: None });
    let error = world.refused(Query::Peer { peer: leaf(), order: PeerOrder::Refresh });
    assert!(error.contains("`petiole bgp enable 10.122.101.0` enables it"), "{error}");
}

const MARKED: &str = r#"
[node]
name = "worker1"
roles = ["ingress"]
router_id = "10.122.0.11"
addresses = ["10.122.0.11/32"]

[store]
etcd = { endpoints = ["http://10.122.0.1:2379"] }

[bgp]
asn = 4200000011
communities = ["65000:1"]

[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
communities = ["65000:1:2"]

[[announce]]
kind = "service-range"
prefix = "10.123.0.0/17"
communities = ["rt:65000:7"]
"#;

/// What the leaf holds of a prefix, with its communities of all kinds.
fn carried(world: &World, prefix: &str) -> (Vec<u32>, usize, usize) {
    let paths = world.leaves[&ip(LEAF)].speaker.routes_received(None, Some(p(prefix)));
    let attributes = &paths[0].attributes;
    (attributes.communities.to_vec(), attributes.large_communities.len(), attributes.extended_communities.len())
}

#[test]
fn rfc8326_4_1_a_drain_is_told_with_the_community_beside_those_that_are_configured() {
    let mut world = World::new(MARKED);
    world.run_for(seconds(5));
    let mark = 0xfde8_0001;
    assert_eq!(carried(&world, "10.122.0.11/32"), (vec![mark], 1, 0));
    assert_eq!(carried(&world, "10.123.0.0/17"), (vec![mark], 1, 1));
    drain(&mut world, Some(10));
    world.run_for(seconds(1));
    assert_eq!(carried(&world, "10.122.0.11/32"), (vec![mark, 0xffff_0000], 1, 0));
    assert_eq!(carried(&world, "10.123.0.0/17"), (vec![mark, 0xffff_0000], 1, 1));
    let Answer::Advertised(views) = world.ask(Query::Routes { table: RouteTable::Advertised, peer: None }) else {
        panic!("no table")
    };
    assert_eq!(views[1].communities, ["65000:1", "graceful-shutdown", "65000:1:2", "rt:65000:7"]);
    world.ask(Query::Undrain);
    world.run_for(seconds(1));
    assert_eq!(carried(&world, "10.122.0.11/32"), (vec![mark], 1, 0));
}

#[test]
fn who_forgets_a_node_looks_for_the_addresses_that_it_wrote_down() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(3));
    // As this node writes down its own.
    let lives: Vec<String> =
        world.store.list("/petiole/v1/lives/").map(|kv| String::from_utf8(kv.value.clone()).unwrap()).collect();
    assert_eq!(lives.len(), 1, "{lives:?}");
    assert!(lives[0].contains(r#""addresses":["10.122.0.11/32""#), "{lives:?}");
    world.put("/petiole/v1/lives/worker7", r#"{"life":"0","addresses":["10.122.0.17/32"]}"#);
    world.put("/petiole/v1/lives/worker70", r#"{"life":"0","addresses":["10.122.0.70/32"]}"#);
    let forget = |node: &str, more: &[&str]| Query::Forget {
        node: node.to_owned(),
        addresses: more.iter().map(|a| p(a)).collect(),
    };
    let Answer::Forgotten(view) = world.ask(forget("worker7", &["fd00:122::17/128"])) else { panic!("no view") };
    assert_eq!(view.addresses, [p("10.122.0.17/32"), p("fd00:122::17/128")]);
    let note = world.store.list("/petiole/v1/forgotten/worker7").next().unwrap().value.clone();
    assert!(String::from_utf8(note).unwrap().contains("10.122.0.17/32"));
    let Answer::Forgotten(view) = world.ask(forget("worker8", &[])) else { panic!("no view") };
    assert_eq!(view.addresses, []);
    world.store_gone();
    assert!(world.refused(forget("worker7", &[])).contains("cannot be read"));
}
