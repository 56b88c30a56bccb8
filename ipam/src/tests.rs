//! The allocator against a store: whole nodes, each a watch and an allocator, on one store in memory.

use super::*;

mod world;

use world::World;

const POOL: &str = "10.123.128.0/17";

fn spec(cidr: &str, block_size: u8) -> PoolSpec {
    PoolSpec { cidr: cidr.parse().unwrap(), block_size }
}

#[test]
fn a_worker_creates_the_pool_and_claims_one_block_of_each_family() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec(POOL, 26), spec("fd00:123:8000::/112", 122)]);
    world.run();
    let node = world.node(n);
    assert_eq!(node.ipam.blocks().len(), 2);
    assert!(node.ipam.blocks().values().all(|b| b.confirmed && b.free == 64));
    assert_eq!(node.ipam.problems(), []);
    assert_eq!(world.txns, 4, "two pools, two claims");
    world.check();
}

#[test]
fn twenty_workers_at_once_get_twenty_blocks() {
    let mut world = World::new(2);
    for i in 0..20 {
        world.worker(&format!("worker{i}"), &[spec(POOL, 26)]);
    }
    world.run();
    assert!(world.nodes().all(|n| n.ipam.blocks().len() == 1));
    world.check();
}

#[test]
fn four_blocks_for_six_workers() {
    let mut world = World::new(3);
    for i in 0..6 {
        world.worker(&format!("worker{i}"), &[spec("10.0.0.0/24", 26)]);
    }
    world.run();
    let without: Vec<usize> = (0..6).filter(|n| world.node(*n).ipam.blocks().is_empty()).collect();
    assert_eq!(without.len(), 2);
    for n in &without {
        let problems = world.node(*n).ipam.problems();
        assert!(matches!(&problems[..], [Problem::PoolExhausted { .. }]), "{problems:?}");
        assert!(problems[0].to_string().contains("10.0.0.0/24: all 4 blocks are taken"), "{}", problems[0]);
    }
    // Someone frees a block.
    let (owner, cidr) =
        world.nodes().enumerate().find_map(|(i, n)| Some((i, *n.ipam.blocks().keys().next()?))).unwrap();
    world.kill(owner);
    let name = world.node(owner).name.clone();
    world.delete(&Key::host_affinity(&name, cidr).to_string());
    world.delete(&Key::Block(cidr).to_string());
    world.run();
    let still: Vec<usize> = without.into_iter().filter(|n| world.node(*n).ipam.blocks().is_empty()).collect();
    assert_eq!(still.len(), 1);
    world.check();
}
