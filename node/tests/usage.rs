//! What metrics and `status` say of addresses: counted from the store's own values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use petiole_node::view::{AddressesView, Answer, Query, Sample, SampleKind, StatusView};
use world::cni::{add, add_with, added, ask, ask_and_wait, del, lend};
use world::{BOOT, World, p};

const NODE: &str = worker!(
    r#"
[ipam]
pools = [{ cidr = "10.123.128.0/24", block_size = 29 }]
reserved = ["10.123.128.0/32", "10.123.128.8/32", "10.123.128.16/32", "10.123.128.24/32"]

[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#
);

fn started() -> World {
    let mut world = World::new(NODE);
    world.load_records(BTreeMap::new());
    world.run_for(Duration::from_secs(3));
    world
}

fn metrics(world: &mut World) -> Vec<Sample> {
    match world.ask(Query::Metrics) {
        Answer::Metrics(samples) => samples,
        other => panic!("{other:?}"),
    }
}

/// The samples of a name, with the values of their labels.
fn values(world: &mut World, name: &str) -> BTreeMap<String, f64> {
    let samples = metrics(world).into_iter().filter(|s| s.name == name);
    let words = |s: &Sample| s.labels.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>().join(" ");
    samples.map(|s| (words(&s), s.value)).collect()
}

fn status(world: &mut World) -> StatusView {
    match world.ask(Query::Status) {
        Answer::Status(view) => *view,
        other => panic!("{other:?}"),
    }
}

fn map(of: &[(&str, f64)]) -> BTreeMap<String, f64> {
    of.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
}

#[test]
fn addresses_are_counted_by_what_becomes_of_them() {
    let mut world = started();
    // One block of eight, of which one or none is reserved.
    let block = status(&mut world).blocks[0];
    let reserved = usize::from([0, 8, 16, 24].iter().any(|n| block == p(&format!("10.123.128.{n}/29"))));
    let all = 8 - reserved;
    for n in 0..3 {
        added(ask(&mut world, add(&format!("c{n}"))));
    }
    world.put("/calico/ipam/v2/config", r#"{"auto_allocate_blocks":true,"ipCooldownSeconds":600}"#);
    ask(&mut world, del("c1")).unwrap();
    let theirs = if block == p("10.123.128.240/29") { "10.123.128.248/29" } else { "10.123.128.240/29" };
    lend(&mut world, "worker2", theirs, 2);
    let borrowed = p(theirs).addr().to_string().replace("240", "245").replace("248", "253");
    added(ask(&mut world, add_with("b", &[&borrowed], &[])));
    let pool = "10.123.128.0/24";
    let expected = [("cooling", 1), ("free", all - 3), ("reserved", reserved), ("used", 2)];
    let expected: BTreeMap<String, f64> =
        expected.iter().map(|(state, n)| (format!("{pool} {state}"), *n as f64)).collect();
    assert_eq!(values(&mut world, "petiole_ipam_addresses"), expected);
    assert_eq!(values(&mut world, "petiole_ipam_addresses_borrowed"), map(&[("", 1.0)]));
    assert_eq!(values(&mut world, "petiole_ipam_addresses_lent"), map(&[(pool, 0.0)]));
    assert_eq!(values(&mut world, "petiole_ipam_pods"), map(&[("", 3.0)]));
    let blocks = map(&[("others", 1.0), ("own", 1.0), ("ownerless", 0.0), ("unreadable", 0.0)]);
    assert_eq!(values(&mut world, "petiole_ipam_store_blocks"), blocks);
    let pool = p(pool);
    let of = AddressesView { pool, used: 2, lent: 0, free: all - 3, cooling: 1, reserved, borrowed: 1 };
    assert_eq!(status(&mut world).addresses, [of]);
}

#[test]
fn transactions_are_counted_by_purpose_and_ending() {
    let mut world = started();
    added(ask(&mut world, add("c1")));
    ask(&mut world, del("c1")).unwrap();
    let counts = values(&mut world, "petiole_ipam_transactions");
    assert_eq!(counts["claim done"], 1.0);
    assert_eq!(counts["pool done"], 1.0);
    assert_eq!(counts["requests done"], 2.0);
    assert!(counts.keys().all(|k| k.ends_with(" done")), "{counts:?}");
}

#[test]
fn requests_fall_into_buckets_by_the_time_they_took() {
    let mut world = started();
    added(ask(&mut world, add("c1")));
    added(ask(&mut world, add("c2")));
    ask(&mut world, del("c1")).unwrap();
    world.store_gone();
    assert!(ask_and_wait(&mut world, add("c3")).is_err());
    let samples = metrics(&mut world);
    let of = |command: &str, result: &str| {
        let labels = [("command".to_owned(), command.to_owned()), ("result".to_owned(), result.to_owned())];
        let mut found = samples.iter().filter(|s| s.kind == SampleKind::Histogram && s.labels == labels);
        let found = found.next().unwrap();
        assert_eq!(found.buckets.last().unwrap().0, f64::MAX);
        let filled: Vec<(f64, u64)> = found.buckets.iter().copied().filter(|(_, n)| *n > 0).collect();
        (filled, found.value)
    };
    assert_eq!(of("add", "served"), (vec![(0.001, 2)], 0.0), "no time passes in this world");
    assert_eq!(of("del", "served"), (vec![(0.001, 1)], 0.0));
    assert_eq!(of("add", "refused"), (vec![(10.0, 1)], 10.0));
}

#[test]
fn releases_that_wait_for_the_store_are_shown_and_survive_a_restart() {
    let mut world = started();
    for n in 0..3 {
        added(ask(&mut world, add(&format!("c{n}"))));
    }
    world.store_gone();
    for n in 0..2 {
        ask(&mut world, del(&format!("c{n}"))).unwrap();
    }
    let waiting = |world: &mut World| {
        let view = status(world);
        assert_eq!(values(world, "petiole_ipam_releases_waiting"), map(&[("", view.pods.releasing as f64)]));
        (view.pods.attached, view.pods.releasing)
    };
    assert_eq!(waiting(&mut world), (1, 2));
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(Duration::from_secs(5));
    assert_eq!(waiting(&mut world), (1, 2));
    world.store_back();
    world.run_for(Duration::from_secs(40));
    assert_eq!(waiting(&mut world), (1, 0));
    assert_eq!(world.records.len(), 1);
    let held = status(&mut world).addresses;
    assert_eq!(held.iter().map(|a| a.used).sum::<usize>(), 1);
}

#[test]
fn what_keeps_pods_from_starting_stands_in_status() {
    let mut world = started();
    assert_eq!(status(&mut world).adds_refused, None);
    assert_eq!(values(&mut world, "petiole_ipam_adds_refused"), map(&[("", 0.0)]));
    world.store_gone();
    let why = status(&mut world).adds_refused.unwrap();
    assert!(why.contains("the store is away, everything stays as it is"), "{why}");
    assert_eq!(values(&mut world, "petiole_ipam_adds_refused"), map(&[("", 1.0)]));
}

#[test]
fn every_metric_is_documented() {
    let page = include_str!("../../docs/metrics.md");
    let mut world = started();
    added(ask(&mut world, add("c1")));
    world.put("/calico/bgp/v1/global/custom_filters/v4/wrong", "if (");
    let names: BTreeSet<String> = metrics(&mut world).into_iter().map(|s| s.name).collect();
    let missing: Vec<&String> = names.iter().filter(|n| !page.contains(&format!("`{n}`"))).collect();
    assert!(missing.is_empty() && names.len() > 25, "docs/metrics.md lacks {missing:?}");
}
