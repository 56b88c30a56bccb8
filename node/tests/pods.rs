//! Pods in a whole node: from a request of the plugin to routes in the kernel, and nothing left whatever dies when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use petiole_node::pods::{
    Attach, Attachment, CniAnswer, CniFailure, CniFault, CniId, CniReply, CniRequest, EndpointState,
};
use petiole_node::prefix::Family;
use petiole_node::view::{Answer, FindingView, Query, RepairView};
use proptest::prelude::*;
use world::cni::{
    NODE, add, added, ask, attach, attachment, behind, del, held, host_routes, interfaces, nothing_is_left, started,
};
use world::{BOOT, Kernel, World, ip};

fn fault(reply: CniReply) -> CniFault {
    reply.unwrap_err().kind
}

#[test]
fn add_answers_when_the_kernel_has_the_routes_and_del_leaves_nothing() {
    let mut world = started();
    let before = world.seen_by("10.122.101.0");
    let txns = world.txns;
    let endpoint = added(ask(&mut world, add("c1")));
    assert_eq!(world.txns - txns, 1, "one transaction");
    assert_eq!(endpoint.addresses.len(), 2);
    for addr in &endpoint.addresses {
        let key = world.kernel.routes.iter().find(|(k, _)| k.prefix.addr() == *addr && k.prefix.is_host());
        let (_, route) = key.expect("no route");
        let link = route.hops.first().unwrap().link;
        assert_eq!(world.kernel.links.get(&link).unwrap().name, endpoint.host);
    }
    assert!(endpoint.host.len() == 14 && endpoint.host.starts_with("pet"), "{}", endpoint.host);
    assert_eq!(held(&world).values().collect::<BTreeSet<_>>(), BTreeSet::from([&"petiole.c1".to_owned()]));
    assert_eq!(world.records.get(&endpoint.host), Some(&endpoint));
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.seen_by("10.122.101.0"), before, "the leaf hears of blocks only");

    let txns = world.txns;
    assert_eq!(ask(&mut world, del("c1")), Ok(CniAnswer::Done));
    assert_eq!(world.txns - txns, 1, "one transaction");
    nothing_is_left(&world);
    assert_eq!(ask(&mut world, del("c1")), Ok(CniAnswer::Done), "twice");
    assert_eq!(ask(&mut world, del("never")), Ok(CniAnswer::Done), "never seen");
}

#[test]
fn an_add_said_again_gets_the_same_answer() {
    let mut world = started();
    let first = added(ask(&mut world, add("c1")));
    let txns = world.txns;
    assert_eq!(added(ask(&mut world, add("c1"))), first);
    assert_eq!(world.txns, txns);
    let other = CniRequest::Add(Box::new(Attach { network: "other".to_owned(), ..attach("c1") }));
    assert_eq!(fault(ask(&mut world, other)), CniFault::Exists);
    // The namespace died meanwhile: made anew.
    let gone = world.kernel.unplug(&first.host).remove(0);
    world.kernel_event(gone);
    let second = added(ask(&mut world, add("c1")));
    assert_eq!((held(&world).len(), interfaces(&world).len()), (2, 1));
    assert_eq!(second.host, first.host);
}

#[test]
fn a_second_interface_of_a_container_has_addresses_of_its_own() {
    let mut world = started();
    let first = added(ask(&mut world, add("c1")));
    let net1 = Attachment { container: "c1".to_owned(), interface: "net1".to_owned() };
    let second = added(ask(&mut world, CniRequest::Add(Box::new(Attach { attachment: net1.clone(), ..attach("c1") }))));
    assert_ne!(first.addresses, second.addresses);
    ask(&mut world, CniRequest::Del(net1)).unwrap();
    assert_eq!(held(&world).keys().copied().collect::<Vec<_>>(), first.addresses);
}

#[test]
fn del_is_answered_without_the_store_and_the_release_outlives_the_agent() {
    let mut world = started();
    let endpoint = added(ask(&mut world, add("c1")));
    world.store_gone();
    assert_eq!(ask(&mut world, del("c1")), Ok(CniAnswer::Done));
    assert_eq!(interfaces(&world), BTreeSet::new());
    assert_eq!(world.records.get(&endpoint.host).unwrap().state, EndpointState::Releasing);
    world.run_for(Duration::from_secs(40));
    assert_eq!(held(&world).len(), 2, "still held: the store was not there");
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(Duration::from_secs(20));
    world.store_back();
    world.run_for(Duration::from_secs(40));
    nothing_is_left(&world);
}

