//! What ADD is refused for, by the words and the kind that the plugin hands on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use petiole_node::pods::{Attach, CniAnswer, CniFault, CniRequest};
use petiole_node::store::key::Key;
use petiole_node::store::value::{Encapsulation, Pool, PoolSpec, Value as _};
use petiole_node::view::{Answer, Query, StatusView};
use world::cni::{add, add_with, added, ask, ask_and_wait, attach, attachment, del, lend, refused};
use world::{World, ip, p};

const LEAF: &str = "10.122.101.0";
const CONFIG: &str = "/calico/ipam/v2/config";

const LEAVES: &str = "[[bgp.peer]]\naddress = \"10.122.101.0\"\nasn = 65001\n";

/// A worker with these lines in `[ipam]`, the store as told, in sync.
fn with(ipam: &str, keys: &[(&str, String)]) -> World {
    let text = worker!("[ipam]\n").to_owned() + ipam + "\n" + LEAVES;
    let mut store = petiole_node::store::memory::Memory::new();
    for (key, value) in keys {
        let op = petiole_node::store::Op::Put { key: (*key).to_owned(), value: value.as_bytes().to_vec() };
        store.apply(&petiole_node::store::Txn { when: vec![], then: vec![op], otherwise: vec![] }).unwrap();
    }
    let mut world = World::with(&text, store, world::Kernel::fresh(), None);
    world.load_records(BTreeMap::new());
    world.run_for(Duration::from_secs(8));
    world
}

