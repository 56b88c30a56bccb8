//! What is found in a store, and what becomes of it.

use petiole_store::value::{Affinity, AffinityState, Block, Encapsulation, Pool, Value};
use petiole_store::watch::WatchEnd;

use super::*;

const BLOCK: &str = "10.0.0.64/26";

pub(super) fn new_block(cidr: &str, owner: &str) -> Block {
    Block::new(cidr.parse().unwrap(), owner.parse().unwrap(), 1_795_360_224_000_000_000).unwrap()
}

pub(super) fn put_block(world: &mut World, block: &Block) {
    world.put(&Key::Block(block.cidr).to_string(), block.encode());
}

pub(super) fn put_affinity(world: &mut World, node: &str, cidr: &str, state: AffinityState) {
    let value = Affinity { state, ..Affinity::confirmed() };
    world.put(&Key::host_affinity(node, cidr.parse().unwrap()).to_string(), value.encode());
}

pub(super) fn put_pool(world: &mut World, name: &str, cidr: &str, block_size: u8, change: impl FnOnce(&mut Pool)) {
    let mut pool = Pool::new(name, cidr.parse().unwrap(), block_size, "uid".into(), "2026-11-22T15:10:22Z".into());
    change(&mut pool);
    world.put(&Key::Pool(name.to_owned()).to_string(), pool.encode());
}

pub(super) fn owned(world: &World, n: usize) -> Vec<String> {
    world.node(n).ipam.blocks().keys().map(ToString::to_string).collect()
}

pub(super) fn problems(world: &World, n: usize) -> Vec<String> {
    world.node(n).ipam.problems().iter().map(ToString::to_string).collect()
}

#[test]
fn a_block_of_this_node_is_adopted_and_its_affinity_confirmed() {
    for state in
        [Some(AffinityState::Confirmed), Some(AffinityState::Pending), Some(AffinityState::PendingDeletion), None]
    {
        let mut world = World::new(1);
        put_pool(&mut world, "p", "10.0.0.0/24", 26, |_| ());
        put_block(&mut world, &new_block(BLOCK, "host:worker1"));
        if let Some(state) = state {
            put_affinity(&mut world, "worker1", BLOCK, state);
        }
        let n = world.worker("worker1", &[]);
        world.run();
        assert_eq!(owned(&world, n), [BLOCK], "{state:?}");
        let repairs = usize::from(state != Some(AffinityState::Confirmed));
        assert_eq!(world.txns, 1 + repairs, "one begins the agent's life: {state:?}");
        world.check();
    }
}

#[test]
fn an_affinity_is_not_ownership() {
    // Somebody else's block, an ownerless block and no block at all, each with an affinity of this node.
    let mut world = World::new(1);
    put_pool(&mut world, "p", "10.0.0.0/24", 26, |_| ());
    put_block(&mut world, &new_block("10.0.0.0/26", "host:other"));
    let mut ownerless = new_block("10.0.0.64/26", "host:gone");
    ownerless.affinity = None;
    put_block(&mut world, &ownerless);
    for cidr in ["10.0.0.0/26", "10.0.0.64/26", "10.0.0.128/26"] {
        put_affinity(&mut world, "worker1", cidr, AffinityState::Confirmed);
    }
    let n = world.worker("worker1", &[]);
    world.run();
    assert_eq!(owned(&world, n), ["10.0.0.128/26"], "the unfinished claim is completed, the others are dropped");
    world.check();
}

#[test]
fn an_affinity_without_a_block_goes_when_the_node_has_its_block() {
    let mut world = World::new(1);
    put_pool(&mut world, "p", "10.0.0.0/24", 26, |_| ());
    put_block(&mut world, &new_block(BLOCK, "host:worker1"));
    put_affinity(&mut world, "worker1", BLOCK, AffinityState::Confirmed);
    put_affinity(&mut world, "worker1", "10.0.0.128/26", AffinityState::Pending);
    let n = world.worker("worker1", &[]);
    world.run();
    assert_eq!(owned(&world, n), [BLOCK]);
    world.check();
}

