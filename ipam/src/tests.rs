//! The allocator against a store: whole nodes, each a watch and an allocator, on one store in memory.

use super::*;

use petiole_prefix::Family;
use proptest::prelude::*;

mod borrowing;
mod calico;
mod cases;
mod choice;
mod lives;
mod reclaim;
mod simulation;
mod spare;
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

fn assign(handle: &str, families: &[Family]) -> Ask {
    let (handle, families) = (handle.to_owned(), families.to_vec());
    Ask::Assign(AssignRequest { handle, families, ..AssignRequest::default() })
}

fn release(handle: &str) -> Ask {
    Ask::Release(ReleaseTarget::Handle(handle.to_owned()))
}

#[test]
fn an_address_costs_one_transaction_and_no_read() {
    let mut world = World::new(4);
    let n = world.worker("worker1", &[spec(POOL, 26), spec("fd00:123:8000::/112", 122)]);
    world.run();
    let before = world.txns;
    world.ask(n, 1, assign("pod1", &Family::BOTH));
    world.run();
    assert_eq!(world.txns - before, 1);
    let (_, reply) = world.take_reply(n);
    let addresses = reply.unwrap();
    assert_eq!(addresses.len(), 2);
    // The same handle gets the same again, without the store.
    world.ask(n, 2, assign("pod1", &Family::BOTH));
    world.run();
    assert_eq!(world.take_reply(n).1.unwrap(), addresses);
    assert_eq!(world.txns - before, 1);
    world.check();

    world.ask(n, 3, release("pod1"));
    world.run();
    assert_eq!(world.take_reply(n).1.unwrap(), addresses);
    assert_eq!(world.txns - before, 2);
    assert!(world.store.list("/calico/ipam/v2/handle/").next().is_none());
    world.check();
}

#[test]
fn a_burst_is_coalesced() {
    let mut world = World::new(5);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    let before = world.txns;
    for i in 0..40 {
        world.ask(n, i, assign(&format!("pod{i}"), &[Family::V4]));
    }
    world.run();
    assert_eq!(world.txns - before, 2, "the first at once, the others together when it is done");
    let addresses: BTreeSet<IpAddr> = (0..40).flat_map(|_| world.take_reply(n).1.unwrap()).collect();
    assert_eq!(addresses.len(), 40);
    world.check();
}

#[test]
fn nothing_is_answered_before_it_is_committed() {
    let mut world = World::new(5);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    // The first one keeps the store busy, so that the others make one batch.
    let pod = || assign("pod", &[Family::V4]);
    for (id, ask) in
        [assign("other", &[Family::V4]), pod(), pod(), release("pod"), release("pod")].into_iter().enumerate()
    {
        world.ask(n, id as u64, ask);
    }
    assert!(world.node(n).replies.is_empty());
    world.run();
    let ids: Vec<u64> = world.node(n).replies.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    world.check_replies();
}

#[test]
fn a_full_block_makes_the_node_claim_another() {
    let mut world = World::new(6);
    let n = world.worker("worker1", &[spec("10.0.0.0/28", 30)]);
    world.run();
    for i in 0..16 {
        world.ask(n, i, assign(&format!("pod{i}"), &[Family::V4]));
        world.run();
        assert!(world.take_reply(n).1.is_ok(), "pod{i}");
    }
    assert_eq!(world.node(n).ipam.blocks().len(), 4);
    world.ask(n, 99, assign("one too many", &[Family::V4]));
    world.run();
    let error = world.take_reply(n).1.unwrap_err();
    assert!(error.to_string().contains("every block of every IPv4 pool is taken"), "{error}");
    world.check();
}

#[test]
fn both_families_or_none() {
    let mut world = World::new(7);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    world.ask(n, 1, assign("pod1", &Family::BOTH));
    world.run();
    let error = world.take_reply(n).1.unwrap_err();
    assert!(error.to_string().contains("no IPv6 pool"), "{error}");
    assert!(world.store.list("/calico/ipam/v2/handle/").next().is_none());
    world.check();
}

