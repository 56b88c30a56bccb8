//! A network namespace per test, the driver in it, and `ip` to check against.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use petiole::io::netlink::Driver;
use petiole_node::dataplane::ident::{ADDRESS_PROTOCOL, METRIC_LEARNED, ROUTE_PROTOCOL, TABLE_LOCAL, TABLE_MAIN};
use petiole_node::dataplane::{
    Address, Hop, KernelEvent, Plan, PlanId, Route, RouteKey, RouteKind, Scope, Step, StepResult,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use serde_json::Value;
use tokio::sync::mpsc::Receiver;

/// Runs the future on a thread of its own, in a new network namespace that ends with the thread.
pub(crate) fn in_namespace(test: impl Future<Output = ()> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        enter_namespace();
        ip_run(&["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), test).await.expect("finished in time");
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[expect(unsafe_code, reason = "unshare is unsafe for the descriptor table only, which is not unshared here")]
pub(crate) fn enter_namespace() {
    // SAFETY: only the network namespace of this thread is unshared: no memory or descriptor changes hands.
    let entered = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
    entered.expect("these tests make network namespaces: run them as root");
}

/// Two uplinks, each with one end of a veth and both families.
pub(crate) fn uplinks() {
    for n in ["1", "2"] {
        let (up, peer) = (format!("up{n}"), format!("leaf{n}"));
        ip_run(&["link", "add", &up, "type", "veth", "peer", "name", &peer]);
        ip_run(&["link", "set", &peer, "up"]);
        ip_run(&["link", "set", &up, "up"]);
        ip_run(&["addr", "add", &format!("10.{n}.0.1/24"), "dev", &up]);
        ip_run(&["-6", "addr", "add", &format!("fd00:{n}::1/64"), "dev", &up, "nodad"]);
    }
}

pub(crate) struct Lab {
    driver: Driver,
    events: Receiver<Vec<KernelEvent>>,
    waiting: VecDeque<KernelEvent>,
    /// What the last dump told.
    dump: Vec<KernelEvent>,
    plans: u64,
}

impl Lab {
    pub(crate) async fn open() -> Self {
        let (driver, events) = Driver::open().await.expect("netlink");
        Self { driver, events, waiting: [].into(), dump: Vec::new(), plans: 0 }
    }

    pub(crate) async fn next(&mut self) -> KernelEvent {
        while self.waiting.is_empty() {
            self.waiting.extend(self.events.recv().await.expect("the driver lives"));
        }
        self.waiting.pop_front().expect("not empty")
    }

    pub(crate) async fn wait(&mut self, wanted: impl Fn(&KernelEvent) -> bool) -> KernelEvent {
        loop {
            let event = self.next().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    pub(crate) async fn next_route(&mut self) -> KernelEvent {
        self.wait(|e| matches!(e, KernelEvent::Route(..) | KernelEvent::RouteReplaced(..) | KernelEvent::RouteGone(..)))
            .await
    }

    pub(crate) async fn dump(&mut self) {
        self.driver.dump();
        self.wait(|e| *e == KernelEvent::DumpBegin).await;
        self.dump.clear();
        loop {
            match self.next().await {
                KernelEvent::DumpBegin => self.dump.clear(),
                KernelEvent::DumpEnd => return,
                event => self.dump.push(event),
            }
        }
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = (RouteKey, Route)> {
        self.dump.iter().filter_map(|e| match e {
            KernelEvent::Route(k, r) => Some((*k, r.clone())),
            _ => None,
        })
    }

    pub(crate) fn ours(&self) -> BTreeMap<RouteKey, Route> {
        self.routes().filter(|(_, r)| r.protocol == ROUTE_PROTOCOL).collect()
    }

    pub(crate) fn foreign(&self) -> impl Iterator<Item = (RouteKey, Route)> {
        self.routes().filter(|(_, r)| r.protocol != ROUTE_PROTOCOL)
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.dump.iter().filter_map(|e| match e {
            KernelEvent::Address(a) => Some(a),
            _ => None,
        })
    }

    pub(crate) fn link(&self, name: &str) -> u32 {
        let found = self.dump.iter().find_map(|e| match e {
            KernelEvent::Link(l) if l.name == name => Some(l),
            _ => None,
        });
        let link = found.unwrap_or_else(|| panic!("{name} in {:?}", self.dump));
        assert!(link.up && link.mtu > 0, "{link:?}");
        link.index
    }

    pub(crate) async fn apply(&mut self, steps: Vec<Step>) -> Vec<StepResult> {
        self.plans += 1;
        let id = PlanId(self.plans);
        let count = steps.len();
        let (done, results) = self.driver.apply(Plan { id, steps }).await;
        assert_eq!((done, results.len()), (id, count));
        results
    }

    pub(crate) async fn ok(&mut self, steps: Vec<Step>) {
        for (step, result) in steps.clone().iter().zip(self.apply(steps).await) {
            assert_eq!(result, Ok(()), "{step:?}");
        }
    }
}

/// `ip monitor route` over a stretch of a test.
pub(crate) struct IpMonitor {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
    marks: u8,
}

impl IpMonitor {
    pub(crate) fn start() -> Self {
        let mut child = Command::new("ip")
            .args(["monitor", "route"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("iproute2 is installed");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|l| send.send(l)));
        let mut this = Self { child, lines, marks: 0 };
        this.until_marked();
        this
    }

    /// What it told since the start.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let told = self.until_marked();
        self.child.kill().expect("killed");
        self.child.wait().expect("waited");
        told
    }

    /// Makes a route in a table that no test uses until the monitor tells of it; returns what it told before.
    pub(crate) fn until_marked(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            self.marks += 1;
            let mark = format!("192.0.2.{}", self.marks);
            ip_run(&["route", "replace", "blackhole", &mark, "table", "99"]);
            while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(100)) {
                if line.contains(&mark) {
                    ip_run(&["route", "flush", "table", "99"]);
                    return told;
                }
                if !line.contains("table 99") {
                    told.push(line);
                }
            }
        }
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn hop(gateway: &str, link: u32) -> Hop {
    Hop { gateway: Some(ip(gateway)), link }
}

pub(crate) fn ours(kind: RouteKind, prefsrc: Option<IpAddr>, hops: &[Hop]) -> Route {
    let mut hops = hops.to_vec();
    hops.sort_unstable();
    Route { kind, protocol: ROUTE_PROTOCOL, prefsrc, hops }
}

pub(crate) fn unicast(prefsrc: Option<IpAddr>, hops: &[Hop]) -> Route {
    ours(RouteKind::Unicast, prefsrc, hops)
}

pub(crate) fn main(prefix: &str, route: Route) -> (RouteKey, Route) {
    (RouteKey { prefix: prefix.parse().expect("a prefix"), table: TABLE_MAIN, metric: METRIC_LEARNED }, route)
}

pub(crate) fn local(prefix: &str) -> (RouteKey, Route) {
    let prefix = prefix.parse().expect("a prefix");
    (RouteKey { prefix, table: TABLE_LOCAL, metric: METRIC_LEARNED }, ours(RouteKind::Local, None, &[]))
}

pub(crate) fn address(lab: &Lab, addr: &str, len: u8) -> Address {
    let link = lab.link("lo");
    Address { link, addr: ip(addr), len, scope: Scope::Global, deprecated: false, protocol: ADDRESS_PROTOCOL }
}

pub(crate) fn add(lab: &Lab, addr: &str, len: u8, scope: Scope) -> Step {
    Step::AddAddress(Address { scope, ..address(lab, addr, len) })
}

pub(crate) fn errno(result: &StepResult) -> i32 {
    result.as_ref().err().map_or(0, |e| e.errno)
}

pub(crate) fn ip_run(args: &[&str]) {
    let out = Command::new("ip").args(args).output().expect("iproute2 is installed");
    assert!(out.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

pub(crate) fn ip_batch(text: &str) {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    assert!(child.wait().expect("waited").success());
}

pub(crate) fn ip_json(args: &[&str]) -> Value {
    let out = Command::new("ip").arg("-j").args(args).output().expect("iproute2 is installed");
    assert!(out.status.success(), "ip -j {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

pub(crate) fn find<'a>(routes: &'a Value, dst: &str) -> &'a Value {
    let list = routes.as_array().expect("a list");
    list.iter().find(|r| r["dst"] == dst).unwrap_or_else(|| panic!("{dst} in {routes}"))
}

/// Like [`ip_run`], where it does not matter whether there is anything to do.
pub(crate) fn ip_try(args: &[&str]) {
    Command::new("ip").args(args).stderr(Stdio::null()).status().expect("iproute2 is installed");
}
