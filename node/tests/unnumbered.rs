//! A node whose leaf has no address on their link: found by router advertisements, spoken to over link-local addresses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[macro_use]
mod world;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use petiole_node::bgp::PeerId;
use petiole_node::dataplane::{Hop, KernelEvent};
use petiole_node::neighbour::{DiscoveryAction, DiscoveryEvent, LinkSysctls};
use petiole_node::store::memory::Memory;
use petiole_node::view::{Answer, PeerView, Query, StatusView};
use world::{Kernel, LEAF_ON_LINK, World, ip, p};

const NODE: &str = worker!(
    r#"
[[bgp.peer]]
interface = "eth1"
asn = "external"

[ipam]
pools = [{ cidr = "10.123.128.0/17", block_size = 26 }, { cidr = "fd00:123:8000::/112", block_size = 122 }]
"#
);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn leaf() -> Ipv6Addr {
    LEAF_ON_LINK.parse().unwrap()
}

fn status(world: &mut World) -> StatusView {
    match world.ask(Query::Status) {
        Answer::Status(view) => *view,
        other => panic!("{other:?}"),
    }
}

fn peer(world: &mut World) -> PeerView {
    match world.ask(Query::Peers) {
        Answer::Peers(mut views) => views.remove(0),
        other => panic!("{other:?}"),
    }
}

fn start() -> World {
    World::with(NODE, Memory::new(), Kernel::unnumbered(), None)
}

/// A node whose session with the leaf is Established.
fn established() -> World {
    let mut world = start();
    world.router = Some(leaf());
    world.run_for(seconds(15));
    assert_eq!(status(&mut world).peers[0].state, "Established", "{:#?}", status(&mut world));
    world
}

fn set_link(world: &mut World, up: bool) {
    let mut link = world.kernel.links[&2].clone();
    (link.up, link.carrier) = (up, up);
    world.kernel.links.insert(2, link.clone());
    world.kernel_event(KernelEvent::Link(link));
}

#[test]
fn a_leaf_that_nobody_hears_is_said_with_what_to_do() {
    let mut world = start();
    assert_eq!(world.discovery, [DiscoveryAction::Listen { interface: "eth1".to_owned(), link: 2 }]);
    world.run_for(seconds(10));
    let status = status(&mut world);
    assert_eq!(status.peers[0].peer.to_string(), "eth1");
    assert!(status.problems[0].starts_with("no neighbour on eth1: none heard yet"), "{:?}", status.problems);
    assert!(status.peers[0].last_error.as_ref().unwrap().contains("none heard yet"), "{:?}", status.peers);
}

#[test]
fn rfc8950_both_families_are_learned_over_a_link_without_addresses() {
    let mut world = established();
    let status = status(&mut world);
    assert_eq!(status.problems, [""; 0]);
    assert_eq!((status.peers[0].asn, status.peers[0].uplink.as_deref()), (Some(65001), Some("eth1")));
    world.leaf_announces(LEAF_ON_LINK, &["10.120.201.0/27", "fd00:120:201:1::/64"]);
    world.run_for(seconds(2));
    let hop = Hop { gateway: Some(ip(LEAF_ON_LINK)), link: 2 };
    for (prefix, source) in [("10.120.201.0/27", "10.122.0.11"), ("fd00:120:201:1::/64", "fd00:122::11")] {
        let (_, route) = world.kernel.routes.iter().find(|(k, _)| k.prefix == p(prefix)).expect(prefix);
        assert_eq!((route.hops.as_slice(), route.prefsrc), ([hop].as_slice(), Some(ip(source))), "{prefix}");
    }
    let seen = world.seen_by(LEAF_ON_LINK);
    assert_eq!(seen.len(), 4, "{seen:?}");
    let paths = world.leaves[&ip(LEAF_ON_LINK)].speaker.routes_received(None, None);
    let next_hops: Vec<IpAddr> = paths.iter().map(|p| p.attributes.next_hop).collect();
    assert_eq!(next_hops, [ip("fe80::2"); 4], "a link that has no other address");
}

