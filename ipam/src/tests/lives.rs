//! What an agent sent before it died, and what its successor answers.

use super::cases::owned;
use super::*;

/// Step by step, and nothing comes late.
fn until(world: &mut World, is_done: impl Fn(&World) -> bool) {
    for _ in 0..10_000 {
        if is_done(world) {
            return;
        }
        world.prompt();
    }
    panic!("it never comes to that");
}

fn answer(world: &mut World, n: usize, ask: Ask) -> Vec<IpAddr> {
    world.ask(n, 1, ask);
    until(world, |w| !w.node(n).replies.is_empty());
    world.take_reply(n).1.unwrap()
}

fn pod(handle: &str) -> Ask {
    assign(handle, &[Family::V4])
}

fn one() -> (World, usize) {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    (world, n)
}

#[test]
fn a_repeated_assignment_outlives_the_late_release_of_a_dead_agent() {
    let (mut world, n) = one();
    let held = answer(&mut world, n, pod("p"));
    world.ask(n, 2, release("p"));
    world.crash(n);
    assert_eq!(answer(&mut world, n, pod("p")), held);
    world.be_punctual();
    world.run();
    assert_eq!(world.blocks().values().flat_map(|b| b.held_by("p")).collect::<Vec<_>>(), held);
    world.check();
}

#[test]
fn a_repeated_assignment_that_comes_after_the_late_release_is_a_new_one() {
    let (mut world, n) = one();
    answer(&mut world, n, pod("p"));
    world.ask(n, 2, release("p"));
    world.crash(n);
    // It knows the store as it was before the release.
    until(&mut world, |w| w.node(n).ipam.holders().next().is_some());
    world.be_punctual();
    let held = answer(&mut world, n, pod("p"));
    assert_eq!(world.blocks().values().flat_map(|b| b.held_by("p")).collect::<Vec<_>>(), held);
    world.run();
    world.check();
}

#[test]
fn nothing_is_held_after_it_was_said_that_nothing_is() {
    let (mut world, n) = one();
    world.ask(n, 2, pod("p"));
    world.crash(n);
    assert!(answer(&mut world, n, release("p")).is_empty());
    world.be_punctual();
    world.run();
    assert_eq!(world.blocks().values().map(petiole_store::value::Block::used).sum::<usize>(), 0);
    world.check();
}

#[test]
fn nothing_is_borrowed_after_it_was_said_that_nothing_is() {
    let mut world = World::new(1);
    let pools = [spec("10.0.0.0/29", 30)];
    let (a, b) = (world.worker("a", &pools), world.worker("b", &pools));
    world.run();
    for i in 0..4 {
        answer(&mut world, a, pod(&format!("p{i}")));
    }
    world.ask(a, 2, pod("more"));
    let before = world.txns;
    until(&mut world, |w| w.txns > before);
    until(&mut world, |w| w.is_sending(a));
    world.crash(a);
    assert!(answer(&mut world, a, release("more")).is_empty());
    world.be_punctual();
    world.run();
    let theirs: Prefix = owned(&world, b)[0].parse().unwrap();
    assert_eq!(world.blocks()[&theirs].used(), 0);
    world.check();
}

#[test]
fn a_block_that_a_dead_agent_was_giving_back_is_announced_only_when_it_surely_stays() {
    let (mut world, n) = one();
    for i in 0..70 {
        answer(&mut world, n, pod(&format!("p{i}")));
    }
    world.run();
    for i in 0..70 {
        answer(&mut world, n, release(&format!("p{i}")));
    }
    world.run();
    assert_eq!(owned(&world, n).len(), 2);
    world.wait(Duration::from_secs(601));
    world.wait(Duration::from_secs(6));
    assert!(world.is_sending(n));
    assert_eq!((owned(&world, n).len(), world.blocks().len()), (1, 2), "withdrawn, and its return is sent");
    world.crash(n);
    until(&mut world, |w| !owned(w, n).is_empty());
    world.be_punctual();
    let announced = owned(&world, n);
    let stored: Vec<String> = world.blocks().keys().map(ToString::to_string).collect();
    assert_eq!(announced, stored);
}

/// A worker whose claim of a second block is on its way, and nothing else.
fn claiming(seed: u8) -> Option<(World, usize)> {
    let mut world = World::new(seed);
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.run();
    for i in 0..64 {
        answer(&mut world, n, pod(&format!("p{i}")));
        if world.is_claiming(n) {
            return Some((world, n));
        }
    }
    None
}

#[test]
fn a_block_that_a_dead_agent_claims_while_the_next_begins_is_announced() {
    let (mut world, n) = (0..=u8::MAX).find_map(claiming).unwrap();
    world.crash(n);
    world.put("/calico/ipam/v2/config", r#"{"auto_allocate_blocks":false}"#);
    until(&mut world, |w| w.is_sending(n));
    world.be_punctual();
    assert_eq!((owned(&world, n).len(), world.blocks().len()), (0, 2));
    world.run();
    assert_eq!(owned(&world, n).len(), 2);
    world.check();
}

#[test]
fn a_life_begins_with_the_first_claim_or_by_itself_and_only_once() {
    let (mut world, n) = one();
    assert_eq!(world.txns, 2, "pool and claim");
    answer(&mut world, n, pod("p"));
    world.crash(n);
    world.run();
    assert_eq!(world.txns, 4);
    answer(&mut world, n, pod("p"));
    assert_eq!(world.txns, 4, "what is held has been known since");
    answer(&mut world, n, pod("q"));
    assert_eq!(world.txns, 5);
    world.check();
}

#[test]
fn an_agent_whose_life_was_ended_begins_again() {
    let (mut world, n) = one();
    world.delete("/petiole/v1/lives/worker1");
    let held = answer(&mut world, n, pod("p"));
    assert_eq!(world.blocks().values().flat_map(|b| b.held_by("p")).collect::<Vec<_>>(), held);
    assert_eq!(world.keys("/petiole/v1/lives/").len(), 1);
    world.check();
}

#[test]
fn nothing_is_claimed_or_assigned_while_peers_may_free_it() {
    let mut world = World::new(1);
    world.transact(&crate::reclaim::forget("worker1", Vec::new(), 1));
    let n = world.worker("worker1", &[spec(POOL, 26)]);
    world.ask(n, 1, pod("p"));
    let note = "/petiole/v1/forgotten/worker1";
    until(&mut world, |w| {
        let is_forgotten = !w.keys(note).is_empty();
        assert!(!is_forgotten || w.blocks().is_empty());
        !is_forgotten
    });
    world.run();
    assert_eq!(owned(&world, n).len(), 1);
    world.take_reply(n).1.unwrap();
    world.check();
}

#[test]
fn a_request_in_vain_says_what_the_store_said_last() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec("10.0.0.0/24", 26)]);
    world.run();
    let ipam = &mut world.node_mut(n).ipam;
    let (mut now, wall) = (Duration::from_secs(1000), 0);
    let Ask::Assign(request) = assign("pod", &[Family::V4]) else { panic!("no assignment") };
    ipam.handle_assign(RequestId(1), request, now, wall);
    let reply = loop {
        while let Some((id, _)) = ipam.poll_txn() {
            ipam.handle_done(id, Err(StoreError::Refused("the quota is reached".to_owned())), now, wall);
        }
        if let Some((_, reply)) = ipam.poll_reply() {
            break reply;
        }
        now = ipam.poll_timeout().unwrap().0;
        ipam.handle_timeout(now, wall);
    };
    let words = reply.unwrap_err().to_string();
    assert!(words.contains("within 10 s") && words.contains("the quota is reached"), "{words}");
}
