//! A node that was deleted from the Kubernetes API, silent or not, and what its peers make of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_node::kubernetes::KubernetesEvent;
use petiole_node::{Event, Input};
use world::World;

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
const BLOCK: &str = "/calico/ipam/v2/assignment/ipv4/block/10.123.200.0-26";
const AFFINITY: &str = "/calico/ipam/v2/host/worker4/ipv4/block/10.123.200.0-26";
const RECORD: &str = "/petiole/v1/node-objects/worker4";
const NOTE: &str = "/petiole/v1/forgotten/worker4";

/// worker1 in sync with its leaf and the store, beside worker4 with one block, which the leaf does not know; the API knows both nodes.
fn world() -> World {
    let mut world = World::new(WORKER);
    world.load_records(BTreeMap::new());
    world.api = Some(("c1".to_owned(), ["worker1", "object-4"].map(str::to_owned).into()));
    world.input(Input::Kubernetes(KubernetesEvent::Cluster("c1".to_owned())));
    world.input(Input::Kubernetes(KubernetesEvent::Node { labels: BTreeMap::new(), ranges: None }));
    let free: Vec<String> = (0..64).map(|n| n.to_string()).collect();
    let nothing = vec!["null"; 64].join(",");
    world.put(
        BLOCK,
        &format!(
            r#"{{"cidr":"10.123.200.0/26","affinity":"host:worker4","allocations":[{nothing}],"unallocated":[{}],"attributes":[],"deleted":false}}"#,
            free.join(",")
        ),
    );
    world.put(AFFINITY, r#"{"state":"confirmed","deleted":false}"#);
    world.put(RECORD, r#"{"object":"object-4","cluster":"c1"}"#);
    world.run_for(Duration::from_secs(10));
    world
}

fn is_there(world: &World, key: &str) -> bool {
    world.store.list(key).next().is_some()
}

fn deleted(world: &mut World) {
    world.api.as_mut().unwrap().1.remove("object-4");
}

const LONG: Duration = Duration::from_secs(15 * 60);

#[test]
fn what_a_deleted_node_held_is_freed_after_the_grace_time() {
    let mut world = world();
    let own = world.store.list("/petiole/v1/node-objects/worker1").next().unwrap().value.clone();
    assert_eq!(own, br#"{"object":"worker1","cluster":"c1"}"#, "as a peer has to know it");
    deleted(&mut world);
    world.run_for(Duration::from_secs(60));
    assert!(is_there(&world, BLOCK) && !is_there(&world, NOTE));
    world.run_for(Duration::from_secs(240));
    for key in [BLOCK, AFFINITY, RECORD, NOTE] {
        assert!(!is_there(&world, key), "{key}");
    }
    assert_eq!(world.log.iter().filter(|e| matches!(e, Event::NodeDeleted(_))).count(), 1);
}

#[test]
fn a_node_that_is_only_silent_keeps_what_it_holds() {
    let mut world = world();
    world.run_for(LONG);
    assert!(is_there(&world, BLOCK) && is_there(&world, AFFINITY) && !is_there(&world, NOTE));
}

#[test]
fn a_deleted_node_that_still_announces_its_block_keeps_it() {
    let mut world = world();
    world.leaf_announces(LEAF, &["10.123.200.0/26"]);
    deleted(&mut world);
    world.run_for(LONG);
    assert!(is_there(&world, BLOCK) && !is_there(&world, NOTE));
}

#[test]
fn an_api_with_an_empty_store_frees_nothing() {
    let mut world = world();
    world.api = Some(("c2".to_owned(), ["worker1".to_owned()].into()));
    world.run_for(LONG);
    assert!(is_there(&world, BLOCK) && !is_there(&world, NOTE));
    // Nor once this node knows that cluster as its own.
    world.input(Input::Kubernetes(KubernetesEvent::Cluster("c2".to_owned())));
    world.run_for(LONG);
    assert!(is_there(&world, BLOCK) && !is_there(&world, NOTE));
}

#[test]
fn a_node_whose_own_object_is_not_there_or_whose_api_is_away_judges_nobody() {
    use petiole_node::kubernetes::Away;
    for event in [KubernetesEvent::Missing, KubernetesEvent::Deleted, KubernetesEvent::Away(Away::Unauthorized)] {
        let mut world = world();
        deleted(&mut world);
        world.input(Input::Kubernetes(event));
        world.run_for(LONG);
        assert!(is_there(&world, BLOCK) && !is_there(&world, NOTE));
    }
}

#[test]
fn a_node_without_a_record_and_one_made_again_in_time_keep_what_they_hold() {
    let mut world = world();
    world.delete(RECORD);
    deleted(&mut world);
    world.run_for(LONG);
    assert!(is_there(&world, BLOCK) && !is_there(&world, NOTE));
    world.put(RECORD, r#"{"object":"object-4","cluster":"c1"}"#);
    for _ in 0..20 {
        world.run_for(Duration::from_secs(40));
        world.api.as_mut().unwrap().1.insert("object-4".to_owned());
        world.run_for(Duration::from_secs(40));
        deleted(&mut world);
    }
    assert!(is_there(&world, BLOCK) && !is_there(&world, NOTE));
}