#[test]
fn an_add_without_the_store_says_try_again_and_status_says_why() {
    let mut world = started();
    ask(&mut world, CniRequest::Status).unwrap();
    world.store_gone();
    assert_eq!(fault(ask(&mut world, CniRequest::Status)), CniFault::NotAvailable);
    let id = world.cni(add("c1"));
    world.run_for(Duration::from_secs(11));
    let failure = world.cni_replies.get(&id).cloned().unwrap().unwrap_err();
    assert_eq!(failure.kind, CniFault::TryAgain);
    // Whose fault it is, from the watch: an allocator without facts asks nothing, and no transaction fails.
    assert!(failure.words.contains("it cannot be read: the watch broke: connection refused"), "{}", failure.words);
    world.store_back();
    world.run_for(Duration::from_secs(40));
    nothing_is_left(&world);
}

#[test]
fn a_pair_that_cannot_be_made_leaves_nothing() {
    let mut world = started();
    let why = CniFailure { kind: CniFault::Exists, words: "eth0 exists".to_owned() };
    world.pod_fails = Some(why.clone());
    assert_eq!(ask(&mut world, add("c1")), Err(why));
    nothing_is_left(&world);
}

#[test]
fn routes_that_the_kernel_refuses_fail_the_add() {
    let mut world = started();
    world.kernel.refuse = Some(22);
    assert_eq!(fault(ask(&mut world, add("c1"))), CniFault::Kernel);
    world.kernel.refuse = None;
    world.run_for(Duration::from_secs(5));
    nothing_is_left(&world);
}

#[test]
fn check_sees_a_missing_interface_and_other_addresses() {
    let mut world = started();
    let check =
        |addresses: &[IpAddr]| CniRequest::Check { attachment: attachment("c1"), addresses: addresses.to_vec() };
    assert_eq!(fault(ask(&mut world, check(&[]))), CniFault::UnknownContainer);
    let endpoint = added(ask(&mut world, add("c1")));
    assert_eq!(ask(&mut world, check(&endpoint.addresses)), Ok(CniAnswer::Done));
    assert_eq!(fault(ask(&mut world, check(&[ip("10.9.9.9")]))), CniFault::NotAsLeft);
    let gone = world.kernel.unplug(&endpoint.host).remove(0);
    world.kernel_event(gone);
    assert_eq!(fault(ask(&mut world, check(&endpoint.addresses))), CniFault::NotAsLeft);
}

#[test]
fn gc_detaches_what_is_not_listed_and_nothing_of_other_networks() {
    let mut world = started();
    for container in ["c1", "c2"] {
        added(ask(&mut world, add(container)));
    }
    added(ask(&mut world, CniRequest::Add(Box::new(Attach { network: "other".to_owned(), ..attach("c3") }))));
    let gc = CniRequest::Gc { network: "petiole".to_owned(), valid: vec![attachment("c2")] };
    assert_eq!(ask(&mut world, gc), Ok(CniAnswer::Done));
    let handles: BTreeSet<String> = held(&world).into_values().collect();
    assert_eq!(handles, BTreeSet::from(["petiole.c2".to_owned(), "other.c3".to_owned()]));
}

#[test]
fn another_boot_gives_everything_back() {
    let mut world = started();
    added(ask(&mut world, add("c1")));
    let mut world = world.restarted(NODE, "boot-2");
    world.run_for(Duration::from_secs(20));
    nothing_is_left(&world);
}

#[test]
fn a_restart_keeps_what_lives_and_its_routes() {
    let mut world = started();
    let endpoint = added(ask(&mut world, add("c1")));
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(Duration::from_secs(100));
    assert_eq!(host_routes(&world).len(), 1);
    assert!(world.kernel.steps.iter().all(|s| !format!("{s:?}").contains("DeleteRoute")), "{:?}", world.kernel.steps);
    assert_eq!(added(ask(&mut world, add("c1"))), endpoint);
}

