//! What nodes held that were forgotten.

use super::cases::owned;
use super::*;
use crate::check::check;
use crate::reclaim::forget;

/// Three nodes; the first holds a few addresses, and one that it borrowed of the second, and is gone.
fn gone(seed: u8) -> World {
    let mut world = World::new(seed);
    let pools = [spec("10.0.0.0/28", 30)];
    let nodes: Vec<usize> = (0..4).map(|i| world.worker(&format!("n{i}"), &pools)).collect();
    world.run();
    for i in 0..5 {
        world.ask(nodes[0], i, assign(&format!("p{i}"), &[Family::V4]));
        world.run();
        world.take_reply(nodes[0]).1.unwrap();
    }
    assert_eq!(world.node(nodes[0]).ipam.borrowed().len(), 1);
    world.kill(nodes[0]);
    world
}

fn hear(world: &mut World, present: Option<&[Prefix]>) {
    let now = world.now();
    let present: Option<BTreeSet<Prefix>> = present.map(|p| p.iter().copied().collect());
    for n in 1..4 {
        let wall = world.wall();
        world.node_mut(n).ipam.handle_reachable(present.as_ref(), now, wall);
    }
}

fn held(world: &World) -> usize {
    world.blocks().values().map(|b| b.live().count()).sum()
}

#[test]
fn silence_is_never_death() {
    let mut world = gone(1);
    hear(&mut world, Some(&[]));
    world.pass(Duration::from_secs(7200));
    assert_eq!((held(&world), world.blocks().len()), (5, 4));
}

#[test]
fn a_forgotten_nodes_things_are_freed_once_after_the_grace_time() {
    for seed in 1..20 {
        let mut world = gone(seed);
        world.lose = seed * 3;
        world.transact(&forget("n0", vec!["10.122.0.1/32".parse().unwrap()], 1_795_360_224_000_000_000));
        world.run();
        let wanted = world.node(1).ipam.wanted_reachability();
        assert_eq!(wanted.len(), 2, "its block and its own address: {wanted:?}");
        hear(&mut world, Some(&[]));
        let started = world.now();
        world.some(50);
        if world.now() < started + Duration::from_secs(50) {
            assert_eq!(held(&world), 5, "not yet");
        }
        world.pass(Duration::from_secs(200));
        world.be_punctual();
        world.run();
        assert_eq!((held(&world), world.blocks().len()), (0, 3));
        assert!(world.keys("/petiole/v1/forgotten/").is_empty(), "the note goes last");
        let kvs: Vec<KeyValue> = world.store.list("").cloned().collect();
        assert_eq!(check(&kvs, None, world.wall()), []);
        world.check();
    }
}

#[test]
fn a_node_that_holds_nothing_frees_what_a_forgotten_node_held() {
    let mut world = World::new(1);
    let pools = [spec("10.0.0.0/30", 30)];
    let (holder, other) = (world.worker("n0", &pools), world.worker("n1", &pools));
    // Whichever is first takes the only block.
    world.run();
    let (gone, peer) = if owned(&world, holder).is_empty() { (other, holder) } else { (holder, other) };
    let name = world.node(gone).name.clone();
    world.kill(gone);
    world.transact(&forget(&name, Vec::new(), 1_795_360_224_000_000_000));
    world.run();
    assert_eq!(world.revision_of(&Key::life(&world.node(peer).name)), None, "it never had anything to write");
    let (now, wall) = (world.now(), world.wall());
    world.node_mut(peer).ipam.handle_reachable(Some(&BTreeSet::new()), now, wall);
    world.pass(Duration::from_secs(200));
    assert_eq!(world.keys("/petiole/v1/forgotten/"), [], "the note goes last");
    assert_eq!(world.revision_of(&Key::life(&name)), None);
}

#[test]
fn nothing_is_asked_of_the_store_before_the_grace_time_is_over() {
    let mut world = gone(1);
    world.transact(&forget("n0", Vec::new(), 1));
    world.run();
    let is_begun = |world: &World| (1..4).any(|n| world.is_sending(n));
    hear(&mut world, Some(&[]));
    // It is 60 s unless another is said.
    for _ in 0..59 {
        world.wait(Duration::from_secs(1));
        assert!(!is_begun(&world));
    }
    world.wait(Duration::from_secs(32));
    assert!(is_begun(&world));
}

#[test]
fn a_grace_time_that_is_said_counts() {
    let mut world = gone(1);
    for n in 1..4 {
        world.node_mut(n).ipam.settings.grace_time = Duration::from_secs(7);
    }
    world.transact(&forget("n0", Vec::new(), 1));
    world.run();
    let is_begun = |world: &World| (1..4).any(|n| world.is_sending(n));
    hear(&mut world, Some(&[]));
    world.wait(Duration::from_millis(6900));
    assert!(!is_begun(&world));
    world.wait(Duration::from_millis(3700));
    assert!(is_begun(&world));
}

#[test]
fn what_is_still_announced_is_not_freed() {
    let mut world = gone(1);
    let address: Prefix = "10.122.0.1/32".parse().unwrap();
    let block: Prefix = owned(&world, 0)[0].parse().unwrap();
    world.transact(&forget("n0", vec![address], 1));
    world.run();
    for sign in [address, block] {
        hear(&mut world, Some(&[]));
        hear(&mut world, Some(&[sign]));
        world.pass(Duration::from_secs(500));
        assert_eq!(held(&world), 5, "{sign}");
        let said = world.node(1).ipam.problems();
        assert!(said.iter().any(|p| p.to_string().contains("n0 is to be forgotten")), "{said:?}");
    }
    hear(&mut world, None);
    world.pass(Duration::from_secs(500));
    assert_eq!(held(&world), 5, "no leaf can say");
}

#[test]
fn a_node_that_lives_takes_the_note_away() {
    let mut world = World::new(1);
    let n = world.worker("n0", &[spec("10.0.0.0/24", 26)]);
    world.run();
    world.transact(&forget("n0", Vec::new(), 1));
    world.run();
    assert!(world.keys("/petiole/v1/forgotten/").is_empty());
    assert_eq!(owned(&world, n).len(), 1);
}

#[test]
fn a_block_that_others_borrow_from_stays_as_calico_leaves_it() {
    let mut world = World::new(3);
    let pools = [spec("10.0.0.0/29", 30)];
    let (a, b) = (world.worker("n0", &pools), world.worker("n1", &pools));
    world.run();
    for i in 0..5 {
        world.ask(b, i, assign(&format!("p{i}"), &[Family::V4]));
        world.run();
        world.take_reply(b).1.unwrap();
    }
    world.kill(a);
    world.transact(&forget("n0", Vec::new(), 1));
    world.run();
    let now = world.now();
    let wall = world.wall();
    world.node_mut(b).ipam.handle_reachable(Some(&BTreeSet::new()), now, wall);
    world.pass(Duration::from_secs(200));
    let left = world.blocks().into_values().find(|b| b.owner().is_none()).unwrap();
    assert_eq!((left.live().count(), left.affinity_claim_time.clone()), (1, None));
    let text = String::from_utf8(petiole_store::value::Value::encode(&left)).unwrap();
    assert!(text.contains(r#""affinity":null,"allocations""#), "{text}");
    assert_eq!(world.node(b).ipam.borrowed().len(), 1);
}