fn pool(name: &str, cidr: &str, block_size: u8, change: impl FnOnce(&mut PoolSpec)) -> (&'static str, String) {
    let mut pool = Pool::new(name, p(cidr), block_size, "u".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    change(&mut pool.spec);
    let key: &'static str = Box::leak(Key::Pool(name.to_owned()).to_string().into_boxed_str());
    (key, String::from_utf8(pool.encode()).unwrap())
}

fn put(world: &mut World, (key, value): (&str, String)) {
    world.put(key, &value);
}

/// The kind and the words of a refusal, which must leave nothing.
fn refusal(world: &mut World, request: CniRequest) -> (CniFault, String) {
    let failure = refused(ask_and_wait(world, request));
    (failure.kind, failure.words)
}

fn is_refused(world: &mut World, request: CniRequest, kind: CniFault, parts: &[&str]) {
    let (found, words) = refusal(world, request);
    assert_eq!(found, kind, "{words}");
    for part in parts {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }
}

fn v4_of(world: &mut World, container: &str) -> IpAddr {
    added(ask_and_wait(world, add(container))).addresses[0]
}

fn status(world: &mut World) -> StatusView {
    match world.ask(Query::Status) {
        Answer::Status(view) => *view,
        other => panic!("{other:?}"),
    }
}

fn problems(world: &mut World) -> String {
    status(world).problems.join("\n")
}

#[test]
fn an_exhausted_pool_says_so_and_serves_again_when_something_is_free() {
    let mut world = with("", &[pool("small", "10.123.128.0/30", 30, |_| ())]);
    for n in 0..4 {
        v4_of(&mut world, &format!("c{n}"));
    }
    let said = ["no free IPv4 address", "every block of every IPv4 pool is taken", "add a pool, or free a block"];
    is_refused(&mut world, add("more"), CniFault::Exhausted, &said);
    assert_eq!(refused(ask(&mut world, CniRequest::Status)).kind, CniFault::NotAvailable);
    assert!(status(&mut world).adds_refused.unwrap().contains("every block of every IPv4 pool is taken"));
    ask(&mut world, del("c2")).unwrap();
    v4_of(&mut world, "more");
}

#[test]
fn a_pool_disabled_while_in_use_keeps_what_is_held_and_gives_nothing_new() {
    let mut world = with("", &[pool("pods", "10.123.128.0/17", 26, |_| ())]);
    let held = added(ask(&mut world, add("c1")));
    put(&mut world, pool("pods", "10.123.128.0/17", 26, |spec| spec.disabled = true));
    let said = ["no IPv4 pool can be used", "pods (10.123.128.0/17): it is disabled"];
    is_refused(&mut world, add("c2"), CniFault::Exhausted, &said);
    let named = ["nothing is assigned from pool pods: it is disabled"];
    is_refused(&mut world, add_with("c2", &[], &["pods"]), CniFault::BadRequest, &named);
    let addr = held.addresses[0].to_string();
    is_refused(&mut world, add_with("c2", &[&addr], &[]), CniFault::BadRequest, &named);
    // What is there stays: the pod, its address, the block's announcement.
    let check = CniRequest::Check { attachment: attachment("c1"), addresses: held.addresses.clone() };
    assert_eq!(ask(&mut world, check), Ok(CniAnswer::Done));
    assert!(world.seen_by(LEAF).iter().any(|s| s.starts_with("10.123.")), "{:?}", world.seen_by(LEAF));
    assert_eq!(added(ask(&mut world, add("c1"))), held);
    ask(&mut world, del("c1")).unwrap();
    put(&mut world, pool("pods", "10.123.128.0/17", 26, |_| ()));
    v4_of(&mut world, "c2");
}

#[test]
fn max_blocks_per_host_and_strict_affinity_are_named() {
    let text = |config: &str| (CONFIG, config.to_owned());
    let one = r#"{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":1}"#;
    let mut world = with("", &[pool("pods", "10.123.128.0/24", 30, |_| ()), text(one)]);
    for n in 0..4 {
        v4_of(&mut world, &format!("c{n}"));
    }
    let said = [
        "this node has 1 IPv4 blocks, and maxBlocksPerHost in /calico/ipam/v2/config allows 1",
        "strict_affinity in /calico/ipam/v2/config forbids to borrow from other nodes",
    ];
    is_refused(&mut world, add("more"), CniFault::Exhausted, &said);
    // Others' blocks are no way out under strict affinity, by name neither.
    let theirs = [("10.123.128.0/30", "10.123.128.2"), ("10.123.128.252/30", "10.123.128.254")];
    let own = world.store.list("/calico/ipam/v2/host/worker1/").next().unwrap().key.clone();
    let (block, addr) = theirs.into_iter().find(|(b, _)| !own.ends_with(&b.replace('/', "-"))).unwrap();
    lend(&mut world, "worker2", block, 1);
    is_refused(&mut world, add("more"), CniFault::Exhausted, &said);
    let said = [
        "of node worker2, and strict_affinity in /calico/ipam/v2/config forbids to borrow",
        "start the pod on worker2",
    ];
    is_refused(&mut world, add_with("more", &[addr], &[]), CniFault::BadRequest, &said);
    // Without it, the same node borrows.
    put(&mut world, text(r#"{"auto_allocate_blocks":true,"maxBlocksPerHost":1}"#));
    let got = v4_of(&mut world, "more");
    assert!(p(block).contains_addr(got), "{got}");
    put(&mut world, text(r#"{"strict_affinity":true}"#));
    ask(&mut world, del("c0")).unwrap();
    ask(&mut world, del("c1")).unwrap();
    v4_of(&mut world, "again");
}

#[test]
fn named_addresses_that_cannot_be_had_say_why() {
    let mut world =
        with("", &[pool("pods", "10.123.128.0/17", 26, |_| ()), pool("other", "10.124.0.0/20", 26, |_| ())]);
    let taken = v4_of(&mut world, "c1").to_string();
    let said = [taken.as_str(), "is held by petiole.c1 on node worker1: release it first, or name another"];
    is_refused(&mut world, add_with("c2", &[&taken], &[]), CniFault::AddressInUse, &said);
    let said = ["10.9.9.9 lies in no IP pool of the store"];
    is_refused(&mut world, add_with("c2", &["10.9.9.9"], &[]), CniFault::BadRequest, &said);
    let said = ["10.124.0.5 lies in pool other (10.124.0.0/20), not in pods"];
    is_refused(&mut world, add_with("c2", &["10.124.0.5"], &["pods"]), CniFault::BadRequest, &said);
    let said = ["the store has no IP pool \"nosuch\""];
    is_refused(&mut world, add_with("c2", &[], &["nosuch"]), CniFault::BadRequest, &said);
    let said = ["name at most one address of each family that is asked for"];
    is_refused(&mut world, add_with("c2", &["10.124.0.5", "10.124.0.6"], &[]), CniFault::BadRequest, &said);
    is_refused(&mut world, add_with("c2", &["fd00::7"], &[]), CniFault::BadRequest, &["fd00::7 lies in no IP pool"]);
    put(&mut world, (CONFIG, r#"{"auto_allocate_blocks":true,"ipCooldownSeconds":60}"#.to_owned()));
    ask(&mut world, del("c1")).unwrap();
    let said = [taken.as_str(), "was released at", "is kept back for 60 s (ipCooldownSeconds)"];
    is_refused(&mut world, add_with("c2", &[&taken], &[]), CniFault::AddressInUse, &said);
    // A free one can be had, and its block is claimed for it.
    assert_eq!(
        added(ask_and_wait(&mut world, add_with("c2", &["10.124.0.5"], &["other"]))).addresses,
        [ip("10.124.0.5")]
    );
}

#[test]
fn reserved_ranges_are_given_to_those_only_who_name_an_address() {
    let reservation = r#"{"kind":"IPReservation","apiVersion":"projectcalico.org/v3","metadata":{"name":"printers"},"spec":{"reservedCIDRs":["10.123.128.0/31"]}}"#;
    let key = "/calico/resources/v3/projectcalico.org/ipreservations/printers";
    let keys = [pool("small", "10.123.128.0/29", 29, |_| ()), (key, reservation.to_owned())];
    let mut world = with("reserved = [\"10.123.128.7/32\"]", &keys);
    let given: BTreeSet<IpAddr> = (0..5).map(|n| v4_of(&mut world, &format!("c{n}"))).collect();
    let free: BTreeSet<IpAddr> = (2..7).map(|n| ip(&format!("10.123.128.{n}"))).collect();
    assert_eq!(given, free);
    is_refused(&mut world, add("more"), CniFault::Exhausted, &["every block of every IPv4 pool is taken"]);
    let notes = |world: &mut World, addr: &str| match world.ask(Query::Show(Some(ip(addr)))) {
        Answer::Show(view) => view.notes.join("; "),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        notes(&mut world, "10.123.128.1"),
        "it lies in pool small (10.123.128.0/29); IPReservation printers keeps 10.123.128.0/31 back: only who names the address gets it"
    );
    assert!(notes(&mut world, "10.123.128.7").contains("[ipam] reserved of this node keeps 10.123.128.7/32 back"));
    assert_eq!(added(ask(&mut world, add_with("printer", &["10.123.128.1"], &[]))).addresses, [ip("10.123.128.1")]);
}

#[test]
fn with_one_family_empty_both_are_refused_and_none_is_held() {
    let keys = [pool("v4", "10.123.128.0/30", 30, |_| ()), pool("v6", "fd00:123:8000::/112", 122, |_| ())];
    let mut world = with("", &keys);
    for n in 0..4 {
        assert_eq!(added(ask_and_wait(&mut world, add(&format!("c{n}")))).addresses.len(), 2);
    }
    let handles = |world: &World| world.store.list("/calico/ipam/v2/handle/").count();
    assert_eq!(handles(&world), 4);
    is_refused(&mut world, add("more"), CniFault::Exhausted, &["no free IPv4 address", "every IPv4 pool is taken"]);
    assert_eq!(handles(&world), 4, "nothing is held by the one that was refused");
    let named = add_with("more", &["fd00:123:8000::7"], &[]);
    is_refused(&mut world, named, CniFault::Exhausted, &["no free IPv4 address"]);
    assert_eq!(handles(&world), 4);
}

#[test]
fn who_names_pools_of_one_family_gets_that_family() {
    let keys = [pool("v4", "10.123.128.0/17", 26, |_| ()), pool("v6", "fd00:123:8000::/112", 122, |_| ())];
    let mut world = with("", &keys);
    assert!(added(ask_and_wait(&mut world, add_with("c1", &[], &["v4"]))).addresses[0].is_ipv4());
    assert!(added(ask_and_wait(&mut world, add_with("c2", &[], &["fd00:123:8000::/112"]))).addresses[0].is_ipv6());
    assert_eq!(added(ask_and_wait(&mut world, add_with("c3", &[], &["v6", "v4"]))).addresses.len(), 2);
    let said = ["fd00:123:8000::7 lies in pool v6 (fd00:123:8000::/112), not in v4"];
    is_refused(&mut world, add_with("c4", &["fd00:123:8000::7"], &["v4"]), CniFault::BadRequest, &said);
}

#[test]
fn pools_that_ask_for_an_overlay_or_nat_are_refused_by_name() {
    let always = Some(Encapsulation::Always);
    let keys = [
        pool("ipip", "10.124.0.0/24", 26, |spec| spec.ipip_mode = always),
        pool("vxlan", "10.124.1.0/24", 26, |spec| spec.vxlan_mode = always),
        pool("nat", "10.124.2.0/24", 26, |spec| spec.nat_outgoing = true),
        pool("tunnels", "10.124.3.0/24", 26, |spec| spec.allowed_uses = Some(vec!["Tunnel".to_owned()])),
    ];
    let mut world = with("", &keys);
    for (name, addr, why) in [
        (
            "ipip",
            "10.124.0.7",
            "it asks for IP-in-IP (ipipMode), and Petiole routes without an overlay: set ipipMode to Never",
        ),
        (
            "vxlan",
            "10.124.1.7",
            "it asks for VXLAN (vxlanMode), and Petiole routes without an overlay: set vxlanMode to Never",
        ),
        ("nat", "10.124.2.7", "it asks for natOutgoing, which Petiole does not do: set natOutgoing to false"),
        ("tunnels", "10.124.3.7", "its allowedUses do not name Workload"),
    ] {
        let said = format!("nothing is assigned from pool {name}: {why}");
        is_refused(&mut world, add_with("c1", &[], &[name]), CniFault::BadRequest, &[&said]);
        is_refused(&mut world, add_with("c1", &[addr], &[]), CniFault::BadRequest, &[&said]);
        // With another pool in use, they are refused by name.
        put(&mut world, pool("good", "10.123.128.0/17", 26, |_| ()));
        world.run_for(Duration::from_secs(8));
        is_refused(&mut world, add_with("c1", &[], &[name]), CniFault::BadRequest, &[&said]);
        is_refused(&mut world, add_with("c1", &[addr], &[]), CniFault::BadRequest, &[&said]);
        world.delete(&Key::Pool("good".to_owned()).to_string());
        let blocks: Vec<String> = world.store.list("/calico/ipam/v2/").map(|kv| kv.key.clone()).collect();
        blocks.iter().for_each(|key| world.delete(key));
        world.run_for(Duration::from_secs(8));
    }
    let (kind, words) = refusal(&mut world, add("c1"));
    assert_eq!(kind, CniFault::TryAgain, "{words}");
    assert!(
        words.contains("no IP pool of the store serves this worker") && words.contains("nat (10.124.2.0/24): "),
        "{words}"
    );
    assert!(problems(&mut world).contains("no IP pool of the store serves this worker"));
}

#[test]
fn a_node_selector_keeps_nodes_out_that_it_does_not_select() {
    let by_rack = |text: &'static str| pool("rack", "10.124.0.0/20", 26, |spec| spec.node_selector = text.to_owned());
    let mut world = with("", &[pool("pods", "10.123.128.0/17", 26, |_| ()), by_rack("rack == 'r2'")]);
    assert!(p("10.123.128.0/17").contains_addr(v4_of(&mut world, "c1")));
    // By name it is served all the same, as Calico does.
    let named = added(ask_and_wait(&mut world, add_with("c2", &[], &["rack"])));
    assert!(p("10.124.0.0/20").contains_addr(named.addresses[0]));
    put(&mut world, by_rack("rack = 'r2'"));
    let said = ["nothing is assigned from pool rack: its nodeSelector \"rack = 'r2'\" cannot be read, column 6: "];
    is_refused(&mut world, add_with("c3", &[], &["rack"]), CniFault::BadRequest, &said);
    assert!(problems(&mut world).contains("no block is claimed from pool rack (10.124.0.0/20): its nodeSelector"));
    // What is held there stays.
    let check = CniRequest::Check { attachment: attachment("c2"), addresses: named.addresses.clone() };
    assert_eq!(ask(&mut world, check), Ok(CniAnswer::Done));
    put(&mut world, by_rack("all()"));
    world.delete(&Key::Pool("pods".to_owned()).to_string());
    assert!(p("10.124.0.0/20").contains_addr(v4_of(&mut world, "c4")));
}

#[test]
fn pools_of_the_configuration_are_created_with_their_selector() {
    let mut world = with("pools = [{ cidr = \"10.123.128.0/17\", node_selector = \"rack in {'r1'}\" }]", &[]);
    let key = "/calico/resources/v3/projectcalico.org/ippools/petiole-10-123-128-0-17";
    let kv = world.store.list(key).next().unwrap().clone();
    assert_eq!(Pool::decode(&kv.key, &kv.value).unwrap().spec.node_selector, "rack in {'r1'}");
    let (kind, words) = refusal(&mut world, add("c1"));
    assert_eq!(kind, CniFault::TryAgain);
    assert!(words.contains("does not select this node, which has no labels ([node] labels)"), "{words}");
    added(ask_and_wait(&mut world, add_with("c1", &[], &["10.123.128.0/17"])));
    added(ask_and_wait(&mut world, add_with("c2", &["10.123.128.9"], &[])));
}

#[test]
fn an_interface_of_the_wrong_shape_is_refused_before_anything_is_asked() {
    let mut world = with("", &[pool("pods", "10.123.128.0/17", 26, |_| ())]);
    let txns = world.txns;
    let slash = CniRequest::Add(Box::new(Attach { network: "a/b".to_owned(), ..attach("c1") }));
    is_refused(&mut world, slash, CniFault::BadRequest, &["cannot be a handle: it is empty or contains a slash"]);
    assert_eq!(world.txns, txns);
}
