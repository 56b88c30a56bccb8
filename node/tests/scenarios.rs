//! A whole node in a world of virtual time: what it announces, keeps and answers, when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::time::Duration;

use petiole_node::Input;
use petiole_node::dataplane::{KernelEvent, Step};
use petiole_node::forwarding::{Outcome, Setting, Wanted};
use petiole_node::prefix::Family;
use petiole_node::store::memory::Memory;
use petiole_node::view::{Answer, Query, StatusView, WhyView};
use world::{Kernel, World, ip, p};

const LEAF: &str = "10.122.101.0";

const WORKER: &str = worker!(
    r#"
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001

[ipam]
pools = [{ cidr = "10.123.128.0/17", block_size = 26 }, { cidr = "fd00:123:8000::/112", block_size = 122 }]
"#
);

const MASTER: &str = r#"
[node]
name = "worker1"
roles = ["master"]
router_id = "10.122.0.1"
addresses = ["10.122.0.1/32"]

[store]
etcd = { endpoints = ["http://10.122.0.1:2379"] }

[bgp]
asn = 4200000001

[[bgp.peer]]
address = "10.122.101.0"
asn = 65001

[[announce]]
kind = "anycast"
prefix = "10.122.255.1/32"
health = { http = "http://127.0.0.1:6443/readyz", interval = "1s", rise = 2, fall = 3 }
"#;

const SERVICES: &str = "/calico/bgp/v1/global/custom_filters/v4/services";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn why(world: &mut World, prefix: &str) -> WhyView {
    match world.ask(Query::Why(p(prefix))) {
        Answer::Why(view) => *view,
        other => panic!("{other:?}"),
    }
}

fn status(world: &mut World) -> StatusView {
    match world.ask(Query::Status) {
        Answer::Status(view) => *view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_joins_claims_and_announces_its_blocks_and_addresses() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let seen = world.seen_by(LEAF);
    let expected = ["10.122.0.11/32", "10.123.", "fd00:122::11/128", "fd00:123:8000::"];
    assert_eq!(seen.len(), 4, "{seen:?}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen.starts_with(expected), "{seen} is not {expected}");
    }
    assert!(seen[1].ends_with("/26") && seen[3].ends_with("/122"), "{seen:?}");
    assert_eq!(world.kernel.ours(), [seen[1].clone(), seen[3].clone()], "each block is a blackhole");
    let status = status(&mut world);
    assert!(status.ready && status.problems.is_empty(), "{status:#?}");
}

#[test]
fn forwarding_is_ordered_for_the_families_of_the_blocks_and_what_fails_is_told() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let wanted = Wanted { families: [Family::V4, Family::V6].into(), uplinks: ["eth1".to_owned()].into() };
    assert_eq!(world.forwards.last(), Some(&wanted), "{:?}", world.forwards);
    let orders = world.forwards.len();
    let setting = |key: &str| Setting { key: key.to_owned(), was: 0, value: 1 };
    world.input(Input::Forwarding(vec![
        Outcome { setting: setting("net/ipv4/ip_forward"), result: Ok(()) },
        Outcome { setting: setting("net/ipv6/conf/all/forwarding"), result: Err("it is read-only".to_owned()) },
    ]));
    let status = status(&mut world);
    assert!(status.problems[0].contains("sysctl -w net.ipv6.conf.all.forwarding=1"), "{:?}", status.problems);
    let keys: Vec<&str> = status.settings.iter().map(|s| s.key.as_str()).collect();
    assert_eq!(keys, ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]);
    world.run_for(seconds(600));
    assert_eq!(world.forwards.len(), orders, "nobody fights over a setting");

    let mut world = World::new(MASTER);
    world.run_for(seconds(5));
    assert!(world.forwards.is_empty(), "a node without pods needs nothing");
}

#[test]
fn nothing_is_announced_before_the_kernel_holds_it_and_a_refusal_is_told() {
    let mut kernel = Kernel::fresh();
    kernel.refuse = Some(1);
    let mut world = World::with(WORKER, Memory::new(), kernel, None);
    world.run_for(seconds(5));
    assert_eq!(world.seen_by(LEAF), Vec::<String>::new());
    let problems = status(&mut world).problems.join("\n");
    assert!(problems.contains("CAP_NET_ADMIN"), "{problems}");
    world.kernel.refuse = None;
    world.run_for(seconds(60));
    assert_eq!(world.seen_by(LEAF).len(), 4);
}