#[test]
fn a_block_that_another_is_just_claiming_is_the_last_choice() {
    let mut world = World::new(1);
    put_pool(&mut world, "p", "10.0.0.0/24", 25, |_| ());
    put_affinity(&mut world, "other", "10.0.0.0/25", AffinityState::Pending);
    let n = world.worker("worker1", &[]);
    let m = world.worker("worker2", &[]);
    world.run();
    let both: BTreeSet<String> = [n, m].into_iter().flat_map(|n| owned(&world, n)).collect();
    assert_eq!(both.len(), 2, "taken in the end: only a block is ownership");
    assert!(problems(&world, n).iter().chain(&problems(&world, m)).any(|p| p.contains("other has an affinity")));
}

#[test]
fn an_ownerless_block_without_holders_is_taken_over_when_nothing_else_is_free() {
    let mut world = World::new(1);
    put_pool(&mut world, "p", "10.0.0.0/26", 26, |_| ());
    // As Calico leaves it behind: addresses that have cooled down, and no owner.
    let mut left = new_block("10.0.0.0/26", "host:gone");
    block::assign(&mut left, petiole_store::value::Attribute::default(), &[]);
    block::release(&mut left, &[0], block::By::Handle, 1);
    left.affinity = None;
    left.affinity_claim_time = None;
    put_block(&mut world, &left);
    let n = world.worker("worker1", &[]);
    world.run();
    assert_eq!(owned(&world, n), ["10.0.0.0/26"]);
    world.check();
}

#[test]
fn an_ownerless_block_with_holders_is_left_alone() {
    let mut world = World::new(1);
    put_pool(&mut world, "p", "10.0.0.0/26", 26, |_| ());
    let mut left = new_block("10.0.0.0/26", "host:gone");
    block::assign(&mut left, petiole_store::value::Attribute::default(), &[]);
    left.affinity = None;
    put_block(&mut world, &left);
    let n = world.worker("worker1", &[]);
    world.run();
    assert_eq!(owned(&world, n), [] as [&str; 0]);
    assert!(problems(&world, n)[0].contains("exhausted"));
}

#[test]
fn garbage_is_named_and_takes_nothing_away() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec("10.0.0.0/24", 26)]);
    world.run();
    let before = owned(&world, n);
    let key = Key::Block(before[0].parse().unwrap()).to_string();
    world.put(&key, "{\"cidr\":");
    world.run();
    assert_eq!(owned(&world, n), before);
    assert!(problems(&world, n)[0].contains(&key), "{:?}", problems(&world, n));
    // Nobody claims over it, and other garbage stops nobody.
    world.put("/calico/ipam/v2/config", "nonsense");
    world.put("/calico/resources/v3/projectcalico.org/ippools/bad", "[]");
    world.put("/calico/ipam/v2/assignment/ipv4/block/10.9.9.9-26", "{}");
    for i in 0..4 {
        world.worker(&format!("other{i}"), &[]);
    }
    world.run();
    let others: BTreeSet<String> = (1..5).flat_map(|n| owned(&world, n)).collect();
    assert_eq!(others.len(), 3);
    assert!(!others.contains(&before[0]));
    assert_eq!(problems(&world, n).len(), 4, "{:?}", problems(&world, n));
}

#[test]
fn pools_that_cannot_be_used_are_refused_by_name() {
    for (change, part) in [
        ((|p| p.spec.ipip_mode = Some(Encapsulation::Always)) as fn(&mut Pool), "IP-in-IP"),
        (|p| p.spec.vxlan_mode = Some(Encapsulation::CrossSubnet), "VXLAN"),
        (|p| p.spec.nat_outgoing = true, "natOutgoing"),
        (|p| p.spec.node_selector = "has(rack)".into(), "has(rack)"),
    ] {
        let mut world = World::new(1);
        put_pool(&mut world, "p", "10.0.0.0/24", 26, change);
        let n = world.worker("worker1", &[]);
        world.run();
        assert_eq!(owned(&world, n), [] as [&str; 0], "{part}");
        let said = problems(&world, n).join("\n");
        assert!(said.contains("p (10.0.0.0/24): ") && said.contains(part), "{said}");
    }
    for change in [
        (|p| p.spec.disabled = true) as fn(&mut Pool),
        |p| p.spec.allowed_uses = Some(vec!["Tunnel".into()]),
        |p| p.spec.assignment_mode = Some("Manual".into()),
    ] {
        let mut world = World::new(1);
        put_pool(&mut world, "p", "10.0.0.0/24", 26, change);
        let n = world.worker("worker1", &[]);
        world.run();
        assert_eq!(owned(&world, n), [] as [&str; 0]);
        assert!(world.node(n).ipam.pools()[0].refused.is_some());
    }
}

