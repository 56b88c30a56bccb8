//! A pair that is begun while its addresses are asked for: whatever comes between, it becomes an endpoint's or goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use petiole_node::pods::{CniAnswer, CniFailure, CniFault, CniRequest};
use world::cni::{
    NODE, add, add_with, added, ask, attachment, del, held, host_routes, interfaces, nothing_is_left, refused, started,
};
use world::{BOOT, World};

/// A node whose ADD of `c1` waits for the store.
fn assigning() -> (World, petiole_node::pods::CniId) {
    let mut world = started();
    world.store_mute = true;
    let asked = world.cni(add("c1"));
    world.settle();
    assert!(!world.cni_replies.contains_key(&asked));
    (world, asked)
}

#[test]
fn the_pair_is_there_before_the_store_has_answered() {
    let (mut world, asked) = assigning();
    assert_eq!(interfaces(&world).len(), 1);
    assert_eq!((world.records.len(), host_routes(&world).len()), (0, 0), "nothing that looks like an endpoint");
    let begun = world.kernel.links.clone();
    world.store_answers();
    let endpoint = added(world.cni_replies[&asked].clone());
    assert_eq!(endpoint.addresses.len(), 2);
    assert_eq!(world.kernel.links, begun, "the same pair, not another");
}

#[test]
fn a_del_meanwhile_takes_the_pair_and_the_addresses_away() {
    let (mut world, asked) = assigning();
    let deleted = world.cni(del("c1"));
    world.settle();
    assert!(!world.cni_replies.contains_key(&deleted), "there is nothing to delete yet, and will be");
    world.store_answers();
    assert_eq!(refused(world.cni_replies[&asked].clone()).kind, CniFault::TryAgain);
    assert_eq!(world.cni_replies[&deleted], Ok(CniAnswer::Done));
    nothing_is_left(&world);
}

#[test]
fn an_add_said_again_meanwhile_gets_the_same_endpoint() {
    let (mut world, first) = assigning();
    let second = world.cni(add("c1"));
    world.settle();
    world.store_answers();
    let endpoint = added(world.cni_replies[&first].clone());
    assert_eq!(added(world.cni_replies[&second].clone()), endpoint);
    assert_eq!((interfaces(&world).len(), held(&world).len()), (1, 2));
}

#[test]
fn a_check_meanwhile_waits_for_the_addresses() {
    let (mut world, _) = assigning();
    let checked = world.cni(CniRequest::Check { attachment: attachment("c1"), addresses: Vec::new() });
    world.settle();
    assert!(!world.cni_replies.contains_key(&checked));
    world.store_answers();
    assert_eq!(refused(world.cni_replies[&checked].clone()).kind, CniFault::NotAsLeft);
}

#[test]
fn an_agent_killed_meanwhile_leaves_a_pair_that_the_next_one_deletes() {
    let (world, _) = assigning();
    assert_eq!((interfaces(&world).len(), held(&world).len(), world.records.len()), (1, 2, 0));
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(Duration::from_secs(3));
    assert_eq!(interfaces(&world), BTreeSet::new(), "at once");
    world.run_for(Duration::from_secs(60));
    nothing_is_left(&world);
    assert_eq!(added(ask(&mut world, add("c1"))).addresses.len(), 2);
}

#[test]
fn an_agent_killed_meanwhile_whose_runtime_asks_the_next_one_at_once() {
    let (world, _) = assigning();
    let mut world = world.restarted(NODE, BOOT);
    let asked = world.cni(add("c1"));
    world.run_for(Duration::from_secs(60));
    let reply = world.cni_replies[&asked].clone();
    if reply.is_err() {
        assert_eq!(refused(reply).kind, CniFault::TryAgain);
        added(ask(&mut world, add("c1")));
    }
    assert_eq!((interfaces(&world).len(), held(&world).len(), world.records.len()), (1, 2, 1));
    ask(&mut world, del("c1")).unwrap();
    nothing_is_left(&world);
}

