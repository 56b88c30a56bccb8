//! A node whose ranges its Node object names (`[ipam] source = "node"`), with a store of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use petiole_node::Input;
use petiole_node::kubernetes::{Away, KubernetesEvent};
use petiole_node::view::{Answer, Query};
use world::cni::{add, added, ask, ask_and_wait, del, refused};
use world::{World, p};

const WORKER: &str = r#"
[node]
name = "worker1"
roles = ["worker"]
router_id = "10.122.0.11"
addresses = ["10.122.0.11/32", "fd00:122::11/128"]
[store]
embedded = "/var/lib/petiole/store"
[ipam]
source = "node"
[kubernetes]
in_cluster = true
[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#;
const LEAF: &str = "10.122.101.0";
const OWN: [&str; 2] = ["10.122.0.11/32", "fd00:122::11/128"];
const V4: &str = "10.123.130.0/24";
const V6: &str = "fd00:123:8000:7::/64";

fn world() -> World {
    let mut world = World::new(WORKER);
    world.load_records(BTreeMap::new());
    world.run_for(Duration::from_secs(10));
    world
}

/// The Node object, as it is from now on.
fn names(world: &mut World, ranges: &[&str]) {
    let ranges = ranges.iter().map(|range| (*range).to_owned()).collect();
    world.input(Input::Kubernetes(KubernetesEvent::Node { labels: BTreeMap::new(), ranges: Some(ranges) }));
    world.run_for(Duration::from_secs(5));
}

/// What the leaf holds beside the node's own addresses.
fn pods(world: &World) -> Vec<String> {
    let seen = world.seen_by(LEAF);
    assert!(OWN.iter().all(|own| seen.iter().any(|it| it == own)), "{seen:?}");
    seen.into_iter().filter(|prefix| !OWN.contains(&prefix.as_str())).collect()
}

fn problems(world: &mut World) -> String {
    let Answer::Status(status) = world.ask(Query::Status) else { panic!("no status") };
    status.problems.join("\n")
}

fn lie_in(addresses: &[IpAddr], ranges: &[&str]) -> bool {
    addresses.len() == ranges.len() && ranges.iter().all(|range| addresses.iter().any(|a| p(range).contains_addr(*a)))
}

#[test]
fn its_ranges_are_announced_as_they_are_and_pods_get_addresses_of_them() {
    let mut world = world();
    assert_eq!(pods(&world), [""; 0], "nobody said yet what is this node's");
    names(&mut world, &[V4, V6]);
    assert_eq!(pods(&world), [V4, V6], "before there is any pod");
    for container in 0..70 {
        let endpoint = added(ask_and_wait(&mut world, add(&format!("c{container}"))));
        assert!(lie_in(&endpoint.addresses, &[V4, V6]), "{endpoint:?}");
    }
    assert_eq!(pods(&world), [V4, V6], "and no block of them");
    let blackholes: Vec<String> =
        world.kernel.ours().into_iter().filter(|route| !route.ends_with("/32") && !route.ends_with("/128")).collect();
    assert_eq!(blackholes, [V4, V6]);
    assert_eq!(problems(&mut world), "");
    let Answer::Why(why) = world.ask(Query::Why(p(V4))) else { panic!("no answer") };
    assert!(why.summary.contains("the Node object says that this range is this node's"), "{}", why.summary);
    let Answer::Why(why) = world.ask(Query::Why(p("10.123.130.64/26"))) else { panic!("no answer") };
    assert!(why.steps.iter().all(|step| step.code != "foreign_block"), "{why:?}");
}

#[test]
fn a_restart_without_the_api_goes_on_and_a_boot_waits_for_it() {
    let mut world = world();
    names(&mut world, &[V4, V6]);
    let first = added(ask(&mut world, add("c1")));
    let mut again = world.restarted(WORKER, world::BOOT);
    assert!(lie_in(&added(ask_and_wait(&mut again, add("c0"))).addresses, &[V4, V6]), "nobody has asked the API yet");
    again.input(Input::Kubernetes(KubernetesEvent::Away(Away::Unreachable("connection refused".to_owned()))));
    again.run_for(Duration::from_secs(20));
    assert_eq!(pods(&again), [V4, V6]);
    assert_eq!(added(ask(&mut again, add("c1"))).addresses, first.addresses);
    assert!(lie_in(&added(ask_and_wait(&mut again, add("c2"))).addresses, &[V4, V6]));

    let mut booted = again.restarted(WORKER, "boot-2");
    booted.run_for(Duration::from_secs(200));
    assert_eq!(pods(&booted), [""; 0], "another node may have them by now");
    let refusal = refused(ask_and_wait(&mut booted, add("c3")));
    assert!(refusal.to_string().contains("has not said yet which ranges are this node's"), "{refusal}");
    names(&mut booted, &[V4, V6]);
    assert_eq!(pods(&booted), [V4, V6]);
}

#[test]
fn an_object_without_ranges_is_said_in_words_and_takes_nothing_away() {
    let mut world = world();
    names(&mut world, &[]);
    assert_eq!(pods(&world), [""; 0]);
    let said = problems(&mut world);
    assert!(said.contains("names no range for pods (spec.podCIDRs)") && said.lines().count() == 1, "{said}");
    let refusal = refused(ask_and_wait(&mut world, add("c1")));
    assert!(refusal.to_string().contains("--allocate-node-cidrs"), "{refusal}");
    names(&mut world, &[V4, "nonsense"]);
    assert_eq!(pods(&world), [V4]);
    assert!(problems(&mut world).contains("\"nonsense\", which is no range"), "{}", problems(&mut world));
    assert!(lie_in(&added(ask_and_wait(&mut world, add("c1"))).addresses, &[V4]));
    names(&mut world, &[]);
    assert_eq!(pods(&world), [V4]);
}

#[test]
fn other_ranges_end_the_old_ones_at_once_and_status_names_who_is_left_there() {
    let mut world = world();
    names(&mut world, &[V4]);
    added(ask(&mut world, add("c1")));
    const NEXT: &str = "10.123.140.0/24";
    names(&mut world, &[NEXT]);
    assert_eq!(pods(&world), [NEXT], "what the object does not name may be another node's");
    let said = problems(&mut world);
    assert!(said.contains("1 address(es) of block 10.123.130.") && said.contains("delete the pods"), "{said}");
    assert!(lie_in(&added(ask_and_wait(&mut world, add("c2"))).addresses, &[NEXT]));
    assert!(ask_and_wait(&mut world, del("c1")).is_ok());
    world.run_for(Duration::from_secs(60));
    assert_eq!(problems(&mut world), "");
}

#[test]
fn a_small_range_is_one_block() {
    let mut world = world();
    names(&mut world, &["10.123.130.0/28"]);
    let endpoint = added(ask_and_wait(&mut world, add("c1")));
    assert!(lie_in(&endpoint.addresses, &["10.123.130.0/28"]), "{endpoint:?}");
    assert_eq!(pods(&world), ["10.123.130.0/28"]);
}
