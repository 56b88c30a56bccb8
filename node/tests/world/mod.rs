//! A world around one node, in virtual time: a store, a kernel, and leaves that speak BGP. Shared by the scenarios beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    dead_code,
    unused_macros,
    unreachable_pub
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use petiole_node::BfdReport;
use petiole_node::bfd::{SessionConfig, SessionId};
use petiole_node::bgp::{self, ConnId, LocalConfig, Originated, Ownership, PeerConfig, PeerId, RemoteAsn, Speaker};
use petiole_node::config::Settings;
use petiole_node::dataplane::{
    Address, KernelError, KernelEvent, Link, Route, RouteKey, Scope, Step, StepResult, ident,
};
use petiole_node::kubernetes::{Away, KubernetesAction, KubernetesEvent};
use petiole_node::neighbour::{DiscoveryAction, DiscoveryEvent, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION};
use petiole_node::pods::{CniFailure, CniFault, CniId, CniReply, CniRequest, Endpoint, FoundEndpoints};
use petiole_node::prefix::{Family, Prefix};
use petiole_node::store::memory::Memory;
use petiole_node::store::watch::{WatchAction, WatchEnd, WatchEvent, WatchId};
use petiole_node::store::{Op, StoreError, Txn};
use petiole_node::view::{Answer, Query};
use petiole_node::{Done, Effect, EffectId, Event, GateId, Input, Node, Now, QueryId, Saved};

/// The settings of worker1 on the reference fabric, with sections of the test's own after them: its leaves and its pools.
macro_rules! worker {
    ($sections:literal) => {
        concat!(
            r#"
[node]
name = "worker1"
roles = ["worker"]
router_id = "10.122.0.11"
addresses = ["10.122.0.11/32", "fd00:122::11/128"]

[store]
etcd = { endpoints = ["http://10.122.0.1:2379"] }

[bgp]
asn = 4200000011
"#,
            $sections
        )
    };
}

pub mod cni;

pub const BOOT: &str = "boot-1";

/// The leaf at the other end of an unnumbered link.
pub const LEAF_ON_LINK: &str = "fe80::1";

pub struct World {
    pub node: Node,
    pub now: Duration,
    /// What the wall clock said at `Duration::ZERO`; setting it is what a person or NTP does.
    pub wall: u64,
    pub store: Memory,
    pub store_up: bool,
    watches: BTreeMap<WatchId, (String, i64)>,
    pub kernel: Kernel,
    pub leaves: BTreeMap<IpAddr, Leaf>,
    pub health: BTreeMap<u32, Result<(), String>>,
    pub saved: Option<Saved>,
    /// Nothing can be saved.
    pub disk_full: bool,
    /// The agent was told to end.
    pub ended: bool,
    pub log: Vec<Event>,
    pub txns: usize,
    /// The cluster whose Kubernetes API answers, and its Node objects; `None`: none does.
    pub api: Option<(String, BTreeSet<String>)>,
    /// What was written into the Kubernetes API.
    pub kubernetes: Vec<KubernetesAction>,
    /// Whether that is allowed.
    pub tells: Result<(), Away>,
    /// Who answers router solicitations on every link.
    pub router: Option<Ipv6Addr>,
    /// What the kernel took of BGP's bytes is told only later.
    pub clogged: bool,
    untold: Vec<Input>,
    /// What the driver of router discovery was told, but for the messages.
    pub discovery: Vec<DiscoveryAction>,
    /// The BFD sessions there should be.
    pub bfd: BTreeMap<SessionId, SessionConfig>,
    /// What the kernel is to forward for, each order.
    pub forwards: Vec<petiole_node::forwarding::Wanted>,
    /// Records of endpoints, by the name of the host's end.
    pub records: BTreeMap<String, Endpoint>,
    /// What the agent says of records that it cannot read.
    pub unreadable: Vec<String>,
    /// What the CNI plugin was answered.
    pub cni_replies: BTreeMap<CniId, CniReply>,
    next_cni: u64,
    /// How many effects are still carried out before the agent dies; `None`: it lives.
    pub fuse: Option<usize>,
    /// What the next effects about pods fail with.
    pub pod_fails: Option<CniFailure>,
    /// What the next deletions of a pair fail with.
    pub unwire_fails: Option<CniFailure>,
    /// The store does what it is asked, and is not heard of until [`World::store_answers`].
    pub store_mute: bool,
    /// The words with which the store refuses whatever writes.
    pub store_full: Option<String>,
    unheard: Vec<Input>,
    /// The families of pairs that are begun, by the name of the host's end.
    begun: BTreeMap<String, BTreeSet<Family>>,
    replies: BTreeMap<QueryId, Result<Answer, String>>,
    next_query: u64,
    todo: VecDeque<Input>,
}

