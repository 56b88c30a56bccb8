//! Pods that another plugin puts on a bridge: a gateway in their pool, a route to each, and nothing left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::time::Duration;

use petiole_node::dataplane::KernelEvent;
use petiole_node::pods::{CniFault, CniId, CniRequest};
use world::cni::{NODE, added, ask, ask_and_wait, behind, del, held, host_routes, nothing_is_left, refused, started};
use world::{BOOT, World, ip};

const GATEWAY: &str = "petiole-gateway-worker1.br0";

fn bridged() -> World {
    let mut world = started();
    world.kernel.plug("br0");
    // As the plugin leaves it when it asks for addresses: the pod's end of its first port is not up yet.
    let bridge = world.kernel.links.values_mut().find(|l| l.name == "br0").expect("a bridge");
    bridge.carrier = false;
    let event = KernelEvent::Link(bridge.clone());
    world.kernel_event(event);
    world
}

/// Who has addresses, without the pods' own handles.
fn gateways(world: &World) -> Vec<String> {
    held(world).into_iter().filter(|(_, h)| h == GATEWAY).map(|(a, _)| a.to_string()).collect()
}

#[test]
fn the_first_pod_gives_the_bridge_a_gateway_and_the_others_share_it() {
    let mut world = bridged();
    let txns = world.txns;
    let one = added(ask(&mut world, behind("br0", "c1")));
    assert_eq!(world.txns - txns, 2, "the gateway's and the pod's");
    let two = added(ask(&mut world, behind("br0", "c2")));
    assert_eq!(world.txns - txns, 3);
    assert_eq!(one.gateways.iter().map(|g| g.length).collect::<Vec<_>>(), [17, 112]);
    assert_eq!(two.gateways, one.gateways);
    assert_eq!(gateways(&world), one.gateways.iter().map(|g| g.address.to_string()).collect::<Vec<_>>());
    assert_eq!((one.addresses.len(), held(&world).len()), (2, 6));
    // The pods have routes by the bridge, the gateway has none.
    assert_eq!(host_routes(&world).len(), 2, "{:?}", host_routes(&world));
    let bridge = world.kernel.links.values().find(|l| l.name == "br0").unwrap().index;
    for addr in one.addresses.iter().chain(&two.addresses) {
        let (_, route) =
            world.kernel.routes.iter().find(|(k, _)| k.prefix.addr() == *addr && k.prefix.is_host()).unwrap();
        assert_eq!(route.hops.first().unwrap().link, bridge);
    }
    assert_eq!(added(ask(&mut world, behind("br0", "c1"))), one, "said again");

    for container in ["c1", "c2"] {
        ask(&mut world, del(container)).unwrap();
    }
    assert_eq!((held(&world).len(), host_routes(&world).len()), (2, 0), "the bridge still has its address");
    let gone = world.kernel.unplug("br0").remove(0);
    world.kernel_event(gone);
    world.run_for(Duration::from_secs(100));
    nothing_is_left(&world);
}

#[test]
fn a_gateway_outlives_the_agent_and_goes_with_the_boot() {
    let mut world = bridged();
    let one = added(ask(&mut world, behind("br0", "c1")));
    let mut world = world.restarted(NODE, BOOT);
    world.run_for(Duration::from_secs(100));
    assert_eq!((held(&world).len(), host_routes(&world).len()), (4, 1));
    assert_eq!(added(ask(&mut world, behind("br0", "c2"))).gateways, one.gateways);
    // Whatever a runtime keeps of a network, its gateway stays.
    let gc = CniRequest::Gc { network: "petiole".to_owned(), valid: Vec::new() };
    ask(&mut world, gc).unwrap();
    assert_eq!(gateways(&world).len(), 2);
    world.kernel.unplug("br0");
    let mut world = world.restarted(NODE, "another boot");
    world.run_for(Duration::from_secs(10));
    nothing_is_left(&world);
}

#[test]
fn pods_that_come_at_once_wait_for_one_gateway() {
    let mut world = bridged();
    world.store_mute = true;
    let asked: Vec<CniId> = (0..5).map(|n| world.cni(behind("br0", &format!("c{n}")))).collect();
    world.settle();
    world.store_answers();
    world.run_for(Duration::from_secs(1));
    for id in asked {
        added(world.cni_replies[&id].clone());
    }
    assert_eq!((gateways(&world).len(), held(&world).len()), (2, 12));
}

#[test]
fn without_a_gateway_every_pod_that_waits_is_told_so() {
    let mut world = bridged();
    world.store_gone();
    let asked: Vec<CniId> = (0..3).map(|n| world.cni(behind("br0", &format!("c{n}")))).collect();
    world.run_for(Duration::from_secs(15));
    for id in asked {
        let failure = refused(world.cni_replies[&id].clone());
        assert_eq!(failure.kind, CniFault::TryAgain, "{failure}");
    }
    world.store_back();
    world.run_for(Duration::from_secs(40));
    nothing_is_left(&world);
    added(ask(&mut world, behind("br0", "c1")));
}

#[test]
fn a_bridge_that_is_not_there_is_said_and_leaves_no_pod() {
    let mut world = started();
    let failure = refused(ask_and_wait(&mut world, behind("br0", "c1")));
    assert_eq!(failure.kind, CniFault::Kernel, "{failure}");
    world.run_for(Duration::from_secs(100));
    nothing_is_left(&world);
}

#[test]
fn a_bridge_has_one_pool_and_another_needs_another_bridge() {
    let text =
        NODE.replace("{ cidr = \"10.123.128.0/17\" }", "{ cidr = \"10.123.128.0/17\" }, { cidr = \"10.124.0.0/24\" }");
    let mut world = World::new(&text);
    world.load_records(std::collections::BTreeMap::new());
    for name in ["br0", "br1"] {
        let bridge = world.kernel.plug(name);
        world.kernel_event(bridge);
    }
    world.run_for(Duration::from_secs(3));
    let named = |bridge: &str, container: &str, pool: &str| match behind(bridge, container) {
        CniRequest::Add(mut attach) => {
            attach.pools = vec![pool.to_owned()];
            CniRequest::Add(attach)
        }
        other => other,
    };
    let first = added(ask_and_wait(&mut world, named("br0", "c1", "10.123.128.0/17"))).gateways.remove(0);
    assert_eq!(first.length, 17);
    let failure = refused(ask_and_wait(&mut world, named("br0", "c2", "10.124.0.0/24")));
    assert_eq!(failure.kind, CniFault::Exhausted, "{failure}");
    assert!(
        failure.words.contains("bridge br0 has its gateway") && failure.words.contains("\"ipam.pools\""),
        "{failure}"
    );
    let second = added(ask_and_wait(&mut world, named("br1", "c3", "10.124.0.0/24"))).gateways.remove(0);
    assert_eq!(second.length, 24);
    assert_eq!(second.address.to_string(), "10.124.0.1", "not the first of the pool, which is no host's");
    assert_eq!(gateways(&world).len(), 1);
    assert!(held(&world).contains_key(&ip("10.124.0.1")) && !held(&world).contains_key(&ip("10.124.0.0")));
}