#[test]
fn rfc2545_3_of_two_next_hops_the_one_on_the_link_is_used() {
    let mut world = established();
    let node_end = PeerId::of_address(ip("fe80::2"));
    let global = "fd00:122:101::".parse().unwrap();
    let speaker = &mut world.leaves.get_mut(&ip(LEAF_ON_LINK)).unwrap().speaker;
    speaker.set_next_hops(node_end, None, Some(global), world.now);
    world.leaf_announces(LEAF_ON_LINK, &["10.120.201.0/27", "fd00:120:201:1::/64"]);
    world.run_for(seconds(2));
    let hop = Hop { gateway: Some(ip(LEAF_ON_LINK)), link: 2 };
    for prefix in ["10.120.201.0/27", "fd00:120:201:1::/64"] {
        let (_, route) = world.kernel.routes.iter().find(|(k, _)| k.prefix == p(prefix)).expect(prefix);
        assert_eq!(route.hops, [hop], "{prefix}");
    }
}

#[test]
fn silence_of_the_router_does_not_end_a_session() {
    let mut world = established();
    world.router = None;
    world.run_for(seconds(3600));
    let peer = peer(&mut world);
    assert_eq!((peer.state.as_str(), peer.established_count), ("Established", 1));
}

#[test]
fn a_leaf_that_comes_back_with_another_address_gets_a_new_session() {
    let mut world = established();
    let other: Ipv6Addr = "fe80::99".parse().unwrap();
    // Nobody answers at the old address, and somebody speaks at the new one.
    let mut gone = world.leaves.remove(&ip(LEAF_ON_LINK)).unwrap();
    gone.reachable = false;
    world.router = Some(other);
    world.router_advertises(2, other);
    world.run_for(seconds(5));
    assert_eq!(status(&mut world).peers[0].state, "Established", "an advertisement alone ends nothing");
    world.run_for(seconds(10));
    let peer = peer(&mut world);
    assert_ne!(peer.state, "Established");
    assert_eq!(peer.peer, "eth1");
    world.leaves.insert(IpAddr::V6(other), gone);
    world.leaves.get_mut(&IpAddr::V6(other)).unwrap().reachable = true;
    world.run_for(seconds(15));
    assert_eq!(status(&mut world).peers[0].state, "Established", "{:#?}", status(&mut world));
}

#[test]
fn a_link_that_flaps_ends_the_session_at_once_and_finds_the_leaf_again() {
    let mut world = established();
    set_link(&mut world, false);
    world.run_for(Duration::from_millis(1));
    let down = peer(&mut world);
    assert_eq!(down.last_error.as_deref(), Some("the uplink went down"), "{down:#?}");
    assert!(status(&mut world).peers[0].last_error.as_ref().unwrap().ends_with("the link is down"));
    world.run_for(seconds(5));
    set_link(&mut world, true);
    world.run_for(seconds(2));
    let up = peer(&mut world);
    assert_eq!((up.state.as_str(), up.established_count), ("Established", 2));
}

#[test]
fn a_link_without_its_address_is_said_with_the_setting_that_is_to_blame() {
    let mut kernel = Kernel::unnumbered();
    kernel.addresses.retain(|a| a.link == 1);
    let mut world = World::with(NODE, Memory::new(), kernel, None);
    let sysctls = LinkSysctls { disable_ipv6: Some(1), ..LinkSysctls::default() };
    world.node.handle(
        petiole_node::Input::Discovery(DiscoveryEvent::Sysctls { link: 2, sysctls }),
        petiole_node::Now { mono: world.now, wall: 0 },
    );
    world.run_for(seconds(1));
    let problems = status(&mut world).problems;
    assert!(problems[0].starts_with("interface eth1 has no IPv6 link-local address"), "{problems:?}");
    assert!(problems[0].ends_with("set net.ipv6.conf.eth1.disable_ipv6 = 0"), "{problems:?}");
}
