//! What a node writes into its own Node object when its uplinks or addresses are in trouble.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_node::kubernetes::{Away, KubernetesAction, KubernetesEvent};
use petiole_node::view::Query;
use petiole_node::{Event, Input};
use world::{World, ip};

const LEAF: &str = "10.122.101.0";
const WORKER: &str = worker!(
    r#"
[ipam]
pools = [{ cidr = "10.123.128.0/17", block_size = 26 }]
[kubernetes]
in_cluster = true
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#
);

fn world() -> World {
    let mut world = World::new(WORKER);
    world.load_records(BTreeMap::new());
    world.run_for(Duration::from_secs(10));
    world
}

fn is_watched(world: &mut World) {
    world.input(Input::Kubernetes(KubernetesEvent::Node { labels: BTreeMap::new(), ranges: None }));
    world.run_for(Duration::from_secs(20));
}

/// What was written since, in short.
fn written(world: &mut World) -> Vec<String> {
    let short = |action| match action {
        KubernetesAction::Condition(it) => format!("{} {}", it.unavailable, it.reason),
        KubernetesAction::Note(it) => format!("event {}: {}", it.reason, it.message),
        KubernetesAction::Ask { object } => object,
    };
    std::mem::take(&mut world.kubernetes).into_iter().map(short).collect()
}

#[test]
fn a_node_that_is_well_says_so_once_and_only_where_there_is_an_object() {
    let mut world = world();
    assert_eq!(written(&mut world), [""; 0]);
    is_watched(&mut world);
    world.run_for(Duration::from_secs(600));
    assert_eq!(written(&mut world), ["false PetioleIsReady"]);
}

#[test]
fn a_node_without_uplinks_says_so_and_when_it_is_over() {
    let mut world = world();
    is_watched(&mut world);
    written(&mut world);
    world.leaves.get_mut(&ip(LEAF)).unwrap().reachable = false;
    world.run_for(Duration::from_secs(200));
    let told = written(&mut world);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "true NoUplink");
    assert!(
        told[1].starts_with("event NoUplink: no session with a leaf is Established: 10.122.101.0 does not"),
        "{told:?}"
    );
    // The API, away meanwhile, is told afterwards.
    world.input(Input::Kubernetes(KubernetesEvent::Away(Away::Unreachable("timed out".to_owned()))));
    world.leaves.get_mut(&ip(LEAF)).unwrap().reachable = true;
    world.run_for(Duration::from_secs(100));
    assert_eq!(written(&mut world), [""; 0]);
    world.input(Input::Kubernetes(KubernetesEvent::Watching));
    world.run_for(Duration::from_secs(20));
    let told = written(&mut world);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "false PetioleIsReady");
    assert!(told[1].starts_with("event NetworkAvailable: the network is available again after"), "{told:?}");
}

#[test]
fn a_store_that_is_away_changes_nothing() {
    let mut world = world();
    is_watched(&mut world);
    written(&mut world);
    world.store_gone();
    world.run_for(Duration::from_secs(600));
    assert_eq!(written(&mut world), [""; 0]);
}

#[test]
fn a_node_without_a_pool_has_no_addresses() {
    const BARE: &str = worker!(
        r#"
[kubernetes]
in_cluster = true
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#
    );
    let mut world = World::new(BARE);
    world.load_records(BTreeMap::new());
    is_watched(&mut world);
    let told = written(&mut world);
    assert_eq!(told[0], "true NoAddresses");
    assert!(told[1].contains("the store holds no IP pool"), "{told:?}");
}

#[test]
fn without_the_right_to_write_it_is_said_once_and_the_node_goes_on() {
    let mut world = world();
    is_watched(&mut world);
    let why = Away::Forbidden("cannot patch resource \"nodes/status\"".to_owned());
    world.tells = Err(why);
    world.ask(Query::Drain { after: Some(Duration::ZERO) });
    world.run_for(Duration::from_secs(600));
    let said = |world: &World| {
        world.log.iter().filter(|e| matches!(e, Event::Problem(w) if w.contains("nodes/status"))).count()
    };
    assert_eq!(said(&world), 1);
    world.tells = Ok(());
    written(&mut world);
    world.run_for(Duration::from_secs(100));
    let told = written(&mut world);
    assert_eq!(told[0], "true Drained", "{told:?}");
    assert!(world.log.iter().any(|e| matches!(e, Event::ProblemOver(w) if w.contains("nodes/status"))));
}

#[test]
fn pods_get_nothing_of_a_pool_that_overlaps_the_service_range_and_keep_what_they_have() {
    let mut world = world();
    is_watched(&mut world);
    let blocks = world.seen_by(LEAF);
    assert!(blocks.iter().any(|block| block.ends_with("/26")), "{blocks:?}");
    written(&mut world);
    world.input(Input::Kubernetes(KubernetesEvent::Services(Ok(vec!["10.123.128.0/18".to_owned(), "?".to_owned()]))));
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.seen_by(LEAF), blocks);
    let told = written(&mut world);
    assert_eq!(told[0], "true NoAddresses");
    let words = "it overlaps 10.123.128.0/18, the service range of the Kubernetes API";
    assert!(told[1].contains(words), "{told:?}");
    assert!(world.log.iter().any(|e| matches!(e, Event::Problem(w) if w.contains(words))));
    world.input(Input::Kubernetes(KubernetesEvent::Services(Ok(vec!["10.123.0.0/17".to_owned()]))));
    world.run_for(Duration::from_secs(20));
    assert_eq!(written(&mut world)[0], "false PetioleIsReady");
}
