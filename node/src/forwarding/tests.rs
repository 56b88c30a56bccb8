use std::collections::{BTreeMap, BTreeSet};

use petiole_prefix::Family;

use super::{Outcome, Setting, Wanted, dotted, learning, plan};

fn wanted(families: &[Family], uplinks: &[&str]) -> Wanted {
    Wanted { families: families.iter().copied().collect(), uplinks: uplinks.iter().map(|u| (*u).to_owned()).collect() }
}

fn planned(wanted: &Wanted, learning: &[&str], kernel: &[(&str, u32)]) -> Vec<String> {
    let kernel: BTreeMap<&str, u32> = kernel.iter().copied().collect();
    let learning: BTreeSet<String> = learning.iter().map(|l| (*l).to_owned()).collect();
    let plan = plan(wanted, &learning, |key| kernel.get(key).copied());
    plan.into_iter().map(|s| format!("{}: {} -> {}", s.key, s.was, s.value)).collect()
}

const FRESH: [(&str, u32); 11] = [
    ("net/ipv4/ip_forward", 0),
    ("net/ipv4/conf/all/rp_filter", 0),
    ("net/ipv4/conf/eth1/rp_filter", 1),
    ("net/ipv4/conf/eth2/rp_filter", 0),
    ("net/ipv6/conf/all/forwarding", 0),
    ("net/ipv6/conf/eth0/forwarding", 0),
    ("net/ipv6/conf/eth0/accept_ra", 1),
    ("net/ipv6/conf/eth1/forwarding", 0),
    ("net/ipv6/conf/eth1/accept_ra", 1),
    ("net/ipv6/conf/eth2/forwarding", 0),
    ("net/ipv6/conf/eth2/accept_ra", 0),
];

#[test]
fn a_fresh_node_goes_on_heeding_routers_and_then_forwards() {
    let both = wanted(&[Family::V4, Family::V6], &["eth1", "eth2"]);
    assert_eq!(
        planned(&both, &["eth0"], &FRESH),
        [
            "net/ipv4/ip_forward: 0 -> 1",
            "net/ipv4/conf/eth1/rp_filter: 1 -> 2",
            "net/ipv6/conf/eth0/accept_ra: 1 -> 2",
            "net/ipv6/conf/eth1/accept_ra: 1 -> 2",
            "net/ipv6/conf/all/forwarding: 0 -> 1",
        ]
    );
}

#[test]
fn only_the_families_of_pods_are_touched() {
    assert_eq!(planned(&wanted(&[Family::V4], &["eth1"]), &["eth0"], &FRESH), ["net/ipv4/ip_forward: 0 -> 1"]);
    let v6 = planned(&wanted(&[Family::V6], &["eth2"]), &[], &FRESH);
    assert_eq!(v6, ["net/ipv6/conf/all/forwarding: 0 -> 1"]);
    assert!(planned(&Wanted::default(), &["eth0"], &FRESH).is_empty());
}

/// One uplink has one way back. Loose filtering for all makes the interface's own of no effect.
#[test]
fn strict_filtering_is_loosened_where_replies_may_come_another_way_only() {
    let filter = |uplinks: &[&str], all, own| {
        let kernel = [("net/ipv4/conf/all/rp_filter", all), ("net/ipv4/conf/eth1/rp_filter", own)];
        planned(&wanted(&[Family::V4], uplinks), &[], &kernel)
    };
    assert!(filter(&["eth1"], 1, 1).is_empty());
    assert_eq!(filter(&["eth1", "eth2"], 1, 0), ["net/ipv4/conf/eth1/rp_filter: 0 -> 2"]);
    assert!(filter(&["eth1", "eth2"], 2, 1).is_empty());
    assert!(filter(&["eth1", "eth2"], 0, 0).is_empty());
}

#[test]
fn what_is_right_or_not_there_is_left_alone() {
    let both = wanted(&[Family::V4, Family::V6], &["eth1"]);
    let done = [
        ("net/ipv4/ip_forward", 1),
        ("net/ipv6/conf/all/forwarding", 1),
        ("net/ipv6/conf/eth1/forwarding", 1),
        ("net/ipv6/conf/eth1/accept_ra", 1),
    ];
    assert!(planned(&both, &["eth1"], &done).is_empty());
    assert!(planned(&both, &["eth1"], &[]).is_empty());
}

/// Lines of a real table: a default route and a prefix out of an advertisement on eth0, an address by hand on eth1.
#[test]
fn routes_of_advertisements_are_told_from_others() {
    let zero = "00000000000000000000000000000000";
    let line = |destination: &str, flags: &str, interface: &str| {
        format!("{destination} 40 {zero} 00 {zero} 00000400 00000001 00000000 {flags} {interface:>8}\n")
    };
    let table = line(zero, "00450003", "eth0")
        + &line("fd010000000000000000000000000000", "00c40001", "eth0")
        + &line("fd020000000000000000000000000000", "00000001", "eth1")
        + &line("fe800000000000000000000000000000", "00000001", "eth1")
        + "garbage\n";
    assert_eq!(learning(&table), BTreeSet::from(["eth0".to_owned()]));
}

#[test]
fn a_dot_of_an_interface_is_a_slash_for_sysctl() {
    assert_eq!(dotted("net/ipv4/conf/bond0.12/rp_filter"), "net.ipv4.conf.bond0/12.rp_filter");
}

#[test]
fn what_cannot_be_written_is_a_problem_with_what_to_do() {
    let setting = Setting { key: "net/ipv4/ip_forward".to_owned(), was: 0, value: 1 };
    let outcomes = vec![Outcome { setting, result: Err("Read-only file system (os error 30)".to_owned()) }];
    let forwarding = super::Forwarding { outcomes, ..super::Forwarding::default() };
    let problems: Vec<String> = forwarding.problems().collect();
    assert!(problems[0].contains("sysctl -w net.ipv4.ip_forward=1"), "{problems:?}");
    assert_eq!(forwarding.views()[0].error.as_deref(), Some("Read-only file system (os error 30)"));
}
