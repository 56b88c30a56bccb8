//! Uplinks without addresses: IPv4 routes by way of link-local IPv6 gateways (`RTA_VIA`).

use std::collections::BTreeMap;

use petiole_node::dataplane::{Hop, Put, Step};

use super::lab::*;
use super::mirror::Node;

/// Two uplinks with their link-local addresses and no other.
fn uplinks() {
    for n in ["1", "2"] {
        let (up, peer) = (format!("up{n}"), format!("leaf{n}"));
        ip_run(&["link", "add", &up, "type", "veth", "peer", "name", &peer]);
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{up}/accept_dad"), "0").expect("a sysctl");
        ip_run(&["link", "set", &peer, "up"]);
        ip_run(&["link", "set", &up, "up"]);
    }
}

fn hops(lab: &Lab) -> (Hop, Hop) {
    (hop("fe80::11", lab.link("up1")), hop("fe80::12", lab.link("up2")))
}

fn want_all(node: &mut Node, (one, two): (Hop, Hop)) {
    for (v4, v6, over) in [(20, "a", vec![one]), (21, "b", vec![one, two]), (22, "c", vec![two])] {
        for (n, source, source6) in [(0, None, None), (1, Some("10.9.9.9"), Some("fd00:9::9"))] {
            node.want(&format!("10.{v4}.{n}.0/26"), &over, source);
            node.want(&format!("fd00:{v6}:{n}::/122"), &over, source6);
        }
    }
}

#[test]
fn rfc8950_ipv4_routes_with_link_local_gateways_read_back_as_written() {
    in_namespace(async {
        uplinks();
        let mut lab = Lab::open().await;
        lab.dump().await;
        let (one, two) = hops(&lab);
        let routes = [main("10.20.0.0/26", unicast(None, &[one])), main("10.20.1.0/26", unicast(None, &[one, two]))];
        lab.ok(routes.iter().map(|(k, r)| Step::PutRoute(*k, r.clone(), Put::Create)).collect()).await;
        lab.dump().await;
        assert_eq!(lab.ours(), routes.iter().cloned().collect());
        let shown = ip_json(&["-4", "route", "show", "proto", "179"]);
        assert_eq!(find(&shown, "10.20.0.0/26")["via"], serde_json::json!({"family": "inet6", "host": "fe80::11"}));
        for hop in find(&shown, "10.20.1.0/26")["nexthops"].as_array().expect("two") {
            assert_eq!(hop["via"]["family"], "inet6", "{hop}");
        }
        // Replaced in one step, also from one way to two.
        let (key, _) = routes[0].clone();
        lab.ok(vec![Step::PutRoute(key, unicast(None, &[one, two]), Put::Replace)]).await;
        lab.dump().await;
        assert_eq!(lab.ours()[&key].hops.len(), 2);
        lab.ok(routes.iter().map(|(k, r)| Step::DeleteRoute(*k, r.clone())).collect()).await;
        lab.dump().await;
        assert_eq!(lab.ours(), BTreeMap::new());
    });
}

#[test]
fn what_the_kernel_drops_with_an_unnumbered_link_is_dropped_from_the_mirror() {
    let changes: [&[&[&str]]; 7] = [
        &[&["link", "set", "up1", "down"]],
        &[&["link", "set", "up1", "down"], &["link", "set", "up2", "down"]],
        &[&["link", "del", "up1"]],
        &[&["link", "set", "leaf1", "down"]],
        &[&["link", "set", "leaf1", "down"], &["link", "set", "leaf1", "up"]],
        &[&["link", "set", "up1", "down"], &["link", "set", "up1", "up"]],
        &[&["addr", "flush", "dev", "up1"]],
    ];
    for change in changes {
        in_namespace(async move {
            uplinks();
            let mut lab = Lab::open().await;
            lab.dump().await;
            let mut node = Node::start().await;
            node.settle().await;
            want_all(&mut node, hops(&lab));
            node.settle().await;
            assert_eq!(node.mirrored().len(), 12);
            for step in change {
                ip_run(step);
            }
            node.catch_up().await;
            lab.dump().await;
            assert_eq!(node.mirrored(), lab.ours(), "after {change:?}");
        });
    }
}

#[test]
fn a_restart_writes_nothing_that_is_there() {
    in_namespace(async {
        uplinks();
        let mut lab = Lab::open().await;
        lab.dump().await;
        let mut node = Node::start().await;
        want_all(&mut node, hops(&lab));
        node.sweep();
        node.settle().await;
        drop(node);

        let watch = IpMonitor::start();
        let mut node = Node::start().await;
        node.settle().await;
        want_all(&mut node, hops(&lab));
        node.settle().await;
        node.sweep();
        node.settle().await;
        assert_eq!(watch.stop(), Vec::<String>::new(), "all of it was adopted");
        lab.dump().await;
        assert_eq!(lab.ours().len(), 12);
    });
}
