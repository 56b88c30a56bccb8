//! Blocks ahead of need, and blocks given back.

use super::cases::{owned, put_pool};
use super::*;

fn fill(world: &mut World, n: usize, from: usize, to: usize) {
    for i in from..to {
        world.ask(n, 1, assign(&format!("p{i}"), &[Family::V4]));
        world.run();
        world.take_reply(n).1.unwrap();
    }
}

fn empty(world: &mut World, n: usize, from: usize, to: usize) {
    for i in from..to {
        world.ask(n, 1, release(&format!("p{i}")));
        world.run();
        world.take_reply(n).1.unwrap();
    }
}

#[test]
fn another_block_is_claimed_before_the_first_is_full() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    fill(&mut world, n, 0, 48);
    assert_eq!(owned(&world, n).len(), 1);
    fill(&mut world, n, 48, 49);
    assert_eq!(owned(&world, n).len(), 2);
    let before = world.txns;
    fill(&mut world, n, 49, 70);
    assert_eq!(world.txns - before, 21, "no assignment waits for a claim");
    world.check();
}

#[test]
fn the_last_eighth_of_the_pools_is_for_those_who_have_nothing() {
    let mut world = World::new(1);
    let pools = [spec("10.0.0.0/25", 28)];
    let a = world.worker("a", &pools);
    world.run();
    fill(&mut world, a, 0, 16 * 7 - 3);
    assert_eq!(owned(&world, a).len(), 7);
    let b = world.worker("b", &pools);
    world.run();
    assert_eq!(owned(&world, b).len(), 1);
    world.check();
}

#[test]
fn an_empty_block_is_given_back_after_the_hold_time_and_never_the_last() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    fill(&mut world, n, 0, 130);
    assert_eq!(owned(&world, n).len(), 3);
    empty(&mut world, n, 0, 130);
    world.pass(Duration::from_secs(500));
    assert_eq!(owned(&world, n).len(), 3);
    world.pass(Duration::from_secs(2000));
    assert_eq!(owned(&world, n).len(), 1);
    world.check();
    let before = world.txns;
    world.pass(Duration::from_secs(7200));
    assert_eq!((owned(&world, n).len(), world.txns), (1, before), "nothing moves");
}

#[test]
fn nothing_oscillates_whatever_the_fill() {
    for used in [0, 1, 31, 32, 33, 47, 48, 49, 50, 63, 64, 65, 80, 96, 97, 112, 113] {
        let mut world = World::new(1);
        let n = world.worker("worker1", &[spec(POOL, 26)]);
        world.run();
        fill(&mut world, n, 0, 140);
        empty(&mut world, n, used, 140);
        world.pass(Duration::from_secs(3000));
        let (blocks, txns) = (owned(&world, n), world.txns);
        world.pass(Duration::from_secs(20_000));
        assert_eq!((owned(&world, n), world.txns), (blocks, txns), "{used} in use");
        let mut world_used = world.blocks().values().map(|b| b.live().count()).sum::<usize>();
        assert_eq!(world_used, used);
        world_used = world.blocks().values().map(petiole_store::value::Block::free).sum();
        assert!(world_used >= 16, "{used} in use, {world_used} free");
        world.check();
    }
}

#[test]
fn a_block_that_is_leaving_is_withdrawn_first_and_stays_when_it_is_needed() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    fill(&mut world, n, 0, 50);
    empty(&mut world, n, 0, 50);
    let blocks = owned(&world, n);
    assert_eq!(blocks.len(), 2);
    world.kill(n);
    let (now, wall) = (Duration::from_secs(10_000), world.wall());
    let n = world.worker("worker1", &[]);
    world.run();
    let node = world.node_mut(n);
    let idle = node.ipam.poll_timeout().unwrap();
    assert_eq!(idle.1, IpamTimer::Return);
    node.ipam.handle_timeout(now, wall);
    assert!(node.ipam.poll_txn().is_none(), "withdrawn first");
    assert_eq!(node.ipam.blocks().len(), 1);
    let ask = AssignRequest { handle: "x".into(), families: vec![Family::V4], ..AssignRequest::default() };
    node.ipam.handle_assign(RequestId(7), ask, now + Duration::from_secs(1), wall);
    let (_, txn) = node.ipam.poll_txn().unwrap();
    assert!(txn.then.iter().all(|op| matches!(op, Op::Put { .. })));
    node.ipam.handle_timeout(now + Duration::from_secs(6), wall);
    let next = node.ipam.poll_txn();
    assert!(next.is_none_or(|(_, txn)| txn.then.iter().any(|op| matches!(op, Op::Delete(_)))));
}

#[test]
fn a_block_that_is_due_while_the_store_is_away_wakes_nobody() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    fill(&mut world, n, 0, 50);
    empty(&mut world, n, 0, 50);
    world.fact(n, &Fact::Lost { error: "all members are gone".into() });
    let (now, wall) = (Duration::from_secs(10_000), world.wall());
    let node = world.node_mut(n);
    node.ipam.handle_timeout(now, wall);
    assert!(node.ipam.poll_txn().is_none());
    assert!(node.ipam.poll_timeout().is_none_or(|(at, _)| at > now));
    assert_eq!(owned(&world, n).len(), 2);
}

#[test]
fn a_disabled_pools_empty_block_goes_when_another_serves() {
    let mut world = World::new(1);
    put_pool(&mut world, "old", "10.0.0.0/24", 26, |_| ());
    let n = world.worker("worker1", &[]);
    world.run();
    put_pool(&mut world, "old", "10.0.0.0/24", 26, |p| p.spec.disabled = true);
    world.pass(Duration::from_secs(2000));
    assert_eq!(owned(&world, n).len(), 1, "never the last");
    put_pool(&mut world, "new", "10.1.0.0/24", 26, |_| ());
    world.pass(Duration::from_secs(2000));
    assert_eq!(owned(&world, n).len(), 1);
    assert!(owned(&world, n)[0].starts_with("10.1.0."));
    world.check();
}