#[derive(Default)]
pub struct Kernel {
    pub links: BTreeMap<u32, Link>,
    pub addresses: Vec<Address>,
    pub routes: BTreeMap<RouteKey, Route>,
    /// Every step that was carried out.
    pub steps: Vec<Step>,
    /// Refuse every step with this errno.
    pub refuse: Option<i32>,
}

pub struct Leaf {
    pub speaker: Speaker,
    pub reachable: bool,
    conns: BTreeMap<ConnId, ConnId>,
    next: u64,
    node_end: IpAddr,
}

pub fn settings(text: &str) -> Settings {
    match petiole_node::config::load(text, "test.toml", &petiole_node::config::Facts::new("worker1")) {
        Ok((settings, _)) => settings,
        Err(errors) => panic!("{errors}"),
    }
}

pub fn p(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn address(link: u32, text: &str) -> Address {
    let (addr, len) = text.split_once('/').unwrap();
    let addr = ip(addr);
    let scope = if addr.is_loopback() { Scope::Host } else { Scope::Global };
    Address { link, addr, len: len.parse().unwrap(), scope, deprecated: false, protocol: 0 }
}

impl World {
    /// A node whose interfaces are lo and eth1 (10.122.101.1/31 towards leaf1, 10.122.101.0, AS 65001).
    pub fn new(text: &str) -> Self {
        Self::with(text, Memory::new(), Kernel::fresh(), None)
    }

    pub fn with(text: &str, store: Memory, kernel: Kernel, saved: Option<Saved>) -> Self {
        Self::start(text, Some(store), kernel, saved, BOOT)
    }

    /// An agent that starts while the store is away, in some boot.
    pub fn without_store(text: &str, kernel: Kernel, saved: Option<Saved>, boot: &str) -> Self {
        Self::start(text, None, kernel, saved, boot)
    }

    fn start(text: &str, store: Option<Memory>, kernel: Kernel, saved: Option<Saved>, boot: &str) -> Self {
        let now = Now { mono: Duration::ZERO, wall: 1_795_000_000_000_000_000 };
        let settings = settings(text);
        let mut leaves = BTreeMap::new();
        for peer in settings.bgp.iter().flat_map(|b| &b.peers) {
            let ours = settings.bgp.as_ref().unwrap().asn;
            // On an interface there is a leaf at fe80::1, which sees this node at fe80::2.
            let Some(addr) = peer.neighbour.address() else {
                leaves.insert(ip(LEAF_ON_LINK), Leaf::new(ip(LEAF_ON_LINK), 65001, ip("fe80::2"), ours));
                continue;
            };
            let node_end = kernel
                .addresses
                .iter()
                .find(|a| a.link != 1 && Prefix::truncated(a.addr, a.len).unwrap().contains_addr(addr));
            let node_end = node_end.map_or_else(|| ip("192.0.2.1"), |a| a.addr);
            leaves.insert(addr, Leaf::new(addr, peer.asn.unwrap(), node_end, ours));
        }
        let mut world = Self {
            node: Node::new(settings, [7; 32], now),
            now: Duration::ZERO,
            wall: now.wall,
            store_up: store.is_some(),
            store: store.unwrap_or_default(),
            watches: BTreeMap::new(),
            kernel,
            leaves,
            health: BTreeMap::new(),
            saved: saved.clone(),
            disk_full: false,
            ended: false,
            log: Vec::new(),
            txns: 0,
            api: None,
            kubernetes: Vec::new(),
            tells: Ok(()),
            router: None,
            clogged: false,
            untold: Vec::new(),
            discovery: Vec::new(),
            bfd: BTreeMap::new(),
            records: BTreeMap::new(),
            unreadable: Vec::new(),
            forwards: Vec::new(),
            cni_replies: BTreeMap::new(),
            next_cni: 0,
            fuse: None,
            pod_fails: None,
            unwire_fails: None,
            store_mute: false,
            store_full: None,
            unheard: Vec::new(),
            begun: BTreeMap::new(),
            replies: BTreeMap::new(),
            next_query: 0,
            todo: VecDeque::new(),
        };
        world.todo.push_back(Input::Started { boot_id: boot.to_owned(), saved: saved.map(Box::new) });
        world.settle();
        world
    }

    fn clock(&self) -> Now {
        let wall = self.wall + u64::try_from(self.now.as_nanos()).unwrap();
        Now { mono: self.now, wall }
    }

    /// Delivers everything that is under way at this instant.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            while let Some(effect) = self.node.poll_effect() {
                match &mut self.fuse {
                    Some(0) => continue,
                    Some(left) => *left -= 1,
                    None => {}
                }
                self.carry_out(effect);
            }
            if self.fuse == Some(0) {
                self.todo.clear();
                return;
            }
            self.pump_leaves();
            self.pump_watches();
            let Some(input) = self.todo.pop_front() else { return };
            self.node.handle(input, self.clock());
        }
        panic!("the world does not come to rest at {:?}", self.now);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        loop {
            self.settle();
            let node = self.node.poll_timeout().map(|(at, _)| at);
            let leaves = self.leaves.values().filter_map(|l| l.speaker.poll_timeout()).map(|(at, _)| at);
            let next = leaves.chain(node).min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            turns += 1;
            assert!(turns < 200_000, "too many timeouts within {time:?}, next {:?}", self.node.poll_timeout());
            self.now = self.now.max(next);
            for leaf in self.leaves.values_mut() {
                leaf.speaker.handle_timeout(self.now);
            }
            self.node.handle_timeout(self.clock());
        }
        self.now = end;
        self.node.handle_timeout(self.clock());
        self.settle();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Store(action) => self.store_action(action),
            Effect::Txn { id, txn } => {
                self.txns += 1;
                let writes = txn.then.iter().any(|op| !matches!(op, Op::Get(_)));
                let result = match &self.store_full {
                    _ if !self.store_up => Err(StoreError::Unknown("no answer".to_owned())),
                    Some(words) if writes => Err(StoreError::Refused(words.clone())),
                    _ => self.store.apply(&txn).map(|a| a.outcome),
                };
                let done = Input::Done { id, result: Done::Txn(result) };
                if self.store_mute { self.unheard.push(done) } else { self.todo.push_back(done) }
            }
            Effect::Bgp(action) => self.bgp_action(action),
            Effect::Apply(plan) => {
                let mut events = Vec::new();
                let results = plan.steps.iter().map(|s| self.kernel.apply(s, &mut events)).collect();
                self.todo.push_back(Input::Kernel(events));
                self.todo.push_back(Input::Applied { id: plan.id, results });
            }
            Effect::Dump => {
                let events = self.kernel.dump();
                self.todo.push_back(Input::Kernel(events));
            }
            Effect::Probe { gate, .. } => {
                let result = self.health.get(&gate.0).cloned().unwrap_or_else(|| Err("connection refused".to_owned()));
                self.todo.push_back(Input::Probed { gate: GateId(gate.0), result });
            }
            Effect::Save { id, saved } => {
                let result = if self.disk_full { Err("No space left on device".to_owned()) } else { Ok(()) };
                if result.is_ok() {
                    self.saved = Some(saved);
                }
                self.todo.push_back(Input::Done { id, result: Done::Saved(result) });
            }
            Effect::Reply { id, answer } => {
                self.replies.insert(id, answer);
            }
            Effect::Prepare { endpoint, families, .. } => {
                self.begun.insert(endpoint.host.clone(), families.into_iter().collect());
                let mut events = self.kernel.unplug(&endpoint.host);
                events.push(self.kernel.plug(&endpoint.host));
                self.todo.push_back(Input::Kernel(events));
            }
            Effect::Wire { id, endpoint, .. } => {
                let families: BTreeSet<Family> = endpoint.addresses.iter().map(|a| Family::of(*a)).collect();
                assert_eq!(self.begun.remove(&endpoint.host), Some(families), "begun for other families");
                let result = self.pod_fails.clone().map_or(Ok(()), Err);
                let mut events = Vec::new();
                if result.is_err() {
                    events = self.kernel.unplug(&endpoint.host);
                } else if !self.kernel.links.values().any(|l| l.name == endpoint.host) {
                    events.push(self.kernel.plug(&endpoint.host));
                }
                self.todo.push_back(Input::Kernel(events));
                self.pod_done(id, result);
            }
            Effect::Look { id, endpoint, .. } => {
                let there = self.kernel.links.values().any(|l| l.name == endpoint.host);
                let failure = CniFailure { kind: CniFault::NotAsLeft, words: format!("no {}", endpoint.host) };
                self.pod_done(id, if there { Ok(()) } else { Err(failure) });
            }
            Effect::Unwire { id, host } => {
                let result = self.unwire_fails.clone().map_or(Ok(()), Err);
                let events = if result.is_ok() { self.kernel.unplug(&host) } else { Vec::new() };
                self.todo.push_back(Input::Kernel(events));
                self.pod_done(id, result);
            }
            Effect::Record { id, endpoint } => {
                self.records.insert(endpoint.host.clone(), endpoint);
                self.pod_done(id, Ok(()));
            }
            Effect::Forward(wanted) => self.forwards.push(wanted),
            Effect::Forget { id, host } => {
                self.records.remove(&host);
                self.pod_done(id, Ok(()));
            }
            Effect::CniReply { id, result } => {
                assert!(self.cni_replies.insert(id, result).is_none(), "{id:?} is answered twice");
            }
            Effect::Exit => self.ended = true,
            Effect::Log(event) => self.log.push(event),
            Effect::Discovery(DiscoveryAction::Send { link, bytes, .. }) => {
                if let (Some(from), Some(&ROUTER_SOLICITATION)) = (self.router, bytes.first()) {
                    self.router_advertises(link, from);
                }
            }
            Effect::Discovery(action) => self.discovery.push(action),
            Effect::Kubernetes(KubernetesAction::Ask { object }) => {
                let answer = self.api.as_ref().map(|(cluster, nodes)| (cluster.clone(), nodes.contains(&object)));
                self.todo.push_back(Input::Kubernetes(KubernetesEvent::Asked { object, answer }));
            }
            Effect::Kubernetes(action) => {
                self.kubernetes.push(action);
                self.todo.push_back(Input::Kubernetes(KubernetesEvent::Told(self.tells.clone())));
            }
            Effect::Bfd(sessions) => self.bfd = sessions,
        }
    }

    fn pod_done(&mut self, id: EffectId, result: Result<(), CniFailure>) {
        self.todo.push_back(Input::Done { id, result: Done::Pod(result) });
    }

    /// The answers of a mute store come, and it is not mute any more.
    pub fn store_answers(&mut self) {
        self.store_mute = false;
        self.todo.extend(std::mem::take(&mut self.unheard));
        self.settle();
    }

    /// The plugin asks; the answer comes into `cni_replies`.
    pub fn cni(&mut self, request: CniRequest) -> CniId {
        self.next_cni += 1;
        let id = CniId(self.next_cni);
        self.todo.push_back(Input::Cni { id, request });
        id
    }

    /// The agent tells its node what records it found.
    pub fn load_records(&mut self, records: BTreeMap<String, Endpoint>) {
        let endpoints = records.values().cloned().collect();
        self.records = records;
        self.todo.push_back(Input::Endpoints(FoundEndpoints { endpoints, unreadable: self.unreadable.clone() }));
        self.settle();
    }

    /// The agent starts again, in this boot or another, with what is left of the last one.
    pub fn restarted(self, text: &str, boot: &str) -> Self {
        let mut kernel = self.kernel;
        if boot != BOOT {
            kernel.links.retain(|_, l| !ident::is_own_interface(&l.name));
            kernel.routes.clear();
        }
        let mut world = Self::start(text, self.store_up.then(|| self.store.clone()), kernel, self.saved, boot);
        if !self.store_up {
            world.store = self.store;
        }
        world.next_cni = self.next_cni;
        world.unreadable = self.unreadable;
        world.load_records(self.records);
        world
    }

    fn store_action(&mut self, action: WatchAction) {
        let input = match action {
            WatchAction::List { id, .. } if !self.store_up => {
                WatchEvent::ListFailed { id, error: "connection refused".to_owned() }
            }
            WatchAction::List { id, prefix } => {
                let kvs = self.store.list(&prefix).cloned().collect();
                WatchEvent::Listed { id, revision: self.store.revision(), kvs }
            }
            WatchAction::Watch { id, .. } if !self.store_up => {
                WatchEvent::Ended { id, reason: WatchEnd::Disconnected("connection refused".to_owned()) }
            }
            WatchAction::Watch { id, prefix, from } => {
                self.watches.insert(id, (prefix, from));
                WatchEvent::Started { id, revision: self.store.revision() }
            }
            WatchAction::Cancel { id } => {
                self.watches.remove(&id);
                return;
            }
        };
        self.todo.push_back(Input::Store(input));
    }

    fn pump_watches(&mut self) {
        if !self.store_up || self.store_mute {
            return;
        }
        for (id, (prefix, from)) in &mut self.watches {
            let changes = self.store.changes_since(prefix, *from).unwrap();
            *from = self.store.revision() + 1;
            if !changes.is_empty() {
                self.todo.push_back(Input::Store(WatchEvent::Changes {
                    id: *id,
                    revision: self.store.revision(),
                    changes,
                }));
            }
        }
    }

    /// BFD's thread tells how its sessions are.
    pub fn bfd_reports(&mut self, report: BfdReport) {
        self.todo.push_back(Input::Bfd(report));
        self.settle();
    }

    /// Cuts every watch and refuses everything until [`store_back`](Self::store_back).
    pub fn store_gone(&mut self) {
        self.store_up = false;
        for (id, _) in std::mem::take(&mut self.watches) {
            let reason = WatchEnd::Disconnected("connection reset".to_owned());
            self.todo.push_back(Input::Store(WatchEvent::Ended { id, reason }));
        }
        self.settle();
    }

    pub fn store_back(&mut self) {
        self.store_up = true;
    }

    pub fn put(&mut self, key: &str, value: &str) {
        let then = vec![Op::Put { key: key.to_owned(), value: value.as_bytes().to_vec() }];
        self.store.apply(&Txn { when: vec![], then, otherwise: vec![] }).unwrap();
        self.settle();
    }

    pub fn delete(&mut self, key: &str) {
        self.store.apply(&Txn { when: vec![], then: vec![Op::Delete(key.to_owned())], otherwise: vec![] }).unwrap();
        self.settle();
    }

    fn bgp_action(&mut self, action: bgp::Action) {
        match action {
            bgp::Action::Connect { conn, local, remote, .. } => {
                let local = SocketAddr::new(local.unwrap(), 40_000);
                let event = match self.leaves.get_mut(&remote.ip()).filter(|l| l.reachable) {
                    Some(leaf) => {
                        leaf.accept(conn, local, remote, self.now);
                        bgp::Event::Connected { conn, local, remote }
                    }
                    None => bgp::Event::ConnectFailed { conn, error: "no route to host".to_owned() },
                };
                self.todo.push_back(Input::Bgp(event));
            }
            bgp::Action::Send { conn, bytes } => {
                let n = bytes.len();
                for leaf in self.leaves.values_mut().filter(|l| l.reachable) {
                    if let Some(theirs) = leaf.conns.get(&conn) {
                        leaf.speaker
                            .handle_event(bgp::Event::Received { conn: *theirs, bytes: bytes.clone() }, self.now);
                    }
                }
                let written = Input::Bgp(bgp::Event::Written { conn, bytes: n });
                if self.clogged {
                    self.untold.push(written);
                } else {
                    self.todo.push_back(written);
                }
            }
            bgp::Action::Close { conn } | bgp::Action::Reset { conn } => {
                for leaf in self.leaves.values_mut() {
                    if let Some(theirs) = leaf.conns.remove(&conn) {
                        leaf.speaker.handle_event(bgp::Event::Closed { conn: theirs, error: None }, self.now);
                    }
                }
            }
            bgp::Action::PauseReading { .. } | bgp::Action::ResumeReading { .. } => {}
        }
    }

    /// The kernel takes what waited in front of it.
    pub fn unclog(&mut self) {
        self.clogged = false;
        self.todo.extend(std::mem::take(&mut self.untold));
        self.settle();
    }

    fn pump_leaves(&mut self) {
        for leaf in self.leaves.values_mut() {
            while let Some(action) = leaf.speaker.poll_action() {
                let ours = |theirs: &ConnId| leaf.conns.iter().find(|(_, t)| *t == theirs).map(|(o, _)| *o);
                match action {
                    bgp::Action::Send { conn, bytes } => {
                        leaf.speaker.handle_event(bgp::Event::Written { conn, bytes: bytes.len() }, self.now);
                        if let Some(conn) =
                            leaf.conns.iter().find(|(_, t)| **t == conn).map(|(o, _)| *o).filter(|_| leaf.reachable)
                        {
                            self.todo.push_back(Input::Bgp(bgp::Event::Received { conn, bytes }));
                        }
                    }
                    bgp::Action::Close { conn } | bgp::Action::Reset { conn } => {
                        if let Some(conn) = ours(&conn) {
                            leaf.conns.remove(&conn);
                            self.todo.push_back(Input::Bgp(bgp::Event::Closed { conn, error: None }));
                        }
                    }
                    bgp::Action::Connect { conn, .. } => {
                        leaf.speaker
                            .handle_event(bgp::Event::ConnectFailed { conn, error: "passive".to_owned() }, self.now);
                    }
                    bgp::Action::PauseReading { .. } | bgp::Action::ResumeReading { .. } => {}
                }
            }
            while leaf.speaker.poll_event().is_some() {}
            while leaf.speaker.poll_route_changes().is_some() {}
        }
    }

    pub fn ask(&mut self, query: Query) -> Answer {
        self.question(query).unwrap()
    }

    pub fn refused(&mut self, query: Query) -> String {
        self.question(query).unwrap_err()
    }

    fn question(&mut self, query: Query) -> Result<Answer, String> {
        self.next_query += 1;
        let id = QueryId(self.next_query);
        self.todo.push_back(Input::Query { id, query });
        self.settle();
        self.replies.remove(&id).expect("no answer")
    }

    /// What a leaf holds of ours, in order.
    pub fn seen_by(&self, leaf: &str) -> Vec<String> {
        let paths = self.leaves[&ip(leaf)].speaker.routes_received(None, None);
        paths.iter().map(|p| p.prefix.to_string()).collect()
    }

    /// Makes a leaf announce prefixes, these and no others.
    pub fn leaf_announces(&mut self, leaf: &str, prefixes: &[&str]) {
        let set = prefixes.iter().map(|t| {
            let prefix = p(t);
            (prefix, Originated::new(prefix, Ownership::ServiceRange { range: prefix }).unwrap())
        });
        let set = set.collect();
        self.leaves.get_mut(&ip(leaf)).unwrap().speaker.set_originated(set, self.now);
        self.settle();
    }

    /// A router advertisement comes in on a link.
    pub fn router_advertises(&mut self, link: u32, from: Ipv6Addr) {
        let mut bytes = vec![0; 16];
        bytes[0] = ROUTER_ADVERTISEMENT;
        self.todo.push_back(Input::Discovery(DiscoveryEvent::Heard { link, from, bytes }));
    }

    pub fn kernel_event(&mut self, event: KernelEvent) {
        self.input(Input::Kernel(vec![event]));
    }

    pub fn input(&mut self, input: Input) {
        self.todo.push_back(input);
        self.settle();
    }
}

