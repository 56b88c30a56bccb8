//! A store that can be read and not written: etcd's database has reached its quota.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::time::Duration;

use petiole_node::Saved;
use petiole_node::store::Memory;
use petiole_node::view::{Answer, Query};
use world::{Kernel, World};

const WORKER: &str = worker!(
    r#"
[ipam]
pools = [{ cidr = "10.123.128.0/17", block_size = 26 }]
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#
);
const LEAF: &str = "10.122.101.0";
const WORDS: &str = "http://10.122.0.1:2379: the database of etcd has reached its quota";

/// A world whose node has a block, and what the leaf sees of it.
fn with_a_block() -> (World, Vec<String>) {
    let mut world = World::new(WORKER);
    world.run_for(Duration::from_secs(10));
    let seen = world.seen_by(LEAF);
    assert!(seen.iter().any(|prefix| prefix.ends_with("/26")), "{seen:?}");
    (world, seen)
}

/// A node that begins with a store that can only be read.
fn full(store: Memory, kernel: Kernel, saved: Option<Saved>) -> World {
    let mut world = World::without_store(WORKER, kernel, saved, world::BOOT);
    world.store = store;
    world.store_full = Some(WORDS.to_owned());
    world.store_back();
    world
}

fn problems(world: &mut World) -> String {
    let Answer::Status(status) = world.ask(Query::Status) else { panic!("no status") };
    status.problems.join("\n")
}

#[test]
fn with_saved_state_a_restart_announces_what_it_did() {
    let (world, seen) = with_a_block();
    let mut again = full(world.store, world.kernel, world.saved);
    again.run_for(Duration::from_secs(300));
    assert_eq!(again.seen_by(LEAF), seen);
    assert!(problems(&mut again).contains(WORDS), "{}", problems(&mut again));
}

#[test]
fn without_saved_state_blocks_wait_until_the_store_is_written_and_status_says_for_what() {
    let (world, seen) = with_a_block();
    let mut again = full(world.store, Kernel::fresh(), None);
    again.run_for(Duration::from_secs(300));
    assert_eq!(again.seen_by(LEAF), ["10.122.0.11/32", "fd00:122::11/128"], "its own addresses need no store");
    assert!(problems(&mut again).contains(WORDS), "{}", problems(&mut again));
    again.store_full = None;
    again.run_for(Duration::from_secs(40));
    assert_eq!(again.seen_by(LEAF), seen);
    assert_eq!(problems(&mut again), "");
}
