//! The dataplane on the real kernel: what it works out without being told, and that it ends up right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use petiole::io::netlink::Driver;
use petiole_node::dataplane::{
    AddressWant, Dataplane, Hop, KernelEvent, LearnedRoute, Route, RouteKey, RouteState, Scope, Settings, Sweep,
};
use tokio::sync::mpsc::Receiver;

use super::lab::*;

/// A node's kernel side: the brain and the driver, without the rest.
pub(crate) struct Node {
    pub(crate) dataplane: Dataplane,
    driver: Driver,
    events: Receiver<Vec<KernelEvent>>,
    now: Duration,
    marks: u32,
}

impl Node {
    /// With a source for each family on `lo`, and everything allowed.
    pub(crate) async fn start() -> Self {
        let (driver, events) = Driver::open().await.expect("netlink");
        let dataplane = Dataplane::new(Settings::default(), Duration::ZERO);
        let mut node = Self { dataplane, driver, events, now: Duration::ZERO, marks: 0 };
        let own = |addr: &str, len| AddressWant { addr: ip(addr), len, scope: Scope::Global, deprecated: false };
        node.dataplane.set_addresses(BTreeSet::from([own("10.9.9.9", 32), own("fd00:9::9", 128)]));
        node
    }

    pub(crate) fn sweep(&mut self) {
        for what in [Sweep::Addresses, Sweep::Static, Sweep::Learned] {
            self.dataplane.allow_sweep(what);
        }
    }

    pub(crate) fn want(&mut self, prefix: &str, hops: &[Hop], source: Option<&str>) {
        let learned = LearnedRoute { hops: hops.to_vec(), prefsrc: source.map(ip) };
        self.dataplane.update_learned([(prefix.parse().expect("a prefix"), Some(learned))]);
    }

    async fn take(&mut self) -> bool {
        let batch = self.events.recv().await.expect("the driver lives");
        let done = batch.contains(&KernelEvent::DumpEnd);
        for event in batch {
            self.dataplane.handle_event(event, self.now);
        }
        done
    }

    /// Reads the notifications of everything that was done so far: that of a last address on `lo` ends them.
    pub(crate) async fn catch_up(&mut self) {
        self.marks += 1;
        let mark = format!("192.0.2.{}", self.marks);
        ip_run(&["addr", "add", &mark, "dev", "lo"]);
        while !self.dataplane.addresses().any(|a| a.addr == ip(&mark)) {
            self.take().await;
        }
    }

    /// Carries out plans, with dumps where they are asked for, and a last dump to see that nothing is left to do.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..50 {
            while let Some(plan) = self.dataplane.poll_plan(self.now) {
                let (id, results) = self.driver.apply(plan).await;
                self.dataplane.handle_done(id, results, self.now);
            }
            self.dataplane.poll_dump_wanted();
            self.driver.dump();
            while !self.take().await {}
            if self.dataplane.in_sync() {
                return;
            }
            self.now += Duration::from_secs(1);
            self.dataplane.handle_timeout(self.now);
        }
        panic!("does not settle: {:?}", self.dataplane.problems());
    }

    pub(crate) fn mirrored(&self) -> BTreeMap<RouteKey, Route> {
        self.dataplane.observed_routes().filter(|(_, r)| r.protocol == 179).map(|(k, r)| (k, r.clone())).collect()
    }
}

