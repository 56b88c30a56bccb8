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
struct Node {
    dataplane: Dataplane,
    driver: Driver,
    events: Receiver<Vec<KernelEvent>>,
    now: Duration,
    marks: u32,
}

impl Node {
    /// With a source for each family on `lo`, and everything allowed.
    async fn start() -> Self {
        let (driver, events) = Driver::open().await.expect("netlink");
        let dataplane = Dataplane::new(Settings::default(), Duration::ZERO);
        let mut node = Self { dataplane, driver, events, now: Duration::ZERO, marks: 0 };
        let own = |addr: &str, len| AddressWant { addr: ip(addr), len, scope: Scope::Global, deprecated: false };
        node.dataplane.set_addresses(BTreeSet::from([own("10.9.9.9", 32), own("fd00:9::9", 128)]));
        node
    }

    fn sweep(&mut self) {
        for what in [Sweep::Addresses, Sweep::Static, Sweep::Learned] {
            self.dataplane.allow_sweep(what);
        }
    }

    fn want(&mut self, prefix: &str, hops: &[Hop], source: Option<&str>) {
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
    async fn catch_up(&mut self) {
        self.marks += 1;
        let mark = format!("192.0.2.{}", self.marks);
        ip_run(&["addr", "add", &mark, "dev", "lo"]);
        while !self.dataplane.addresses().any(|a| a.addr == ip(&mark)) {
            self.take().await;
        }
    }

    /// Carries out plans, with dumps where they are asked for, and a last dump to see that nothing is left to do.
    async fn settle(&mut self) {
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

    fn mirrored(&self) -> BTreeMap<RouteKey, Route> {
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
