use super::*;

fn link(index: LinkIndex, name: &str, up: bool) -> Link {
    Link { index, name: name.to_owned(), up, carrier: up, mtu: 1500 }
}

fn address(link: LinkIndex, text: &str) -> Address {
    let (addr, len) = text.split_once('/').unwrap();
    let addr: IpAddr = addr.parse().unwrap();
    let scope = match addr {
        IpAddr::V6(a) if a.is_unicast_link_local() => Scope::Link,
        a if a.is_loopback() => Scope::Host,
        _ => Scope::Global,
    };
    Address { link, addr, len: len.parse().unwrap(), scope, deprecated: false, protocol: 0 }
}

fn worker4() -> Topology {
    Topology::new(
        [link(1, "lo", true), link(2, "eth1", true), link(3, "eth2", false)],
        [
            address(1, "127.0.0.1/8"),
            address(1, "10.122.0.14/32"),
            address(2, "10.122.104.1/31"),
            address(2, "fd00:122:104::1/127"),
            address(2, "fe80::2/64"),
            address(3, "10.122.103.5/31"),
        ],
    )
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_leaf_is_found_on_its_subnet_with_both_next_hops() {
    let uplink = worker4().uplink(ip("10.122.104.0")).unwrap();
    assert_eq!((uplink.name.as_str(), uplink.up, uplink.local), ("eth1", true, ip("10.122.104.1")));
    assert_eq!(uplink.v6, Some("fd00:122:104::1".parse().unwrap()), "the global address, not the link's own");
    let down = worker4().uplink(ip("10.122.103.4")).unwrap();
    assert!(!down.up && down.v6.is_none());
}

#[test]
fn a_session_over_ipv6_finds_the_ipv4_next_hop() {
    let uplink = worker4().uplink(ip("fd00:122:104::")).unwrap();
    assert_eq!((uplink.local, uplink.v4), (ip("fd00:122:104::1"), Some("10.122.104.1".parse().unwrap())));
}

#[test]
fn our_own_address_and_a_far_one_are_refused_in_words() {
    let own = worker4().uplink(ip("10.122.104.1")).unwrap_err().to_string();
    assert!(own.starts_with("peer 10.122.104.1 is an address of this node"), "{own}");
    let far = worker4().uplink(ip("10.9.9.9")).unwrap_err().to_string();
    assert!(far.contains("on no subnet"), "{far}");
}

#[test]
fn subnets_are_connected_only_while_the_interface_is_up() {
    let connected: Vec<String> = worker4().connected().map(|(p, _)| p.to_string()).collect();
    assert_eq!(connected, ["10.122.104.0/31", "fd00:122:104::/127", "fe80::/64"]);
}

#[test]
fn the_router_id_is_the_first_global_on_lo_else_of_an_uplink() {
    assert_eq!(worker4().default_router_id(), Some(Ipv4Addr::new(10, 122, 0, 14)));
    let bare = Topology::new([link(2, "eth1", true)], [address(1, "127.0.0.1/8"), address(2, "10.122.104.1/31")]);
    assert_eq!(bare.default_router_id(), Some(Ipv4Addr::new(10, 122, 104, 1)));
}

#[test]
fn rfc5549_6_a_leaf_on_an_interface_is_reached_from_the_link_local_address() {
    let heard: Ipv6Addr = "fe80::1".parse().unwrap();
    let uplink = worker4().uplink_on("eth1", Ok(heard)).unwrap();
    assert_eq!((uplink.link, uplink.scope_id, uplink.up), (2, 2, true));
    assert_eq!((uplink.remote, uplink.local), (ip("fe80::1"), ip("fe80::2")));
    assert_eq!((uplink.v4, uplink.v6), (Some(Ipv4Addr::new(10, 122, 104, 1)), Some("fe80::2".parse().unwrap())));
}

#[test]
fn why_there_is_no_leaf_on_an_interface_is_said_in_words() {
    let heard: Ipv6Addr = "fe80::1".parse().unwrap();
    let why = |name: &str, neighbour| worker4().uplink_on(name, neighbour).unwrap_err().to_string();
    assert!(why("eth7", Ok(heard)).starts_with("there is no interface eth7"));
    assert_eq!(why("eth2", Ok(heard)), "no neighbour on eth2: the link is down");
    assert_eq!(why("eth1", Err("none heard yet".to_owned())), "no neighbour on eth1: none heard yet");
    let bare = Topology::new([link(2, "eth1", true)], [address(2, "10.122.104.1/31")]);
    let words = bare.uplink_on("eth1", Ok(heard)).unwrap_err().to_string();
    assert!(words.starts_with("interface eth1 has no IPv6 link-local address"), "{words}");
}