#[test]
fn a_pool_of_another_block_size_is_not_claimed_from() {
    let mut world = World::new(1);
    put_pool(&mut world, "p", "10.0.0.0/24", 26, |_| ());
    let n = world.worker("worker1", &[spec("10.0.0.0/24", 28)]);
    world.run();
    assert_eq!(owned(&world, n), [] as [&str; 0]);
    let said = problems(&world, n);
    assert!(said[0].contains("block size 26 in the store but 28 in [ipam] pools"), "{said:?}");
}

#[test]
fn overlapping_pools_are_not_claimed_from_or_created() {
    let mut world = World::new(1);
    put_pool(&mut world, "one", "10.0.0.0/24", 26, |_| ());
    put_pool(&mut world, "two", "10.0.0.0/16", 26, |_| ());
    put_pool(&mut world, "three", "10.9.0.0/24", 26, |_| ());
    let n = world.worker("worker1", &[spec("10.9.0.0/16", 26)]);
    world.run();
    assert_eq!(owned(&world, n).len(), 1);
    assert!(owned(&world, n)[0].starts_with("10.9.0."));
    let said = problems(&world, n);
    assert!(said.iter().any(|p| p.contains("pools one and two overlap")), "{said:?}");
    assert!(said.iter().any(|p| p.contains("10.9.0.0/16 of [ipam] pools overlaps pool three")), "{said:?}");
}

#[test]
fn a_pool_that_is_not_exported_gives_blocks_that_are_not_announced() {
    let mut world = World::new(1);
    put_pool(&mut world, "p", "10.0.0.0/24", 26, |p| p.spec.disable_bgp_export = true);
    let n = world.worker("worker1", &[]);
    world.run();
    assert!(world.node(n).ipam.blocks().values().all(|b| b.confirmed && !b.is_exported));
    put_pool(&mut world, "p", "10.0.0.0/24", 26, |_| ());
    world.run();
    assert!(world.node(n).ipam.blocks().values().all(|b| b.is_exported));
}

#[test]
fn without_a_pool_a_worker_waits_and_says_so() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[]);
    world.run();
    assert!(problems(&world, n)[0].contains("holds no IP pool"));
    put_pool(&mut world, "p", "10.0.0.0/24", 26, |_| ());
    world.run();
    assert_eq!(owned(&world, n).len(), 1);
    assert_eq!(problems(&world, n), [] as [&str; 0]);
}

#[test]
fn the_clusters_configuration_is_obeyed() {
    let mut world = World::new(1);
    world.put("/calico/ipam/v2/config", "{\"strict_affinity\":true}");
    let n = world.worker("worker1", &[spec("10.0.0.0/24", 26)]);
    world.run();
    assert_eq!(owned(&world, n), [] as [&str; 0]);
    assert!(problems(&world, n)[0].contains("auto_allocate_blocks is false"), "{:?}", problems(&world, n));
    world.put("/calico/ipam/v2/config", "{\"auto_allocate_blocks\":true}");
    world.run();
    assert_eq!(owned(&world, n).len(), 1);
}

#[test]
fn the_last_known_good_blocks_stand_until_the_store_is_in_sync() {
    let now = Duration::ZERO;
    let settings = IpamSettings { node: "worker1".into(), want_block: true, ..IpamSettings::default() };
    let mut ipam = Ipam::new(settings, [0; 32], now);
    let cidr: Prefix = BLOCK.parse().unwrap();
    ipam.restore(&BTreeMap::from([(cidr, 7)]));
    ipam.handle_fact(&Fact::Lost { error: "no route to host".into() }, now, 0);
    assert!(!ipam.blocks()[&cidr].confirmed);
    let kv = KeyValue {
        key: Key::Block("10.0.0.0/26".parse().unwrap()).to_string(),
        value: new_block("10.0.0.0/26", "host:other").encode(),
        create_revision: 9,
        mod_revision: 9,
    };
    ipam.handle_fact(&Fact::Put(kv), now, 0);
    assert!(ipam.blocks().contains_key(&cidr), "half a snapshot takes nothing away");
    ipam.handle_fact(&Fact::InSync { revision: 9 }, now, 0);
    assert!(ipam.blocks().is_empty(), "the store says that the block is nobody's");
}