#[test]
fn losing_the_store_changes_nothing_and_a_restart_without_it_announces_the_same() {
    let mut world = World::new(WORKER);
    world.put(SERVICES, "if ( net = 10.123.0.0/17 ) then { accept; }");
    let event = world.kernel.add_address(1, "10.123.0.0/17");
    world.kernel_event(event);
    world.run_for(seconds(5));
    let before = world.seen_by(LEAF);
    assert!(before.contains(&"10.123.0.0/17".to_owned()), "{before:?}");
    world.store_gone();
    world.run_for(seconds(600));
    assert_eq!(world.seen_by(LEAF), before);
    let status_now = status(&mut world);
    assert_eq!(status_now.store.state, "frozen");
    assert!(status_now.ready, "frozen is ready: {status_now:#?}");

    // Restarted within the same boot, with the store still away.
    let kernel = std::mem::replace(&mut world.kernel, Kernel::fresh());
    let steps = kernel.steps.len();
    let mut again = World::without_store(WORKER, kernel, world.saved.clone(), world::BOOT);
    again.run_for(seconds(120));
    assert_eq!(again.seen_by(LEAF), before);
    let deleted: Vec<&Step> = again.kernel.steps[steps..]
        .iter()
        .filter(|s| matches!(s, Step::DeleteRoute(..) | Step::DeleteAddress(_)))
        .collect();
    assert!(deleted.is_empty(), "a restart deletes nothing that is still wanted: {deleted:?}");
}

#[test]
fn a_state_that_could_not_be_saved_is_saved_later() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    world.disk_full = true;
    world.put(SERVICES, "if ( net = 10.123.0.0/17 ) then { accept; }");
    world.run_for(seconds(15));
    let told = |world: &mut World| status(world).problems.iter().any(|p| p.contains("No space left on device"));
    let filters = |world: &World| world.saved.as_ref().map_or(0, |saved| saved.filters.len());
    assert!(told(&mut world) && filters(&world) == 0);
    world.disk_full = false;
    world.run_for(seconds(11));
    assert!(!told(&mut world) && filters(&world) == 1);
}

#[test]
fn after_a_reboot_saved_blocks_wait_for_the_store() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let mut rebooted = World::without_store(WORKER, Kernel::fresh(), world.saved.clone(), "boot-2");
    rebooted.run_for(seconds(60));
    assert_eq!(
        rebooted.seen_by(LEAF),
        ["10.122.0.11/32", "fd00:122::11/128"],
        "the node's own addresses need no store"
    );
}

#[test]
fn a_masters_anycast_follows_its_health_with_rise_and_fall() {
    let mut world = World::new(MASTER);
    world.run_for(seconds(3));
    assert_eq!(world.seen_by(LEAF), ["10.122.0.1/32"], "no verdict yet, or a bad one");
    assert_eq!(why(&mut world, "10.122.255.1/32").verdict, "not announced");
    world.health.insert(0, Ok(()));
    world.run_for(seconds(3));
    assert_eq!(world.seen_by(LEAF), ["10.122.0.1/32", "10.122.255.1/32"]);
    world.health.insert(0, Err("HTTP 503".to_owned()));
    world.run_for(Duration::from_millis(2500));
    assert!(world.seen_by(LEAF).contains(&"10.122.255.1/32".to_owned()), "two failures are not three");
    world.run_for(Duration::from_millis(600));
    assert!(!world.seen_by(LEAF).contains(&"10.122.255.1/32".to_owned()), "withdrawn with the third");
    let view = why(&mut world, "10.122.255.1/32");
    assert!(view.summary.contains("HTTP 503"), "{view:#?}");
}

#[test]
fn the_operators_two_commands_announce_the_range_and_deleting_the_key_withdraws_it() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let event = world.kernel.add_address(1, "10.123.0.0/17");
    world.kernel_event(event);
    assert_eq!(why(&mut world, "10.123.0.0/17").steps.last().unwrap().code, "no_filter_accepts");
    world.put(SERVICES, "if ( net = 10.123.0.0/17 ) then { accept; }");
    assert!(world.seen_by(LEAF).contains(&"10.123.0.0/17".to_owned()));
    world.put(SERVICES, "if ( net = 10.123.0.0/17 ) then { acept; }");
    assert!(world.seen_by(LEAF).contains(&"10.123.0.0/17".to_owned()), "the last good value stays in force");
    assert!(status(&mut world).problems.iter().any(|p| p.contains("line 1, column 35")));
    world.delete(SERVICES);
    assert!(!world.seen_by(LEAF).contains(&"10.123.0.0/17".to_owned()));
}