#[test]
fn requests_that_cannot_be_right_are_refused_in_words() {
    let mut world = World::new(8);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    for (handle, families, part) in [
        ("", &[Family::V4][..], "cannot be a handle"),
        ("a/b", &[Family::V4], "cannot be a handle"),
        ("a", &[], "each once"),
        ("a", &[Family::V4, Family::V4], "each once"),
    ] {
        world.ask(n, 1, assign(handle, families));
        world.run();
        let error = world.take_reply(n).1.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// What is done to a world in a property test.
#[derive(Clone, Debug)]
enum Deed {
    Assign { node: usize, pod: u8, families: u8 },
    Release { node: usize, pod: u8 },
    Steps(u8),
    Compact,
}

fn any_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (0..8usize, 0..12u8, 1..4u8).prop_map(|(node, pod, families)| Deed::Assign { node, pod, families }),
        3 => (0..8usize, 0..12u8).prop_map(|(node, pod)| Deed::Release { node, pod }),
        4 => (1..60u8).prop_map(Deed::Steps),
        1 => Just(Deed::Compact),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_block_is_ever_held_twice(seed in any::<u8>(), nodes in 2..50usize, lose in 0..90u8, bits in 4..7u8) {
        let mut world = World::new(seed);
        world.lose = lose;
        let pool = spec(&format!("10.0.0.0/{}", 30 - bits), 30);
        for i in 0..nodes {
            world.worker(&format!("worker{i}"), &[pool]);
        }
        world.run();
        world.check();
        let with = world.nodes().filter(|n| !n.ipam.blocks().is_empty()).count();
        prop_assert_eq!(with, nodes.min(1 << bits));
        // A claim whose answer was lost may leave its node with two, never with none while there are enough.
        let without = world.nodes().filter(|n| n.ipam.blocks().is_empty());
        for node in without {
            let is_told = matches!(&node.ipam.problems()[..], [Problem::PoolExhausted { .. }]);
            prop_assert!(is_told, "{:?}", node.ipam.problems());
        }
    }

    #[test]
    fn no_address_is_shared_or_lost(
        seed in any::<u8>(),
        lose in 0..90u8,
        deeds in prop::collection::vec(any_deed(), 1..60),
    ) {
        let mut world = World::new(seed);
        world.lose = lose;
        let pools = [spec("10.0.0.0/24", 29), spec("fd00::/120", 125)];
        for i in 0..8 {
            world.worker(&format!("worker{i}"), &pools);
        }
        for (id, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Assign { node, pod, families } => {
                    let families: Vec<Family> =
                        Family::BOTH.into_iter().enumerate().filter(|(i, _)| families & (1 << i) != 0).map(|f| f.1).collect();
                    world.ask(node, id as u64, assign(&format!("n{node}p{pod}"), &families));
                }
                Deed::Release { node, pod } => world.ask(node, id as u64, release(&format!("n{node}p{pod}"))),
                Deed::Steps(n) => world.some(usize::from(n)),
                Deed::Compact => world.store.compact(Revision::MAX),
            }
        }
        world.run();
        world.check();
        world.check_replies();
    }

    #[test]
    fn blocks_and_handles_agree_whoever_releases(
        seed in any::<u8>(),
        lose in 0..120u8,
        deeds in prop::collection::vec((0..3usize, 0..5u8, 0..4u8, 0..40u8), 1..60),
    ) {
        let mut world = World::new(seed);
        world.lose = lose;
        // Three nodes, each with few addresses, which all of them give back by address and by handle.
        for i in 0..3 {
            world.worker(&format!("worker{i}"), &[spec("10.0.0.0/27", 30)]);
        }
        world.run();
        for (id, (node, pod, deed, steps)) in deeds.into_iter().enumerate() {
            let ask = match deed {
                0 | 1 => assign(&format!("n{node}p{pod}"), &[Family::V4]),
                2 => release(&format!("n{}p{pod}", (node + 1) % 3)),
                _ => {
                    let held: Vec<IpAddr> = world.blocks().values().flat_map(|b| b.live().filter_map(|(o, _)| b.address(o))).collect();
                    let Some(at) = usize::from(pod).checked_rem(held.len()) else { continue };
                    Ask::Release(ReleaseTarget::Address(held[at]))
                }
            };
            world.ask(node, id as u64, ask);
            world.some(usize::from(steps));
        }
        world.run();
        world.check();
    }
}