#[test]
fn losing_the_store_changes_nothing_and_claims_nothing() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec("10.0.0.0/24", 26)]);
    world.run();
    let before = owned(&world, n);
    let lost = Fact::Lost { error: "all members are gone".into() };
    world.fact(n, &lost);
    world.ask(n, 1, assign("pod", &[Family::V4]));
    assert_eq!(owned(&world, n), before);
    assert!(world.node(n).ipam.poll_timeout().is_some());
    world.run();
    let error = world.take_reply(n).1.unwrap_err();
    assert!(matches!(error, AssignError::StoreAway(_)), "{error}");
    assert_eq!(owned(&world, n), before);
}

#[test]
fn a_restored_backup_takes_away_what_it_does_not_hold() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec("10.0.0.0/24", 26)]);
    let backup = world.store.clone();
    world.run();
    assert_eq!(owned(&world, n).len(), 1);
    world.restore(backup);
    world.end_streams(n, &WatchEnd::Compacted { at: 1 });
    world.run();
    world.check();
    assert_eq!(owned(&world, n).len(), 1, "pool and block are made again");
}

#[test]
fn calicos_own_keyspace_is_joined() {
    let mut world = World::new(1);
    for line in include_str!("../../../store/tests/data/calico-etcd.jsonl").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        world.put(line["key"].as_str().unwrap(), serde_json::to_vec(&line["value"]).unwrap());
    }
    let dn1 = world.worker("dn1", &[]);
    let new = world.worker("worker1", &[]);
    world.run();
    assert!(owned(&world, dn1).contains(&"10.123.161.128/26".to_owned()), "{:?}", owned(&world, dn1));
    assert_eq!(owned(&world, new).len(), 2, "{:?}", owned(&world, new));
    world.ask(dn1, 1, release("calnet.again3hhhhhhhh"));
    world.ask(new, 2, assign("mine", &Family::BOTH));
    world.run();
    assert_eq!(world.take_reply(dn1).1.unwrap(), ["10.123.161.131".parse::<IpAddr>().unwrap()]);
    assert_eq!(world.take_reply(new).1.unwrap().len(), 2);
    world.check();
}

#[test]
fn an_address_in_anothers_block_is_released_with_its_handle() {
    let mut world = World::new(1);
    let pools = [spec("10.0.0.0/24", 26)];
    let (a, b) = (world.worker("a", &pools), world.worker("b", &pools));
    world.run();
    world.ask(a, 1, assign("pod", &[Family::V4]));
    world.run();
    let addr = world.take_reply(a).1.unwrap()[0];
    world.ask(b, 2, Ask::Release(ReleaseTarget::Address(addr)));
    world.run();
    assert_eq!(world.take_reply(b).1.unwrap(), [addr]);
    assert!(world.store.list("/calico/ipam/v2/handle/").next().is_none());
    world.ask(b, 3, Ask::Release(ReleaseTarget::Address(addr)));
    world.run();
    assert_eq!(world.take_reply(b).1.unwrap(), [] as [IpAddr; 0], "twice is no error");
    world.check();
}