#[test]
fn delegated_addresses_are_recorded_and_not_wired() {
    let mut world = started();
    let only = |c: &str| CniRequest::Add(Box::new(Attach { addresses_only: true, ..attach(c) }));
    let endpoint = added(ask(&mut world, only("c1")));
    assert_eq!(added(ask(&mut world, only("c1"))), endpoint);
    assert_eq!((interfaces(&world).len(), host_routes(&world).len(), held(&world).len()), (0, 0, 2));
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(Duration::from_secs(100));
    assert_eq!(held(&world).len(), 2, "a restart frees nothing");
    ask(&mut world, del("c1")).unwrap();
    nothing_is_left(&world);
}

#[test]
fn an_interface_that_disappears_frees_its_addresses_only_after_a_while() {
    let mut world = started();
    let endpoint = added(ask(&mut world, add("c1")));
    world.run_for(Duration::from_secs(31));
    let gone = world.kernel.unplug(&endpoint.host).remove(0);
    world.kernel_event(gone);
    world.run_for(Duration::from_secs(1));
    assert_eq!(held(&world).len(), 2);
    world.run_for(Duration::from_secs(70));
    nothing_is_left(&world);
}

fn checked(world: &mut World, repair: bool) -> Vec<(String, RepairView)> {
    let Answer::Check(view) = world.ask(Query::Check { repair }) else { panic!("no view") };
    assert_eq!(view.clean, view.findings.is_empty());
    assert!(view.scope.contains("worker1"));
    let kind = |v: &FindingView| serde_json::to_value(v).unwrap()["kind"].as_str().unwrap().to_owned();
    view.findings.iter().map(|v| (kind(v), v.repair)).collect()
}

#[test]
fn check_holds_this_nodes_pods_against_store_and_kernel() {
    let mut world = started();
    let endpoint = added(ask(&mut world, add("c1")));
    assert_eq!(checked(&mut world, false), []);
    let one = |kind: &str, repair| vec![(kind.to_owned(), repair)];

    // Its namespace is gone.
    let gone = world.kernel.unplug(&endpoint.host).remove(0);
    world.kernel_event(gone);
    world.settle();
    assert_eq!(checked(&mut world, false), one("endpoint_without_interface", RepairView::Possible));
    assert_eq!(checked(&mut world, true), one("endpoint_without_interface", RepairView::Begun));
    world.settle();
    assert_eq!(checked(&mut world, false), []);
    nothing_is_left(&world);

    // An interface and an address that no record knows, as a crash leaves them.
    let stray = world.kernel.plug("pet00000000000");
    world.kernel_event(stray);
    world.ask(Query::Assign { handle: "stray".to_owned(), families: vec![Family::V4] });
    let kv = world.store.list("/calico/ipam/v2/assignment/ipv4/").next().unwrap().clone();
    let text = String::from_utf8(kv.value).unwrap().replace("\"node\":", "\"petiole\":\"cni\",\"node\":");
    world.put(&kv.key, &text);
    let both = |repair| {
        vec![("interface_without_endpoint".to_owned(), repair), ("address_without_endpoint".to_owned(), repair)]
    };
    let sorted = |mut found: Vec<(String, RepairView)>| {
        found.sort_by(|a, b| b.0.cmp(&a.0));
        found
    };
    assert_eq!(sorted(checked(&mut world, false)), both(RepairView::Possible));
    assert_eq!(sorted(checked(&mut world, true)), both(RepairView::Begun));
    world.settle();
    assert_eq!(checked(&mut world, false), []);
    nothing_is_left(&world);
}

#[test]
fn check_leaves_alone_what_may_be_a_pod_with_an_unreadable_record() {
    let mut world = started();
    added(ask(&mut world, add("c1")));
    world.records.clear();
    world.unreadable = vec!["pet1.json: no JSON".to_owned()];
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(Duration::from_secs(3));
    let found = checked(&mut world, true);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|(_, repair)| *repair == RepairView::No), "{found:?}");
    world.run_for(Duration::from_secs(3));
    assert_eq!((held(&world).len(), interfaces(&world).len()), (2, 1));
}