impl Kernel {
    pub fn fresh() -> Self {
        let link =
            |index, name: &str| (index, Link { index, name: name.to_owned(), up: true, carrier: true, mtu: 1500 });
        Self {
            links: BTreeMap::from([link(1, "lo"), link(2, "eth1")]),
            addresses: vec![
                address(1, "127.0.0.1/8"),
                address(2, "10.122.101.1/31"),
                address(2, "fd00:122:101::1/127"),
            ],
            ..Self::default()
        }
    }

    /// Interfaces lo and eth1, the latter with no address but its link-local fe80::2.
    pub fn unnumbered() -> Self {
        let mut kernel = Self::fresh();
        kernel.addresses.retain(|a| a.link == 1);
        kernel.addresses.push(Address { scope: Scope::Link, ..address(2, "fe80::2/64") });
        kernel
    }

    pub fn add_address(&mut self, link: u32, text: &str) -> KernelEvent {
        let address = address(link, text);
        self.addresses.push(address.clone());
        KernelEvent::Address(address)
    }

    /// An interface appears.
    pub fn plug(&mut self, name: &str) -> KernelEvent {
        let index = self.links.keys().max().map_or(100, |i| (i + 1).max(100));
        let link = Link { index, name: name.to_owned(), up: true, carrier: true, mtu: 1500 };
        self.links.insert(index, link.clone());
        KernelEvent::Link(link)
    }

