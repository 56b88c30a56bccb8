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