#[test]
fn an_address_that_an_operator_assigned_misses_no_pod() {
    let mut world = started();
    world.ask(Query::Assign { handle: "by-hand".to_owned(), families: vec![Family::V4] });
    assert_eq!(checked(&mut world, false), []);
}

/// What happens to a node.
#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Del(u8),
    Again(u8),
    /// Lets what is under way come to its end.
    Settle,
    Sleep(u16),
    StoreGone,
    StoreBack,
    /// The agent dies after that many effects, and starts again.
    Crash(usize),
    Reboot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..4).prop_map(Step::Add),
        4 => (0u8..4).prop_map(Step::Del),
        1 => (0u8..4).prop_map(Step::Again),
        3 => Just(Step::Settle),
        2 => (1u16..4000).prop_map(Step::Sleep),
        1 => Just(Step::StoreGone),
        2 => Just(Step::StoreBack),
        4 => (0usize..12).prop_map(Step::Crash),
        1 => Just(Step::Reboot),
    ]
}

/// No address in two containers, and every answer of ADD was true when it was given.
fn is_sound(world: &World, answered: &mut BTreeMap<CniId, CniReply>) {
    let mut seen = BTreeMap::new();
    for endpoint in world.records.values().filter(|e| e.state == EndpointState::Live) {
        for addr in &endpoint.addresses {
            let before = seen.insert(*addr, &endpoint.host);
            assert_eq!(before, None, "{addr} twice");
        }
    }
    for (id, reply) in &world.cni_replies {
        answered.insert(*id, reply.clone());
    }
}

/// Every fourth container is on a bridge.
fn add_any(container: u8) -> CniRequest {
    let name = format!("c{container}");
    if container == 3 { behind("br0", &name) } else { add(&name) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever dies when: after the runtime's last DEL nothing is left, and no address was ever in two containers.
    #[test]
    fn nothing_leaks_whatever_dies_when(steps in proptest::collection::vec(step(), 1..24)) {
        let mut kernel = Kernel::fresh();
        kernel.plug("br0");
        let mut world = World::with(NODE, petiole_node::store::memory::Memory::new(), kernel, None);
        world.load_records(BTreeMap::new());
        world.run_for(Duration::from_secs(3));
        let mut answered = BTreeMap::new();
        let mut boots = 1;
        for step in &steps {
            match step {
                Step::Add(c) => drop(world.cni(add_any(*c))),
                Step::Del(c) => drop(world.cni(del(&format!("c{c}")))),
                Step::Again(c) => {
                    world.cni(add_any(*c));
                    world.cni(del(&format!("c{c}")));
                    world.cni(add_any(*c));
                }
                Step::Settle => world.settle(),
                Step::Sleep(ms) => world.run_for(Duration::from_millis(u64::from(*ms))),
                Step::StoreGone => world.store_gone(),
                Step::StoreBack => world.store_back(),
                Step::Crash(effects) => {
                    world.fuse = Some(*effects);
                    world.settle();
                    let boot = if boots == 1 { BOOT.to_owned() } else { format!("boot-{boots}") };
                    world = world.restarted(NODE, &boot);
                }
                Step::Reboot => {
                    boots += 1;
                    world.settle();
                    world = world.restarted(NODE, &format!("boot-{boots}"));
                }
            }
            is_sound(&world, &mut answered);
        }
        world.store_back();
        world.run_for(Duration::from_secs(40));
        is_sound(&world, &mut answered);
        // Who was told an address has it, unless it was deleted or died.
        let handles: BTreeMap<IpAddr, String> = held(&world);
        for endpoint in world.records.values() {
            for addr in &endpoint.addresses {
                prop_assert_eq!(handles.get(addr), Some(&endpoint.handle));
            }
        }
        for c in 0..4 {
            let id = world.cni(del(&format!("c{c}")));
            world.run_for(Duration::from_secs(12));
            prop_assert!(world.cni_replies.get(&id).is_some_and(Result::is_ok));
        }
        let bridge = world.kernel.unplug("br0").remove(0);
        world.kernel_event(bridge);
        world.run_for(Duration::from_secs(100));
        nothing_is_left(&world);
    }
}