    /// An interface goes, and takes its routes with it.
    pub fn unplug(&mut self, name: &str) -> Vec<KernelEvent> {
        let Some(index) = self.links.values().find(|l| l.name == name).map(|l| l.index) else { return Vec::new() };
        self.links.remove(&index);
        self.routes.retain(|_, r| r.hops.iter().all(|h| h.link != index));
        vec![KernelEvent::LinkGone(index)]
    }

    fn dump(&self) -> Vec<KernelEvent> {
        let mut events = vec![KernelEvent::DumpBegin];
        events.extend(self.links.values().cloned().map(KernelEvent::Link));
        events.extend(self.addresses.iter().cloned().map(KernelEvent::Address));
        events.extend(self.routes.iter().map(|(k, r)| KernelEvent::Route(*k, r.clone())));
        events.push(KernelEvent::DumpEnd);
        events
    }

    fn apply(&mut self, step: &Step, events: &mut Vec<KernelEvent>) -> StepResult {
        if let Some(errno) = self.refuse {
            return Err(KernelError { errno, detail: None });
        }
        self.steps.push(step.clone());
        match step {
            Step::AddAddress(address) => {
                self.addresses.push(address.clone());
                events.push(KernelEvent::Address(address.clone()));
            }
            Step::DeleteAddress(address) => {
                self.addresses.retain(|a| a != address);
                events.push(KernelEvent::AddressGone(address.clone()));
            }
            Step::PutRoute(key, route, _) => {
                self.routes.insert(*key, route.clone());
                events.push(KernelEvent::Route(*key, route.clone()));
            }
            Step::DeleteRoute(key, route) => {
                if self.routes.get(key).is_some_and(|r| r.protocol == route.protocol) {
                    self.routes.remove(key);
                }
                events.push(KernelEvent::RouteGone(*key, route.clone()));
            }
        }
        Ok(())
    }

