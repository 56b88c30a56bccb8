//! Which address a request gets: specific ones, specific pools, and the one that has been free for longest.

use super::cases::{new_block, owned, put_block, put_pool};
use super::*;

fn ask_for(handle: &str, addresses: &[&str], pools: &[&str]) -> Ask {
    Ask::Assign(AssignRequest {
        handle: handle.to_owned(),
        families: vec![Family::V4],
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        pools: pools.iter().map(|p| (*p).to_owned()).collect(),
        ..AssignRequest::default()
    })
}

fn answer(world: &mut World, n: usize, ask: Ask) -> Result<IpAddr, String> {
    world.ask(n, 1, ask);
    world.run();
    world.take_reply(n).1.map(|addresses| addresses[0]).map_err(|e| e.to_string())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_named_address_is_assigned_in_a_block_of_this_node_or_one_that_is_claimed_for_it() {
    let mut world = World::new(1);
    let n = world.worker("worker1", &[spec("10.0.0.0/24", 26)]);
    world.run();
    let own: Prefix = owned(&world, n)[0].parse().unwrap();
    let third = own.subnet(32, 3).unwrap().addr();
    assert_eq!(answer(&mut world, n, ask_for("a", &[&third.to_string()], &[])), Ok(third));
    assert_eq!(answer(&mut world, n, ask_for("a", &[&third.to_string()], &[])), Ok(third), "again");
    let error = answer(&mut world, n, ask_for("b", &[&third.to_string()], &[])).unwrap_err();
    assert!(error.contains("is held by a on node worker1"), "{error}");
    let error = answer(&mut world, n, ask_for("a", &[&own.addr().to_string()], &[])).unwrap_err();
    assert!(error.contains("a holds") && error.contains("release it first") || error.contains("before"), "{error}");

    let far = if own.contains_addr(ip("10.0.0.200")) { ip("10.0.0.2") } else { ip("10.0.0.200") };
    assert_eq!(answer(&mut world, n, ask_for("c", &[&far.to_string()], &[])), Ok(far));
    assert_eq!(owned(&world, n).len(), 2, "its block is this node's now");
    let error = answer(&mut world, n, ask_for("d", &["10.9.0.1"], &[])).unwrap_err();
    assert!(error.contains("10.9.0.1 lies in no IP pool"), "{error}");
    world.check();
}

#[test]
fn a_named_address_of_another_node_is_borrowed_unless_affinity_is_strict() {
    for strict in [true, false] {
        let mut world = World::new(1);
        let config = format!("{{\"strict_affinity\":{strict},\"auto_allocate_blocks\":true}}");
        world.put("/calico/ipam/v2/config", config);
        let pools = [spec("10.0.0.0/25", 26)];
        let (a, b) = (world.worker("a", &pools), world.worker("b", &pools));
        world.run();
        let theirs: Prefix = owned(&world, b)[0].parse().unwrap();
        let addr = theirs.subnet(32, 7).unwrap().addr();
        let got = answer(&mut world, a, ask_for("pod", &[&addr.to_string()], &[]));
        if strict {
            let error = got.unwrap_err();
            assert!(
                error.contains("of node b, and strict_affinity") && error.contains("start the pod on b"),
                "{error}"
            );
            assert!(world.node(a).ipam.borrowed().is_empty());
        } else {
            assert_eq!(got, Ok(addr));
            assert_eq!(world.node(a).ipam.borrowed(), BTreeMap::from([(addr, theirs)]));
            assert!(world.node(b).ipam.borrowed().is_empty());
        }
        world.check();
    }
}

#[test]
fn a_named_address_may_be_reserved_but_no_other_request_gets_it() {
    let mut world = World::new(1);
    world.put(
        "/calico/resources/v3/projectcalico.org/ipreservations/r",
        r#"{"kind":"IPReservation","apiVersion":"projectcalico.org/v3","metadata":{"name":"r","creationTimestamp":null},"spec":{"reservedCIDRs":["10.0.0.0/31","10.0.0.3/32","10.0.0.4/30"]}}"#,
    );
    let n = world.worker("worker1", &[spec("10.0.0.0/29", 30)]);
    world.run();
    assert_eq!(owned(&world, n), ["10.0.0.0/30"], "a block that is wholly reserved is not claimed");
    assert_eq!(answer(&mut world, n, ask_for("a", &[], &[])), Ok(ip("10.0.0.2")));
    let error = answer(&mut world, n, ask_for("b", &[], &[])).unwrap_err();
    assert!(error.contains("no free IPv4 address"), "{error}");
    assert_eq!(answer(&mut world, n, ask_for("c", &["10.0.0.1"], &[])), Ok(ip("10.0.0.1")));
    world.check();
}

#[test]
fn an_address_that_cools_down_says_so_and_is_assigned_again_afterwards() {
    let mut world = World::new(1);
    world.put(
        "/calico/ipam/v2/config",
        r#"{"strict_affinity":true,"auto_allocate_blocks":true,"ipCooldownSeconds":60}"#,
    );
    let n = world.worker("worker1", &[spec("10.0.0.0/30", 30)]);
    world.run();
    let addr = answer(&mut world, n, ask_for("a", &[], &[])).unwrap();
    world.ask(n, 2, release("a"));
    world.run();
    world.take_reply(n).1.unwrap();
    let block = world.blocks().into_values().next().unwrap();
    assert_eq!((block.used(), block.live().count()), (1, 0), "a tombstone");
    let error = answer(&mut world, n, ask_for("b", &[&addr.to_string()], &[])).unwrap_err();
    assert!(error.contains("was released at 2026-") && error.contains("60 s (ipCooldownSeconds)"), "{error}");
    for i in 0..3 {
        assert_ne!(answer(&mut world, n, ask_for(&format!("c{i}"), &[], &[])).unwrap(), addr);
    }
    assert!(answer(&mut world, n, ask_for("d", &[], &[])).unwrap_err().contains("no free IPv4 address"));
    world.pass(Duration::from_secs(61));
    assert_eq!(answer(&mut world, n, ask_for("d", &[], &[])), Ok(addr));
    world.check();
}

#[test]
fn named_pools_are_served_and_others_refused_in_words() {
    let mut world = World::new(1);
    put_pool(&mut world, "auto", "10.0.0.0/24", 26, |_| ());
    put_pool(&mut world, "manual", "10.1.0.0/24", 26, |p| p.spec.assignment_mode = Some("Manual".into()));
    put_pool(&mut world, "off", "10.2.0.0/24", 26, |p| p.spec.disabled = true);
    put_pool(&mut world, "lb", "10.3.0.0/24", 26, |p| p.spec.allowed_uses = Some(vec!["LoadBalancer".into()]));
    put_pool(&mut world, "ipip", "10.4.0.0/24", 26, |p| {
        p.spec.ipip_mode = Some(petiole_store::value::Encapsulation::Always);
    });
    let n = world.worker("worker1", &[]);
    world.run();
    let manual: Prefix = "10.1.0.0/24".parse().unwrap();
    for (handle, pool) in [("a", "manual"), ("b", "10.1.0.0/24")] {
        let addr = answer(&mut world, n, ask_for(handle, &[], &[pool])).unwrap();
        assert!(manual.contains_addr(addr));
    }
    let addr = answer(&mut world, n, ask_for("c", &[], &[])).unwrap();
    assert!(!manual.contains_addr(addr), "not asked for");
    assert_eq!(answer(&mut world, n, ask_for("d", &["10.1.0.9"], &["manual"])), Ok(ip("10.1.0.9")));
    for (addresses, pools, part) in [
        (&[][..], &["off"][..], "pool off: it is disabled"),
        (&["10.2.0.1"], &[], "pool off: it is disabled"),
        (&[], &["lb"], "its allowedUses do not name Workload"),
        (&[], &["ipip"], "IP-in-IP"),
        (&[], &["nothing"], "the store has no IP pool \"nothing\""),
        (&["10.1.0.1"], &["auto"], "10.1.0.1 lies in pool manual (10.1.0.0/24), not in auto"),
        (&["10.1.0.1", "10.1.0.2"], &[], "at most one address of each family"),
        (&["fd00::1"], &[], "at most one address of each family"),
    ] {
        let error = answer(&mut world, n, ask_for("e", addresses, pools)).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    world.check();
}

#[test]
fn a_pool_that_is_disabled_while_in_use_keeps_what_it_gave() {
    let mut world = World::new(1);
    put_pool(&mut world, "one", "10.0.0.0/24", 26, |_| ());
    let n = world.worker("worker1", &[]);
    world.run();
    let first = answer(&mut world, n, ask_for("a", &[], &[])).unwrap();
    put_pool(&mut world, "one", "10.0.0.0/24", 26, |p| p.spec.disabled = true);
    world.run();
    assert_eq!(owned(&world, n).len(), 1, "still announced");
    assert_eq!(answer(&mut world, n, ask_for("a", &[], &[])), Ok(first));
    let error = answer(&mut world, n, ask_for("b", &[], &[])).unwrap_err();
    assert!(error.contains("no IPv4 pool can be used: one (10.0.0.0/24): it is disabled"), "{error}");
    put_pool(&mut world, "two", "10.1.0.0/24", 26, |_| ());
    world.run();
    assert!(answer(&mut world, n, ask_for("b", &[], &[])).unwrap().to_string().starts_with("10.1.0."));
    world.ask(n, 2, release("a"));
    world.run();
    assert_eq!(world.take_reply(n).1.unwrap(), [first]);
    world.check();
}

#[test]
fn what_was_released_last_comes_last_over_all_blocks() {
    let mut world = World::new(1);
    put_pool(&mut world, "p", "10.0.0.0/28", 30, |_| ());
    for cidr in ["10.0.0.0/30", "10.0.0.4/30"] {
        put_block(&mut world, &new_block(cidr, "host:worker1"));
    }
    let n = world.worker("worker1", &[]);
    world.run();
    let mut all = Vec::new();
    for i in 0..8 {
        all.push(answer(&mut world, n, ask_for(&format!("p{i}"), &[], &[])).unwrap());
    }
    // Released in an order that jumps between the blocks.
    let order = [5, 0, 6, 1];
    for i in order {
        world.pass(Duration::from_secs(1));
        world.ask(n, 2, release(&format!("p{i}")));
        world.run();
        world.take_reply(n).1.unwrap();
    }
    let again: Vec<IpAddr> =
        (0..4).map(|i| answer(&mut world, n, ask_for(&format!("q{i}"), &[], &[])).unwrap()).collect();
    let expected: Vec<IpAddr> = order.iter().map(|i| all[*i]).collect();
    let spare: Vec<&IpAddr> = again.iter().filter(|a| !all.contains(a)).collect();
    let reused: Vec<IpAddr> = again.iter().filter(|a| all.contains(a)).copied().collect();
    assert_eq!(reused, expected[..reused.len()], "what was never used came first: {spare:?}");
    world.check();
}