#[test]
fn a_repair_meanwhile_leaves_the_pair_alone() {
    let mut world = started();
    // The repair is due every half minute.
    world.run_for(Duration::from_secs(26));
    world.store_mute = true;
    let asked = world.cni(add("c1"));
    world.settle();
    let begun = world.kernel.links.clone();
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.kernel.links, begun);
    world.store_answers();
    added(world.cni_replies[&asked].clone());
    assert_eq!(world.kernel.links, begun);
}

#[test]
fn a_namespace_that_goes_meanwhile_fails_the_add_and_leaves_nothing() {
    let (mut world, asked) = assigning();
    for host in interfaces(&world) {
        for event in world.kernel.unplug(&host) {
            world.kernel_event(event);
        }
    }
    world.pod_fails = Some(CniFailure { kind: CniFault::Kernel, words: "no such device".to_owned() });
    world.store_answers();
    assert_eq!(refused(world.cni_replies[&asked].clone()).kind, CniFault::Kernel);
    nothing_is_left(&world);
}

#[test]
fn a_refused_assignment_takes_the_pair_down_before_it_answers() {
    let mut world = started();
    let failure = refused(ask(&mut world, add_with("c1", &["192.0.2.1"], &[])));
    assert_eq!(failure.kind, CniFault::BadRequest);
    nothing_is_left(&world);
    added(ask(&mut world, add("c1")));
}

#[test]
fn a_pair_that_cannot_be_deleted_is_no_endpoint_to_anyone() {
    let mut world = started();
    let stuck = CniFailure { kind: CniFault::Kernel, words: "device or resource busy".to_owned() };
    world.unwire_fails = Some(stuck.clone());
    refused(ask(&mut world, add_with("c1", &["192.0.2.1"], &[])));
    assert_eq!(interfaces(&world).len(), 1);
    let check = CniRequest::Check { attachment: attachment("c1"), addresses: Vec::new() };
    assert_eq!(refused(ask(&mut world, check)).kind, CniFault::UnknownContainer);
    assert_eq!(ask(&mut world, add("c1")), Err(stuck), "an answer, not a loop");
    world.unwire_fails = None;
    assert_eq!(added(ask(&mut world, add("c1"))).addresses.len(), 2);
    ask(&mut world, del("c1")).unwrap();
    nothing_is_left(&world);
}

#[test]
fn a_pair_that_could_not_be_deleted_is_tried_again_by_the_repair() {
    let mut world = started();
    let stuck = CniFailure { kind: CniFault::Kernel, words: "device or resource busy".to_owned() };
    world.unwire_fails = Some(stuck);
    refused(ask(&mut world, add_with("c1", &["192.0.2.1"], &[])));
    added(ask(&mut world, add("c2")));
    refused(ask(&mut world, del("c2")));
    world.unwire_fails = None;
    world.run_for(Duration::from_secs(35));
    nothing_is_left(&world);
}

#[test]
fn a_burst_begins_every_pair_at_once_and_wires_each_with_its_own_addresses() {
    let mut world = started();
    world.store_mute = true;
    let txns = world.txns;
    let asked: Vec<_> = (0..16).map(|n| (n, world.cni(add(&format!("c{n}"))))).collect();
    world.settle();
    assert_eq!(interfaces(&world).len(), 16);
    while asked.iter().any(|(_, id)| !world.cni_replies.contains_key(id)) {
        world.store_answers();
    }
    assert!(world.txns - txns <= 4, "{} transactions", world.txns - txns);
    let mut by_address: BTreeMap<IpAddr, String> = BTreeMap::new();
    for (_, id) in &asked {
        let endpoint = added(world.cni_replies[id].clone());
        assert_eq!(endpoint.addresses.len(), 2);
        by_address.extend(endpoint.addresses.iter().map(|a| (*a, endpoint.handle.clone())));
    }
    assert_eq!(by_address, held(&world));
    let deleted: Vec<_> = (0..16).map(|n| world.cni(del(&format!("c{n}")))).collect();
    world.settle();
    assert!(deleted.iter().all(|id| world.cni_replies[id] == Ok(CniAnswer::Done)));
    nothing_is_left(&world);
}
