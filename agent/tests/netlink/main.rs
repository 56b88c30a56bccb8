//! The netlink driver against the real kernel, each test in a network namespace of its own, cross-checked with `ip -j`.
//!
//! Needs root (CAP_SYS_ADMIN for the namespace) and iproute2.
#![allow(clippy::expect_used, clippy::panic, reason = "the functions that tests share fail like tests")]

use std::collections::BTreeMap;

use petiole_node::dataplane::ident::ADDRESS_PROTOCOL;
use petiole_node::dataplane::{Address, Hop, KernelEvent, Put, Route, RouteKind, Scope, Step};

mod lab;
mod mirror;
mod unnumbered;

use lab::*;

#[test]
fn routes_of_every_kind_read_back_as_written() {
    in_namespace(async {
        uplinks();
        let mut lab = Lab::open().await;
        lab.dump().await;
        let (one, two) = (lab.link("up1"), lab.link("up2"));
        let source = Some(ip("10.9.9.9"));
        lab.ok(vec![add(&lab, "10.9.9.9", 32, Scope::Global), add(&lab, "fd00:9::9", 128, Scope::Global)]).await;
        let routes = [
            main("10.20.0.0/26", unicast(source, &[hop("10.1.0.2", one)])),
            main("10.20.1.0/26", unicast(source, &[hop("10.1.0.2", one), hop("10.2.0.2", two)])),
            main("10.20.2.0/26", unicast(None, &[hop("fd00:1::2", one)])),
            main("10.20.3.0/26", unicast(None, &[hop("10.1.0.2", one), hop("fd00:2::2", two)])),
            main("10.20.4.0/26", ours(RouteKind::Blackhole, None, &[])),
            main("0.0.0.0/0", unicast(source, &[hop("10.1.0.2", one)])),
            main("10.20.5.0/24", unicast(None, &[Hop { gateway: None, link: one }])),
            local("10.30.0.0/17"),
            main("fd00:20::/122", unicast(Some(ip("fd00:9::9")), &[hop("fd00:1::2", one)])),
            main("fd00:21::/122", unicast(Some(ip("fd00:9::9")), &[hop("fd00:1::2", one), hop("fd00:2::2", two)])),
            main("fd00:22::/122", ours(RouteKind::Blackhole, None, &[])),
            main("::/0", unicast(None, &[hop("fd00:1::2", one)])),
            main("fd00:23::/64", unicast(None, &[Hop { gateway: None, link: one }])),
            local("fd00:30::/112"),
        ];
        lab.ok(routes.iter().map(|(k, r)| Step::PutRoute(*k, r.clone(), Put::Create)).collect()).await;
        lab.dump().await;
        assert_eq!(lab.ours(), routes.iter().cloned().collect());

        let shown = ip_json(&["-4", "route", "show", "table", "main", "proto", "179"]);
        let multi = find(&shown, "10.20.1.0/26");
        assert_eq!(multi["nexthops"].as_array().map(Vec::len), Some(2), "{multi}");
        assert_eq!(multi["prefsrc"], "10.9.9.9");
        assert_eq!(find(&shown, "10.20.4.0/26")["type"], "blackhole");
        let shown = ip_json(&["-6", "route", "show", "table", "main", "proto", "179"]);
        assert_eq!(find(&shown, "fd00:21::/122")["nexthops"].as_array().map(Vec::len), Some(2));
        assert_eq!(ip_json(&["-4", "route", "show", "table", "local", "proto", "179"])[0]["type"], "local");

        // The ranges are this node's: IPv4 even lets a socket bind inside; IPv6 delivers only.
        std::net::UdpSocket::bind("10.30.1.2:0").expect("inside the local range");
        assert_eq!(ip_json(&["-6", "route", "get", "fd00:30::2"])[0]["type"], "local");

        lab.ok(routes.iter().map(|(k, r)| Step::DeleteRoute(*k, r.clone())).collect()).await;
        lab.dump().await;
        assert_eq!(lab.ours(), BTreeMap::new());
    });
}

