use serde_json::json;

use super::*;

#[test]
fn a_switch_is_read_from_frrs_json() {
    let peers = json!({ "10.121.1.3": { "desc": "leaf1", "state": "Established" }, "10.121.1.5": { "desc": "leaf2", "state": "Active" } });
    let summary = json!({ "ipv4Unicast": { "peers": peers }, "ipv6Unicast": { "peers": { "10.121.1.3": { "desc": "leaf1", "state": "Idle" } } } });
    let v4 = json!({ "routes": {
        "10.122.255.1/32": [
            { "valid": true, "multipath": true, "peerId": "10.121.1.3", "path": "65001 4200000001" },
            { "valid": true, "bestpath": true, "peerId": "10.121.1.5", "path": "65002 4200000002" },
            { "valid": true, "peerId": "10.121.1.9", "path": "65004" },
            { "peerId": "10.121.1.9", "path": "65009" },
        ],
        "10.121.1.2/31": [{ "valid": true, "bestpath": true, "peerId": "(unspec)", "path": "" }],
    } });
    let switch = read_switch(&summary, [&v4, &json!({})]);
    assert_eq!(switch.sessions["leaf1"], ["Established", "Idle"]);
    assert_eq!(switch.sessions["leaf2"], ["Active", ""]);
    let path = |origin, from: &str, used| Path { origin, from: from.to_owned(), used };
    let anycast = [
        path(Some(4_200_000_001), "leaf1", true),
        path(Some(4_200_000_002), "leaf2", true),
        path(Some(65_004), "", false),
    ];
    assert_eq!(switch.table["10.122.255.1/32"], anycast);
    assert_eq!(switch.table["10.121.1.2/31"], [path(None, "", true)]);
}

#[test]
fn an_affinity_is_read_from_its_key() {
    let read = |key| read_affinity(key).map(|(block, owner)| format!("{owner} {block}"));
    assert_eq!(read("/calico/ipam/v2/host/worker1/ipv4/block/10.123.161.192-26").unwrap(), "worker1 10.123.161.192/26");
    assert_eq!(read("/calico/ipam/v2/host/w-2/ipv6/block/fd00::21c0-122").unwrap(), "w-2 fd00::21c0/122");
    assert_eq!(read(""), None);
}

#[test]
fn ping_and_traceroute_are_read() {
    let good = "3 packets transmitted, 3 received, 0% packet loss, time 40ms\nrtt min/avg/max/mdev = 0.069/0.142/0.215/0.073 ms\n";
    assert_eq!(read_ping(good), Some(0.142));
    assert_eq!(read_ping(&good.replace(" 0%", " 33%")), None);
    assert_eq!(read_ping(&good.replace(" 0%", " 100%")), None);
    assert_eq!(read_ping("ping: local error: message too long, mtu=1400"), None);
    let trace = "traceroute to 10.1.1.1 (10.1.1.1), 8 hops max\n 1  10.0.0.1  0.1 ms\n 2  *\n 3  10.1.1.1  0.2 ms\n";
    assert_eq!(read_trace(trace, "10.1.1.1".parse().unwrap()), Some(3));
    assert_eq!(read_trace(trace, "10.1.1.2".parse().unwrap()), None);
    assert_eq!(complaint("one\n two \n\n"), "two");
}
