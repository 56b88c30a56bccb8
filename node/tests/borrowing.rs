//! Addresses out of other nodes' blocks: told to the leaves before ADD answers, and kept over restarts without the store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_node::pods::CniId;
use petiole_node::{Event, Saved};
use world::cni::{add_with, added, ask, del, lend};
use world::{BOOT, World, p};

const LEAF: &str = "10.122.101.0";
const THEIRS: &str = "10.123.150.0/26";
const BORROWED: &str = "10.123.150.7";
const HOST: &str = "10.123.150.7/32";

const NODE: &str = worker!(
    r#"
[ipam]
pools = [{ cidr = "10.123.128.0/17" }]

[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#
);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn started() -> World {
    let mut world = World::new(NODE);
    world.load_records(BTreeMap::new());
    world.run_for(seconds(3));
    lend(&mut world, "worker2", THEIRS, 2);
    world
}

fn told(world: &World) -> bool {
    world.seen_by(LEAF).iter().any(|seen| seen == HOST)
}

fn is_answered(world: &World, id: CniId) -> bool {
    world.cni_replies.contains_key(&id)
}

fn complaints(world: &World) -> usize {
    world.log.iter().filter(|e| matches!(e, Event::BorrowedUntold { .. })).count()
}

#[test]
fn a_borrowed_address_is_with_the_leaf_when_add_answers() {
    let mut world = started();
    let endpoint = added(ask(&mut world, add_with("c1", &[BORROWED], &[])));
    assert_eq!(endpoint.addresses, [world::ip(BORROWED)]);
    assert!(told(&world), "{:?}", world.seen_by(LEAF));
    assert_eq!(complaints(&world), 0);
    ask(&mut world, del("c1")).unwrap();
    assert!(!told(&world));
}

#[test]
fn add_waits_until_the_kernel_has_taken_the_announcement() {
    let mut world = started();
    world.clogged = true;
    let borrowing = world.cni(add_with("c1", &[BORROWED], &[]));
    world.settle();
    assert!(!is_answered(&world, borrowing));
    // Who borrows nothing does not wait for that.
    added(ask(&mut world, add_with("c2", &[], &[])));
    world.run_for(Duration::from_millis(1900));
    assert!(!is_answered(&world, borrowing));
    world.unclog();
    assert!(is_answered(&world, borrowing));
    assert_eq!(complaints(&world), 0);
}

#[test]
fn a_leaf_that_reads_nothing_holds_an_add_up_for_two_seconds_only() {
    let mut world = started();
    world.clogged = true;
    let borrowing = world.cni(add_with("c1", &[BORROWED], &[]));
    world.run_for(Duration::from_millis(2100));
    added(world.cni_replies.get(&borrowing).cloned().unwrap());
    assert_eq!(complaints(&world), 1);
}

#[test]
fn without_a_session_or_on_a_drained_node_nobody_is_waited_for() {
    let mut world = started();
    world.leaves.values_mut().for_each(|leaf| leaf.reachable = false);
    world.run_for(seconds(100));
    added(ask(&mut world, add_with("c1", &[BORROWED], &[])));

    let mut world = started();
    world.ask(petiole_node::view::Query::Drain { after: Some(Duration::ZERO) });
    added(ask(&mut world, add_with("c1", &[BORROWED], &[])));
    assert!(!told(&world));
    assert_eq!(complaints(&world), 0);
}

#[test]
fn without_the_store_a_restart_announces_what_it_borrowed_and_a_reboot_does_not() {
    let mut world = started();
    added(ask(&mut world, add_with("c1", &[BORROWED], &[])));
    world.run_for(seconds(1));
    world.store_gone();
    let saved = world.saved.clone().unwrap();
    assert_eq!(saved.borrowed, BTreeMap::from([(world::ip(BORROWED), p(THEIRS))]));
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(seconds(5));
    assert!(told(&world), "{:?}", world.seen_by(LEAF));
    // DEL withdraws it, also while the store is away.
    ask(&mut world, del("c1")).unwrap();
    world.run_for(seconds(3));
    assert!(!told(&world));

    let mut world = started();
    added(ask(&mut world, add_with("c1", &[BORROWED], &[])));
    world.store_gone();
    let mut world = world.restarted(NODE, "boot-2");
    world.run_for(seconds(5));
    assert!(!told(&world));
}

#[test]
fn what_another_gave_back_meanwhile_is_withdrawn_when_the_store_is_in_sync_again() {
    let mut world = started();
    added(ask(&mut world, add_with("c1", &[BORROWED], &[])));
    world.store_gone();
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(seconds(5));
    assert!(told(&world));
    // As `petiole ipam release` on another node would.
    lend(&mut world, "worker2", THEIRS, 2);
    world.store_back();
    world.run_for(seconds(40));
    assert!(!told(&world));
}

#[test]
fn what_a_pool_keeps_back_stays_so_over_a_restart_without_the_store() {
    let mut world = started();
    let pool = world.store.list("/calico/resources/v3/projectcalico.org/ippools/").next().unwrap().clone();
    let text = String::from_utf8(pool.value).unwrap().replacen("\"spec\":{", "\"spec\":{\"disableBGPExport\":true,", 1);
    world.put(&pool.key, &text);
    added(ask(&mut world, add_with("c1", &[BORROWED], &[])));
    world.run_for(seconds(2));
    let of_pods = |w: &World| w.seen_by(LEAF).into_iter().filter(|s| s.starts_with("10.123.")).collect::<Vec<_>>();
    assert_eq!(of_pods(&world), Vec::<String>::new());
    world.store_gone();
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(seconds(5));
    assert_eq!(of_pods(&world), Vec::<String>::new());
}

#[test]
fn a_state_without_borrowed_addresses_can_be_read() {
    let old = r#"{"version":1,"node":"worker1","boot_id":"b","written":1,"blocks":{},"filters":{},"gates":{}}"#;
    let saved: Saved = serde_json::from_str(old).unwrap();
    assert!(saved.borrowed.is_empty() && saved.unexported.is_empty());
}
