use std::net::SocketAddr;
use std::time::Duration;

use super::*;

/// The shape that the contract fixes, without the keys whose features come later.
const CONTRACT: &str = r#"
[node]
name = "worker1"                     # default: the hostname
roles = ["worker"]                   # any of worker, master, ingress
router_id = "10.122.0.11"            # also the preferred source of learned routes
addresses = ["10.122.0.11/32", "fd00:122::11/128"]   # kept on lo, announced as the node's own

[store]
etcd = { endpoints = ["http://10.122.0.1:2379"] }

[bgp]
asn = 4200000011

[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
hold_time = "9s"

[[announce]]
kind = "anycast"
prefix = "10.122.255.1/32"
health = { http = "https://127.0.0.1:6443/readyz", interval = "1s", rise = 2, fall = 3, insecure = true }

[[announce]]
kind = "service-range"
prefix = "10.123.0.0/17"
health = { http = "http://127.0.0.1:10256/healthz" }

[ipam]
pools = [{ cidr = "10.123.128.0/17", block_size = 26 }]
"#;

#[test]
fn the_contracts_shape_is_read() {
    let settings = good(CONTRACT);
    assert_eq!(settings.node.name, "worker1");
    assert_eq!(settings.node.roles.iter().copied().collect::<Vec<_>>(), [Role::Worker]);
    assert_eq!(settings.node.router_id, Some("10.122.0.11".parse().unwrap()));
    assert_eq!(settings.node.addresses.len(), 2);
    let etcd = EtcdSettings { endpoints: vec!["http://10.122.0.1:2379".to_owned()], ca: None, cert: None, key: None };
    assert_eq!(settings.store, StoreSettings::Etcd(etcd));
    let bgp = settings.bgp.unwrap();
    assert_eq!((bgp.asn, bgp.accept_default), (4_200_000_011, false));
    assert_eq!(bgp.listen, "[::]:179".parse::<SocketAddr>().unwrap());
    let peer = PeerSettings {
        address: "10.122.101.0".parse().unwrap(),
        port: 179,
        asn: Some(65001),
        hold_time: Duration::from_secs(9),
        passive: false,
    };
    assert_eq!(bgp.peers, [peer]);
    let health = settings.announce[1].health.clone().unwrap();
    assert_eq!((health.interval, health.timeout), (Duration::from_secs(1), Duration::from_secs(1)));
    assert_eq!((health.rise, health.fall), (2, 3));
    assert_eq!(settings.ipam.pools, [PoolSettings { cidr: "10.123.128.0/17".parse().unwrap(), block_size: 26 }]);
}

#[test]
fn no_text_gives_the_defaults() {
    assert_eq!(good(""), Settings::defaults("host1"));
    let settings = good("");
    assert_eq!(settings.store, StoreSettings::Embedded("/var/lib/petiole/store".into()));
    assert_eq!(settings.metrics_listen, "127.0.0.1:9179".parse::<SocketAddr>().unwrap());
    assert_eq!(settings.paths.api_socket().to_str(), Some("/run/petiole/api.sock"));
    assert!(settings.bgp.is_none() && settings.node.roles.is_empty());
}
