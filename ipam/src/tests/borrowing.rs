//! Addresses out of other nodes' blocks.

use petiole_store::value::{Attribute, Field};

use super::cases::{new_block, owned, put_block, put_pool};
use super::*;

fn answer(world: &mut World, n: usize, handle: &str) -> Result<IpAddr, String> {
    world.ask(n, 1, assign(handle, &[Family::V4]));
    world.run();
    world.take_reply(n).1.map(|addresses| addresses[0]).map_err(|e| e.to_string())
}

#[test]
fn the_emptiest_block_lends_when_nothing_is_left_to_claim() {
    let mut world = World::new(1);
    let pools = [spec("10.0.0.0/28", 30)];
    let nodes: Vec<usize> = (0..4).map(|i| world.worker(&format!("worker{i}"), &pools)).collect();
    world.run();
    for (n, count) in [(0, 4), (1, 3), (2, 1), (3, 2)] {
        for i in 0..count {
            answer(&mut world, nodes[n], &format!("n{n}p{i}")).unwrap();
        }
    }
    let emptiest: Prefix = owned(&world, nodes[2])[0].parse().unwrap();
    let before = world.txns;
    let addr = answer(&mut world, nodes[0], "more").unwrap();
    assert!(emptiest.contains_addr(addr), "{addr}");
    assert_eq!(world.txns - before, 2, "one to read the block, one to assign");
    assert_eq!(world.node(nodes[0]).ipam.borrowed(), BTreeMap::from([(addr, emptiest)]));
    assert_eq!(answer(&mut world, nodes[0], "more"), Ok(addr), "the same again");
    assert_eq!(world.txns - before, 2);
    world.check();

    // Released where it was borrowed, the lender has it again.
    world.ask(nodes[0], 2, release("more"));
    world.run();
    assert_eq!(world.take_reply(nodes[0]).1.unwrap(), [addr]);
    assert!(world.node(nodes[0]).ipam.borrowed().is_empty());
    for (n, handle) in [(0, "a"), (0, "b"), (0, "c"), (0, "d"), (0, "e"), (0, "f")] {
        answer(&mut world, nodes[n], handle).unwrap();
    }
    let error = answer(&mut world, nodes[0], "one too many").unwrap_err();
    assert!(error.contains("every block of every IPv4 pool is taken"), "{error}");
    assert!(error.contains("no other node's block has an address to borrow"), "{error}");
    world.check();
}

#[test]
fn a_handle_that_asks_twice_at_once_borrows_once() {
    let mut world = World::new(1);
    let pools = [spec("10.0.0.0/29", 30)];
    let (a, b) = (world.worker("a", &pools), world.worker("b", &pools));
    world.run();
    for i in 0..4 {
        answer(&mut world, a, &format!("p{i}")).unwrap();
    }
    for id in 0..3 {
        world.ask(a, id, assign("more", &[Family::V4]));
    }
    world.run();
    let theirs: Prefix = owned(&world, b)[0].parse().unwrap();
    assert_eq!(world.blocks()[&theirs].held_by("more").len(), 1);
    world.check();
}

#[test]
fn the_limit_of_blocks_is_no_reason_not_to_borrow() {
    for strict in [true, false] {
        let mut world = World::new(1);
        let config = format!("{{\"strict_affinity\":{strict},\"auto_allocate_blocks\":true,\"maxBlocksPerHost\":1}}");
        world.put("/calico/ipam/v2/config", config);
        let pools = [spec("10.0.0.0/24", 30)];
        let (a, b) = (world.worker("a", &pools), world.worker("b", &pools));
        world.run();
        for i in 0..4 {
            answer(&mut world, a, &format!("p{i}")).unwrap();
        }
        assert_eq!(owned(&world, a).len(), 1, "no spare block beyond the limit");
        let got = answer(&mut world, a, "more");
        if strict {
            let error = got.unwrap_err();
            assert!(error.contains("maxBlocksPerHost") && error.contains("strict_affinity"), "{error}");
        } else {
            let theirs: Prefix = owned(&world, b)[0].parse().unwrap();
            assert!(theirs.contains_addr(got.unwrap()));
        }
        world.check();
    }
}

#[test]
fn a_borrower_knows_its_addresses_again_after_a_restart() {
    let mut world = World::new(1);
    let pools = [spec("10.0.0.0/29", 30)];
    let (a, _) = (world.worker("a", &pools), world.worker("b", &pools));
    world.run();
    for i in 0..5 {
        answer(&mut world, a, &format!("p{i}")).unwrap();
    }
    let borrowed = world.node(a).ipam.borrowed();
    assert_eq!(borrowed.len(), 1);
    world.kill(a);
    let again = world.worker("a", &pools);
    world.run();
    assert_eq!(world.node(again).ipam.borrowed(), borrowed);
    let before = world.txns;
    assert!(borrowed.contains_key(&answer(&mut world, again, "p4").unwrap()));
    assert_eq!(world.txns, before);
    world.check();
}

#[test]
fn an_address_that_is_named_in_anothers_block_and_one_that_is_borrowed_are_found_with_few_reads() {
    let mut world = World::new(1);
    let pools = [spec("10.0.0.0/29", 30), spec("fd00::/126", 126)];
    let b = world.worker("b", &pools);
    world.run();
    let a = world.worker("a", &pools);
    world.run();
    let theirs: Prefix = owned(&world, b)[0].parse().unwrap();
    let before = world.txns;
    let families = Family::BOTH.to_vec();
    let request =
        AssignRequest { handle: "p".into(), families, addresses: vec![theirs.addr()], ..AssignRequest::default() };
    world.ask(a, 1, Ask::Assign(request));
    world.run();
    assert_eq!(world.take_reply(a).1.unwrap()[0], theirs.addr());
    assert!(world.txns - before <= 6, "{}", world.txns - before);
    world.check();
}

#[test]
fn a_block_is_taken_over_only_as_it_was_seen() {
    let mut world = World::new(1);
    put_pool(&mut world, "p", "10.0.0.0/30", 30, |_| ());
    let mut ownerless = new_block("10.0.0.0/30", "host:gone");
    ownerless.affinity = None;
    put_block(&mut world, &ownerless);
    let n = world.worker("worker1", &[]);
    for _ in 0..100 {
        if !world.is_sending(n) {
            world.prompt();
        }
    }
    // Another borrows of it meanwhile.
    let theirs = Attribute { handle_id: Field::Is("theirs".to_owned()), ..Attribute::default() };
    block::assign(&mut ownerless, theirs, &[]).unwrap();
    put_block(&mut world, &ownerless);
    world.run();
    assert_eq!(world.blocks()[&ownerless.cidr].held_by("theirs").len(), 1);
}