    /// Prefixes of our routes, in order.
    pub fn ours(&self) -> Vec<String> {
        let ours = self.routes.iter().filter(|(_, r)| r.protocol == ident::ROUTE_PROTOCOL);
        ours.map(|(k, _)| k.prefix.to_string()).collect()
    }
}

impl Leaf {
    fn new(addr: IpAddr, asn: u32, node_end: IpAddr, node_asn: u32) -> Self {
        let router_id = match addr {
            IpAddr::V4(a) => a,
            IpAddr::V6(_) => "192.0.2.9".parse().unwrap(),
        };
        let mut speaker = Speaker::new(LocalConfig { asn, router_id }, [9; 32], Duration::ZERO);
        let config = PeerConfig { passive: true, ..PeerConfig::new(node_end, RemoteAsn::Is(node_asn)) };
        speaker.set_peers(BTreeMap::from([(PeerId::of_address(node_end), config)]), Duration::ZERO);
        let next_hop = match addr {
            IpAddr::V6(addr) if addr.is_unicast_link_local() => addr,
            _ => "fd00:122:101::".parse().unwrap(),
        };
        speaker.set_next_hops(PeerId::of_address(node_end), None, Some(next_hop), Duration::ZERO);
        Self { speaker, reachable: true, conns: BTreeMap::new(), next: 0, node_end }
    }

    fn accept(&mut self, conn: ConnId, node: SocketAddr, leaf: SocketAddr, now: Duration) {
        self.next += 1;
        let ours = ConnId::Accepted(self.next);
        self.conns.insert(conn, ours);
        self.speaker.handle_event(bgp::Event::Accepted { conn: ours, local: leaf, remote: node }, now);
    }
}