#[test]
fn what_the_kernel_drops_without_a_word_is_dropped_from_the_mirror() {
    // One, two and three ways out; then what is done to the world.
    let changes: [&[&[&str]]; 8] = [
        &[&["link", "set", "up1", "down"]],
        &[&["link", "set", "up1", "down"], &["link", "set", "up2", "down"]],
        &[&["link", "del", "up1"]],
        &[&["link", "set", "leaf1", "down"]],
        &[&["link", "set", "leaf1", "down"], &["link", "set", "leaf1", "up"]],
        &[&["link", "set", "up1", "down"], &["link", "set", "up1", "up"]],
        &[&["addr", "del", "10.9.9.9/32", "dev", "lo"], &["addr", "del", "fd00:9::9/128", "dev", "lo"]],
        &[&["addr", "del", "10.1.0.1/24", "dev", "up1"], &["addr", "del", "fd00:1::1/64", "dev", "up1"]],
    ];
    for change in changes {
        in_namespace(async move {
            uplinks();
            let mut lab = Lab::open().await;
            lab.dump().await;
            let (one, two) = (lab.link("up1"), lab.link("up2"));
            let mut node = Node::start().await;
            node.settle().await;
            let (a, b) = (hop("10.1.0.2", one), hop("10.2.0.2", two));
            let (a6, b6) = (hop("fd00:1::2", one), hop("fd00:2::2", two));
            for (n, source) in [(0, None), (1, Some("10.9.9.9"))] {
                node.want(&format!("10.20.{n}.0/26"), &[a], source);
                node.want(&format!("10.21.{n}.0/26"), &[a, b], source);
                node.want(&format!("10.22.{n}.0/26"), &[b], source);
            }
            for (n, source) in [(0, None), (1, Some("fd00:9::9"))] {
                node.want(&format!("fd00:20:{n}::/122"), &[a6], source);
                node.want(&format!("fd00:21:{n}::/122"), &[a6, b6], source);
                node.want(&format!("fd00:22:{n}::/122"), &[b6], source);
            }
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
fn a_hundred_random_changes_leave_the_kernel_as_wanted_and_foreign_routes_alone() {
    in_namespace(async {
        uplinks();
        ip_run(&["route", "add", "default", "via", "10.1.0.254", "metric", "4096", "proto", "dhcp"]);
        ip_run(&["route", "add", "10.20.3.0/26", "via", "10.2.0.254", "metric", "1024", "proto", "static"]);
        ip_run(&["-6", "route", "add", "fd00:20:3::/122", "via", "fd00:2::254", "metric", "1024", "proto", "static"]);
        let mut lab = Lab::open().await;
        lab.dump().await;
        let links = [lab.link("up1"), lab.link("up2")];
        let theirs: BTreeMap<RouteKey, Route> = lab.foreign().collect();
        assert_eq!(theirs.len(), 3);
        let mut node = Node::start().await;
        node.sweep();
        let mut wanted: BTreeMap<String, Vec<Hop>> = BTreeMap::new();
        let mut dice = Dice(20_260_817);
        for round in 0..100 {
            let v6 = dice.below(2) == 0;
            let prefix = match (dice.below(8), v6) {
                (0, false) => "0.0.0.0/0".to_owned(),
                (0, true) => "::/0".to_owned(),
                (n, false) => format!("10.20.{n}.0/26"),
                (n, true) => format!("fd00:20:{n}::/122"),
            };
            let family = if v6 { "-6" } else { "-4" };
            match dice.below(10) {
                0..=4 => {
                    let gateway = |n: usize| ip(&if v6 { format!("fd00:{n}::2") } else { format!("10.{n}.0.2") });
                    let ways: &[usize] = [&[1][..], &[2], &[1, 2]][dice.below(3)];
                    let hops: Vec<Hop> =
                        ways.iter().map(|&n| Hop { gateway: Some(gateway(n)), link: links[n - 1] }).collect();
                    node.want(&prefix, &hops, Some(if v6 { "fd00:9::9" } else { "10.9.9.9" }));
                    wanted.insert(prefix, hops);
                }
                5 => {
                    node.dataplane.update_learned([(prefix.parse().expect("a prefix"), None)]);
                    wanted.remove(&prefix);
                }
                6 => ip_try(&[family, "route", "del", &prefix, "proto", "179"]),
                // Theirs are for their owners to change.
                7 if prefix.contains(":3::") || prefix.contains(".3.") => {}
                7 => ip_try(&[family, "route", "change", &prefix, "dev", "up2", "metric", "1024", "proto", "179"]),
                8 => {
                    ip_run(&["link", "set", "up1", "down"]);
                    if dice.below(2) == 0 {
                        node.settle().await;
                    }
                    ip_run(&["link", "set", "up1", "up"]);
                    ip_try(&["-6", "addr", "add", "fd00:1::1/64", "dev", "up1", "nodad"]);
                    // The fall takes foreign routes over it, as it would without us; here their owners put them back.
                    ip_try(&["route", "add", "default", "via", "10.1.0.254", "metric", "4096", "proto", "dhcp"]);
                }
                _ => ip_try(&["addr", "del", "10.9.9.9/32", "dev", "lo"]),
            }
            if dice.below(3) != 0 && round != 99 {
                continue;
            }
            node.settle().await;
            lab.dump().await;
            let expected: BTreeMap<String, Vec<Hop>> = wanted
                .iter()
                .filter(|(p, _)| !theirs.keys().any(|k| k.prefix.to_string() == **p && k.metric == 1024))
                .map(|(p, h)| (p.clone(), h.clone()))
                .collect();
            let held: BTreeMap<String, Vec<Hop>> =
                lab.ours().into_iter().map(|(k, r)| (k.prefix.to_string(), r.hops)).collect();
            assert_eq!(held, expected, "round {round}");
            assert!(lab.ours().values().all(|r| r.prefsrc.is_some()));
            assert_eq!(lab.foreign().collect::<BTreeMap<_, _>>(), theirs, "round {round}");
        }
        assert!(node.dataplane.counters().drift_repaired > 0, "{:?}", node.dataplane.counters());
        let held = node.dataplane.state(&key("10.20.3.0/26"));
        assert!(matches!(held, RouteState::HeldByForeign { .. }), "{held:?}");
    });
}

#[test]
fn a_restart_deletes_nothing_that_is_wanted_again() {
    in_namespace(async {
        uplinks();
        let mut lab = Lab::open().await;
        lab.dump().await;
        let hops = [hop("10.1.0.2", lab.link("up1")), hop("10.2.0.2", lab.link("up2"))];
        let hops6 = [hop("fd00:1::2", lab.link("up1")), hop("fd00:2::2", lab.link("up2"))];
        let wants = |node: &mut Node| {
            for n in 0..50 {
                node.want(&format!("10.20.{n}.0/26"), &hops, Some("10.9.9.9"));
                node.want(&format!("fd00:20:{n}::/122"), &hops6, Some("fd00:9::9"));
            }
        };
        let mut node = Node::start().await;
        wants(&mut node);
        node.want("10.99.0.0/26", &hops, None);
        node.sweep();
        node.settle().await;
        drop(node);

        let watch = IpMonitor::start();
        let mut node = Node::start().await;
        node.settle().await;
        assert_eq!(node.dataplane.state(&key("10.99.0.0/26")), RouteState::Adopted);
        wants(&mut node);
        node.settle().await;
        assert_eq!(watch.stop(), Vec::<String>::new(), "all of it was adopted");
        node.sweep();
        node.settle().await;
        lab.dump().await;
        assert_eq!(lab.ours().len(), 100);
        assert_eq!(node.dataplane.state(&key("10.99.0.0/26")), RouteState::Absent);
    });
}

fn key(prefix: &str) -> RouteKey {
    RouteKey { prefix: prefix.parse().expect("a prefix"), table: 254, metric: 1024 }
}

/// Dice that fall the same way in every run (a linear congruential generator; the constants are Knuth's for MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(bound).expect("small")).expect("below it")
    }
}