#[test]
fn what_a_leaf_sends_back_does_no_harm_and_is_explained() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let block = world.seen_by(LEAF)[1].clone();
    let before = world.seen_by(LEAF);
    world.leaf_announces(LEAF, &[block.as_str(), "10.122.0.11/32", "10.122.101.0/31", "10.120.201.0/27"]);
    world.run_for(seconds(1));
    assert!(world.kernel.ours().contains(&"10.120.201.0/27".to_owned()), "an honest route is installed");
    assert!(!world.kernel.ours().contains(&"10.122.101.0/31".to_owned()));
    assert_eq!(world.seen_by(LEAF), before);
    let view = why(&mut world, &block);
    assert_eq!(view.verdict, "announced");
    assert!(view.received.iter().all(|path| !path.used), "{view:#?}");
    let learned = why(&mut world, "10.120.201.0/27");
    assert_eq!((learned.verdict.as_str(), learned.kernel.unwrap().state.as_str()), ("learned", "in kernel"));
}

#[test]
fn why_answers_for_what_is_not_there() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let unknown = why(&mut world, "192.0.2.0/24");
    assert_eq!(unknown.verdict, "unknown");
    assert_eq!(unknown.steps.last().unwrap().code, "not_ours");
    let block = p(&world.seen_by(LEAF)[1]);
    let part = why(&mut world, &format!("{}/27", block.addr()));
    assert!(part.steps.iter().any(|s| s.code == "own_block"), "{part:#?}");
}

#[test]
fn a_link_that_goes_down_takes_its_routes_and_one_that_comes_up_is_dialled_at_once() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    world.leaf_announces(LEAF, &["10.120.201.0/27"]);
    assert!(world.kernel.ours().contains(&"10.120.201.0/27".to_owned()));
    let mut link = world.kernel.links[&2].clone();
    link.carrier = false;
    world.leaves.get_mut(&ip(LEAF)).unwrap().reachable = false;
    world.kernel_event(KernelEvent::Link(link.clone()));
    world.run_for(seconds(30));
    let peers = status(&mut world).peers;
    assert_ne!(peers[0].state, "Established", "{peers:?}");
    link.carrier = true;
    world.leaves.get_mut(&ip(LEAF)).unwrap().reachable = true;
    world.kernel_event(KernelEvent::Link(link));
    world.run_for(Duration::from_millis(1500));
    assert_eq!(status(&mut world).peers[0].state, "Established");
}

#[test]
fn without_configuration_the_status_says_what_to_do_next() {
    let mut world = World::new("");
    world.run_for(seconds(1));
    let status = status(&mut world);
    assert!(status.problems.is_empty(), "{status:#?}");
    assert!(status.next_steps.iter().any(|s| s.contains("[[bgp.peer]]")), "{status:#?}");
}

#[test]
fn addresses_are_assigned_out_of_the_nodes_block() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let block = p(&world.seen_by(LEAF)[1]);
    let families = vec![Family::V4];
    let Answer::Addresses(got) = world.ask(Query::Assign { handle: "lab".to_owned(), families }) else { panic!() };
    assert!(block.contains(&got[0]) && got[0].is_host(), "{got:?} out of {block}");
    assert_eq!(world.seen_by(LEAF).len(), 4, "the leaf never sees anything but the block");
}

#[test]
fn a_clock_that_is_set_changes_nothing_and_delays_nothing() {
    let mut world = World::new(WORKER);
    world.run_for(seconds(5));
    let (before, steps) = (world.seen_by(LEAF), world.kernel.steps.len());
    let families = vec![Family::V4];
    let year = 365 * 86_400 * 1_000_000_000_u64;
    let mut seen = std::collections::BTreeSet::new();
    // Ten years ahead, back to the beginning of Unix time, and to where it was.
    for (n, wall) in [world.wall + 10 * year, 0, world.wall].into_iter().enumerate() {
        world.wall = wall;
        let Answer::Addresses(got) = world.ask(Query::Assign { handle: format!("pod{n}"), families: families.clone() })
        else {
            panic!("no address with a clock at {wall}")
        };
        assert!(seen.insert(got[0]), "{} is given twice", got[0]);
        world.run_for(seconds(2400));
        assert_eq!(world.seen_by(LEAF), before);
        assert_eq!(status(&mut world).problems, Vec::<String>::new());
        // The store goes and comes back under the new time.
        world.store_gone();
        world.run_for(seconds(60));
        assert_eq!(world.seen_by(LEAF), before);
        world.store_back();
        world.run_for(seconds(60));
        assert_eq!(status(&mut world).store.state, "in sync");
    }
    let gone = |s: &&Step| matches!(s, Step::DeleteRoute(..) | Step::DeleteAddress(_));
    assert_eq!(world.kernel.steps[steps..].iter().filter(gone).count(), 0);
}

#[test]
fn the_same_inputs_give_the_same_effects() {
    let run = || {
        let mut world = World::new(WORKER);
        world.run_for(seconds(90));
        world.store_gone();
        world.run_for(seconds(90));
        format!("{:?}{:?}{:?}", world.log, world.kernel.steps, world.saved)
    };
    assert_eq!(run(), run());
}