#[test]
fn what_was_given_up_is_not_carried_out_after_an_answer_that_denies_it() {
    let (mut now, wall) = (Duration::ZERO, 1);
    let mut store = petiole_store::Memory::new();
    let settings = IpamSettings { node: "n".into(), want_block: true, ..IpamSettings::default() };
    let mut ipam = Ipam::new(settings, [0; 32], now);
    let pool = Pool::new("p", "10.0.0.0/24".parse().unwrap(), 26, "u".into(), "t".into()).encode();
    let key = Key::Pool("p".into()).to_string();
    ipam.handle_fact(&Fact::Put(KeyValue { key, value: pool, create_revision: 1, mod_revision: 1 }), now, wall);
    ipam.handle_fact(&Fact::InSync { revision: 1 }, now, wall);
    let serve = |ipam: &mut Ipam, store: &mut petiole_store::Memory, now| {
        while let Some((id, txn)) = ipam.poll_txn() {
            let result = store.apply(&txn).map(|a| a.outcome);
            ipam.handle_done(id, result, now, wall);
        }
    };
    serve(&mut ipam, &mut store, now);
    store.list("").for_each(|kv| ipam.handle_fact(&Fact::Put(kv.clone()), now, wall));
    let Ask::Assign(request) = assign("pod", &[Family::V4]) else { unreachable!() };
    ipam.handle_assign(RequestId(1), request, now, wall);
    let (id, lost) = ipam.poll_txn().unwrap();
    // No answer, and then none to anything until the request is given up.
    ipam.handle_done(id, Err(StoreError::Unknown("timeout".into())), now, wall);
    ipam.handle_fact(&Fact::Lost { error: "no leader".into() }, now, wall);
    while ipam.poll_reply().is_none() {
        now = ipam.poll_timeout().unwrap().0;
        ipam.handle_timeout(now, wall);
        assert!(ipam.poll_txn().is_none());
    }
    ipam.handle_fact(&Fact::InSync { revision: store.revision() }, now, wall);
    ipam.handle_release(RequestId(2), ReleaseTarget::Handle("pod".into()), now, wall);
    let reply = loop {
        let txn = ipam.poll_txn();
        // The answer is judged at the moment in which it is given: before anything that is under way is carried out.
        if let Some(reply) = ipam.poll_reply() {
            break reply;
        }
        if let Some((id, txn)) = txn {
            let result = store.apply(&txn).map(|a| a.outcome);
            ipam.handle_done(id, result, now, wall);
        } else {
            now = ipam.poll_timeout().unwrap().0;
            ipam.handle_timeout(now, wall);
        }
    };
    assert_eq!(reply, (RequestId(2), Ok(Vec::new())));
    assert!(!store.apply(&lost).unwrap().outcome.succeeded, "the address would be held by nobody");
}

/// Starts workers at once, each knowing only what its own transactions told it: the worst of all interleavings. Returns them
/// with the number of transactions that they needed.
fn at_once(workers: usize, pool: &str) -> (Vec<Ipam>, usize) {
    let (now, wall) = (Duration::ZERO, 1);
    let mut store = petiole_store::Memory::new();
    let pool = Pool::new("p", pool.parse().unwrap(), 26, "u".into(), "t".into());
    let key = Key::Pool("p".into()).to_string();
    let fact = Fact::Put(KeyValue { key, value: pool.encode(), create_revision: 1, mod_revision: 1 });
    let ready = |i| {
        let settings = IpamSettings { node: format!("worker{i}"), want_block: true, ..IpamSettings::default() };
        let mut ipam = Ipam::new(settings, [0; 32], now);
        ipam.handle_fact(&fact, now, wall);
        ipam.handle_fact(&Fact::InSync { revision: 1 }, now, wall);
        ipam
    };
    let mut nodes: Vec<Ipam> = (0..workers).map(ready).collect();
    let mut txns = 0;
    let mut now = now;
    loop {
        let mut is_quiet = true;
        for ipam in &mut nodes {
            if let Some((id, txn)) = ipam.poll_txn() {
                is_quiet = false;
                txns += 1;
                let result = store.apply(&txn).map(|a| a.outcome);
                ipam.handle_done(id, result, now, wall);
            }
        }
        if is_quiet {
            let Some((next, _)) = nodes.iter().filter_map(Ipam::poll_timeout).min() else { break };
            now = next;
            nodes.iter_mut().for_each(|n| n.handle_timeout(now, wall));
        }
    }
    let held: Vec<Prefix> = nodes.iter().flat_map(|n| n.blocks().keys().copied()).collect();
    assert_eq!(held.len(), held.iter().collect::<BTreeSet<_>>().len(), "no block is held twice");
    (nodes, txns)
}

#[test]
fn a_thousand_at_once_need_few_transactions() {
    let (nodes, txns) = at_once(1_000, "10.0.0.0/14");
    assert!(nodes.iter().all(|n| n.blocks().len() == 1));
    println!("{txns} transactions for 1,000 claims");
    assert!(txns <= 1_200, "{txns} transactions");
}

#[test]
fn more_workers_than_blocks_take_them_all_and_the_others_say_why() {
    let (nodes, _) = at_once(600, "10.0.0.0/17");
    let (with, without): (Vec<&Ipam>, Vec<&Ipam>) = nodes.iter().partition(|n| !n.blocks().is_empty());
    assert_eq!((with.len(), without.len()), (512, 88));
    assert!(without.iter().all(|n| matches!(n.problems()[..], [Problem::PoolExhausted { .. }])));
}