#[test]
fn a_replace_is_one_step_in_both_families() {
    in_namespace(async {
        uplinks();
        let mut lab = Lab::open().await;
        lab.dump().await;
        let (one, two) = (lab.link("up1"), lab.link("up2"));
        for (prefix, a, b) in [("10.20.0.0/26", "10.1.0.2", "10.2.0.2"), ("fd00:20::/122", "fd00:1::2", "fd00:2::2")] {
            let values = [
                unicast(None, &[hop(a, one)]),
                unicast(None, &[hop(a, one), hop(b, two)]),
                unicast(None, &[hop(b, two)]),
                ours(RouteKind::Blackhole, None, &[]),
                unicast(None, &[hop(a, one), hop(b, two)]),
                unicast(None, &[Hop { gateway: None, link: two }]),
                unicast(None, &[hop(b, two)]),
            ];
            for from in &values {
                for to in &values {
                    let key = main(prefix, from.clone()).0;
                    lab.ok(vec![Step::PutRoute(key, from.clone(), Put::Create)]).await;
                    let watch = IpMonitor::start();
                    lab.ok(vec![Step::PutRoute(key, to.clone(), Put::Replace)]).await;
                    lab.dump().await;
                    assert_eq!(lab.ours(), BTreeMap::from([(key, to.clone())]), "{from:?} to {to:?}");
                    let told = watch.stop();
                    assert!(!told.iter().any(|l| l.contains("Deleted")), "{from:?} to {to:?}: {told:?}");
                    lab.ok(vec![Step::DeleteRoute(key, to.clone())]).await;
                }
            }
        }
        lab.dump().await;
        assert_eq!(lab.ours(), BTreeMap::new());
    });
}

#[test]
fn a_foreign_route_with_our_key_is_refused_and_survives_a_delete() {
    in_namespace(async {
        uplinks();
        let mut lab = Lab::open().await;
        lab.dump().await;
        let one = lab.link("up1");
        ip_run(&["-4", "route", "add", "10.20.0.0/26", "via", "10.1.0.9", "metric", "1024", "proto", "static"]);
        ip_run(&["-6", "route", "add", "fd00:20::/122", "via", "fd00:1::9", "metric", "1024", "proto", "static"]);
        for (prefix, gateway) in [("10.20.0.0/26", "10.1.0.2"), ("fd00:20::/122", "fd00:1::2")] {
            let (key, route) = main(prefix, unicast(None, &[hop(gateway, one)]));
            let results = lab
                .apply(vec![Step::PutRoute(key, route.clone(), Put::Create), Step::DeleteRoute(key, route.clone())])
                .await;
            assert_eq!(results.iter().map(errno).collect::<Vec<_>>(), [17, 3], "{results:?}");
        }
        lab.dump().await;
        assert_eq!(lab.ours(), BTreeMap::new());
        let foreign: Vec<_> = lab.foreign().map(|(k, r)| (k.prefix.to_string(), r.protocol)).collect();
        assert_eq!(foreign, [("10.20.0.0/26".to_owned(), 4), ("fd00:20::/122".to_owned(), 4)]);
    });
}

#[test]
fn every_step_of_a_batch_gets_its_own_answer_in_the_kernels_words() {
    in_namespace(async {
        uplinks();
        let mut lab = Lab::open().await;
        lab.dump().await;
        let one = lab.link("up1");
        // Two batches and a bit; every seventh next hop is on no network that the node is on.
        let steps: Vec<Step> = (0..600)
            .map(|i| {
                let gateway = if i % 7 == 0 { "192.0.2.1" } else { "10.1.0.2" };
                let (key, route) =
                    main(&format!("10.{}.{}.0/24", 100 + i / 256, i % 256), unicast(None, &[hop(gateway, one)]));
                Step::PutRoute(key, route, Put::Create)
            })
            .collect();
        let results = lab.apply(steps).await;
        assert_eq!(results.len(), 600);
        for (i, result) in results.iter().enumerate() {
            assert_eq!(errno(result), if i % 7 == 0 { 101 } else { 0 }, "step {i}: {result:?}");
        }
        let words = results[0].as_ref().expect_err("refused").to_string();
        assert!(words.contains("Nexthop has invalid gateway"), "{words}");
        lab.dump().await;
        assert_eq!(lab.ours().len(), 600 - 600_usize.div_ceil(7));
    });
}

#[test]
fn addresses_carry_our_mark_scope_and_lifetime() {
    in_namespace(async {
        uplinks();
        ip_run(&["addr", "add", "10.7.7.7/32", "dev", "lo"]);
        let mut lab = Lab::open().await;
        lab.dump().await;
        let anycast = Address { scope: Scope::Link, ..address(&lab, "10.122.255.1", 32) };
        let range = Address { scope: Scope::Link, ..address(&lab, "10.123.0.0", 17) };
        let anycast6 = Address { deprecated: true, ..address(&lab, "fd00:122:ffff::1", 128) };
        let all = [address(&lab, "10.122.0.11", 32), address(&lab, "fd00:122::11", 128), anycast, range, anycast6];
        lab.ok(all.iter().cloned().map(Step::AddAddress).collect()).await;
        lab.dump().await;
        for address in &all {
            assert!(lab.addresses().any(|a| a == address), "{address:?} in {:?}", lab.addresses().collect::<Vec<_>>());
        }
        let shown = ip_json(&["addr", "show", "dev", "lo"]);
        let infos = shown[0]["addr_info"].as_array().expect("addresses");
        let named = |a: &str| infos.iter().find(|i| i["local"] == a).unwrap_or_else(|| panic!("{a} in {infos:?}"));
        assert_eq!(named("10.122.255.1")["scope"], "link");
        assert_eq!(named("10.123.0.0")["prefixlen"], 17);
        assert_eq!(named("fd00:122:ffff::1")["deprecated"], true);
        assert_eq!(lab.addresses().find(|a| a.addr == ip("10.7.7.7")).expect("theirs").protocol, 0);
        std::net::UdpSocket::bind("10.123.79.211:0").expect("inside the range");

        let twice = lab.apply(vec![Step::AddAddress(all[0].clone())]).await;
        assert_eq!(errno(&twice[0]), 17);
        lab.ok(all.iter().cloned().map(Step::DeleteAddress).collect()).await;
        let twice = lab.apply(vec![Step::DeleteAddress(all[0].clone())]).await;
        assert_eq!(errno(&twice[0]), 99);
        lab.dump().await;
        assert!(!lab.addresses().any(|a| a.protocol == ADDRESS_PROTOCOL));
    });
}

#[test]
fn others_changes_are_told_and_our_own_are_not() {
    in_namespace(async {
        uplinks();
        let mut lab = Lab::open().await;
        lab.dump().await;
        let one = lab.link("up1");
        let (key, route) = main("10.20.0.0/26", unicast(None, &[hop("10.1.0.2", one)]));
        lab.ok(vec![Step::PutRoute(key, route.clone(), Put::Create)]).await;
        ip_run(&["route", "replace", "10.20.0.0/26", "via", "10.1.0.7", "metric", "1024", "proto", "179"]);
        let changed = Route { hops: vec![hop("10.1.0.7", one)], ..route.clone() };
        assert_eq!(lab.next_route().await, KernelEvent::RouteReplaced(key, changed.clone()), "ours was not told");
        ip_run(&["route", "del", "10.20.0.0/26", "metric", "1024"]);
        assert_eq!(lab.next_route().await, KernelEvent::RouteGone(key, changed));

        ip_run(&[
            "-6",
            "route",
            "add",
            "fd00:20::/122",
            "metric",
            "1024",
            "proto",
            "static",
            "nexthop",
            "via",
            "fd00:1::2",
            "nexthop",
            "via",
            "fd00:2::2",
        ]);
        let KernelEvent::Route(key6, route6) = lab.next_route().await else { panic!("a new route") };
        assert_eq!((key6.prefix.to_string().as_str(), route6.hops.len()), ("fd00:20::/122", 2));
        ip_run(&["-6", "route", "del", "fd00:20::/122", "via", "fd00:2::2"]);
        let KernelEvent::RouteGone(_, gone) = lab.next_route().await else { panic!("a hop is gone") };
        assert_eq!(gone.hops.iter().map(|h| h.gateway).collect::<Vec<_>>(), [Some(ip("fd00:2::2"))]);

        ip_run(&["addr", "add", "10.8.8.8/32", "dev", "lo"]);
        let told = lab.wait(|e| matches!(e, KernelEvent::Address(a) if a.addr == ip("10.8.8.8"))).await;
        assert!(matches!(told, KernelEvent::Address(a) if a.len == 32));
        ip_run(&["link", "set", "up1", "down"]);
        lab.wait(|e| matches!(e, KernelEvent::Link(l) if l.name == "up1" && !l.up)).await;
        ip_run(&["link", "del", "up1"]);
        lab.wait(|e| matches!(e, KernelEvent::LinkGone(index) if *index == one)).await;
    });
}

#[test]
fn a_flood_that_overruns_the_buffer_is_told() {
    in_namespace(async {
        uplinks();
        let mut lab = Lab::open().await;
        lab.dump().await;
        // Nobody reads meanwhile: this thread is busy, and it is the runtime's only one.
        let batch: String = (0..60_000)
            .map(|i| format!("route add blackhole 10.{}.{}.{}/32\n", 100 + (i >> 16), (i >> 8) & 255, i & 255))
            .collect();
        ip_batch(&batch);
        lab.wait(|e| *e == KernelEvent::Overrun).await;
        lab.dump().await;
        assert_eq!(lab.foreign().count(), 60_000);
    });
}
