//! The one type that matters: [`Node`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use petiole_bgp::{PeerId, Speaker};
use petiole_config::Settings;
use petiole_dataplane::{Dataplane, KernelEvent, RouteKind, Settings as Pacing};
use petiole_ipam::{Ipam, RequestId, TxnId};
use petiole_prefix::Prefix;
use petiole_store::watch::{Fact, Watch, WatchPhase};

use crate::desired::Decision;
use crate::detection::Watched;
use crate::effect::Effect;
use crate::event::Event;
use crate::fib::Fib;
use crate::filters::{CUSTOM_FILTERS, Filters};
use crate::forwarding::Forwarding;
use crate::gate::{Conditions, Order};
use crate::health::{Gate, Verdict};
use crate::input::{Done, EffectId, Input, Now, QueryId, UnixNanos};
use crate::kubernetes::Kubernetes;
use crate::neighbour::Neighbours;
use crate::operator::Orders;
use crate::pods::{self, Pods};
use crate::saved::Saved;
use crate::seed;
use crate::survey::Surveys;
use crate::trace::Traces;
use crate::uplink::{NoUplink, Topology, Uplink};

/// The brain of one node.
///
/// | class | methods |
/// |---|---|
/// | what happened | [`handle`](Self::handle), [`handle_timeout`](Self::handle_timeout) |
/// | what to do | [`poll_effect`](Self::poll_effect), [`poll_timeout`](Self::poll_timeout) |
///
/// After each call of the first class, drain [`poll_effect`](Self::poll_effect); the effects are in order. Then wait until
/// [`poll_timeout`](Self::poll_timeout) at the latest. `now.mono` never goes back.
pub struct Node {
    pub(crate) settings: Settings,
    pub(crate) seed: [u8; 32],
    pub(crate) start: Duration,
    pub(crate) now: Now,
    pub(crate) boot_id: String,
    pub(crate) resumed: bool,
    /// Whether this life follows another in the same boot, whose kernel state is still there, so that what was announced was
    /// forwarded all the time. Known once the kernel is mirrored, before anything of this life is written there.
    pub(crate) goes_on: Option<bool>,

    pub(crate) watch: Watch,
    pub(crate) ipam: Ipam,
    pub(crate) filters: Filters,
    pub(crate) gates: Vec<Option<Gate>>,
    pub(crate) dataplane: Dataplane,
    pub(crate) speaker: Option<Speaker>,
    pub(crate) bfd: Watched,
    pub(crate) fib: Fib,
    pub(crate) pods: Pods,
    pub(crate) forwarding: Forwarding,
    pub(crate) kubernetes: Kubernetes,
    pub(crate) order: Order,

    pub(crate) topology: Topology,
    pub(crate) neighbours: Neighbours,
    pub(crate) uplinks: BTreeMap<PeerId, Result<Uplink, NoUplink>>,
    /// The last way to each leaf that was found on an interface: its session waits there for the link or the leaf to come back.
    pub(crate) last_uplinks: BTreeMap<PeerId, Uplink>,
    pub(crate) decisions: BTreeMap<Prefix, (Decision, UnixNanos)>,
    pub(crate) owned: BTreeSet<Prefix>,
    pub(crate) leaves_in_sync: bool,
    /// The store has been in sync in this life.
    pub(crate) store_seen: bool,
    pub(crate) troubles: BTreeMap<String, String>,
    pub(crate) problems: BTreeSet<String>,
    pub(crate) guard_stops: u64,
    pub(crate) traces: Traces,

    /// What operators ordered.
    pub(crate) orders: Orders,
    /// What they had ordered when the agent began.
    pub(crate) found_orders: Orders,
    /// When a drain withdraws everything.
    pub(crate) drain_at: Option<Duration>,
    /// The answer to the operator who stops the agent.
    pub(crate) stopping: Option<Effect>,

    /// Borrowed addresses of the last known good state, with the block of each.
    pub(crate) found_borrowed: BTreeMap<IpAddr, Prefix>,
    /// Blocks that were not announced, of the last known good state.
    pub(crate) found_unexported: BTreeSet<Prefix>,
    /// What was written last.
    pub(crate) written: Option<Saved>,
    pub(crate) saving: Option<EffectId>,
    /// When a failed write is tried again.
    pub(crate) save_again: Option<Duration>,
    last_effect: u64,
    txns: BTreeMap<EffectId, TxnId>,
    pub(crate) requests: BTreeMap<RequestId, QueryId>,
    pub(crate) last_request: u64,
    /// Questions about the whole keyspace.
    pub(crate) surveys: Surveys,
    pub(crate) effects: VecDeque<Effect>,
    /// The facts behind the announcements changed.
    dirty: bool,
    /// Links or addresses changed.
    moved: bool,
}

/// Why the node wants to be called back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TimerReason {
    /// A session's timer.
    Bgp(petiole_bgp::TimerReason),
    /// The store's watch.
    Store,
    /// A claim or an assignment.
    Ipam,
    /// A router solicitation or advertisement, or a silent neighbour.
    Neighbours,
    /// The kernel.
    Dataplane,
    /// A health probe is due.
    Probe,
    /// An ordering rule's time is up.
    Order,
    /// A drain withdraws everything.
    Drain,
    /// A pod's route or release, or the comparison of records with kernel and store.
    Pods,
    /// Who is silent, and whether the Kubernetes API knows more.
    Kubernetes,
    /// A failed write of the last known good state is tried again.
    Save,
}

impl Node {
    /// A node that knows nothing yet. The first input is [`Input::Started`].
    #[must_use]
    pub fn new(settings: Settings, seed: [u8; 32], now: Now) -> Self {
        let gates = settings.announce.iter().map(|a| a.health.clone().map(|h| Gate::new(h, now.mono))).collect();
        let peers = settings.bgp.iter().flat_map(|b| &b.peers);
        let unnumbered: Vec<String> = peers.filter_map(|p| p.neighbour.interface().map(str::to_owned)).collect();
        let watched = petiole_ipam::WATCHED_PREFIXES.iter().copied().chain([CUSTOM_FILTERS]);
        Self {
            watch: Watch::new(watched.map(str::to_owned).collect(), seed::derive(&seed, "watch"), now.mono),
            ipam: Ipam::new(pods::ipam_settings(&settings), seed::derive(&seed, "ipam"), now.mono)
                .with_addresses(&settings.node.addresses),
            filters: Filters::new(),
            gates,
            dataplane: Dataplane::new(Pacing::default(), now.mono),
            speaker: None,
            bfd: Watched::default(),
            fib: Fib::default(),
            pods: Pods::default(),
            forwarding: Forwarding::default(),
            kubernetes: Kubernetes::new(settings.ipam.grace_time, &seed),
            order: Order::new(now.mono),
            topology: Topology::default(),
            neighbours: Neighbours::new(unnumbered, &seed::derive(&seed, "neighbours")),
            last_uplinks: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            decisions: BTreeMap::new(),
            owned: BTreeSet::new(),
            leaves_in_sync: false,
            store_seen: false,
            troubles: BTreeMap::new(),
            problems: BTreeSet::new(),
            guard_stops: 0,
            traces: Traces::default(),
            orders: Orders::default(),
            found_orders: Orders::default(),
            drain_at: None,
            stopping: None,
            found_borrowed: BTreeMap::new(),
            found_unexported: BTreeSet::new(),
            written: None,
            saving: None,
            save_again: None,
            last_effect: 0,
            txns: BTreeMap::new(),
            requests: BTreeMap::new(),
            last_request: 0,
            surveys: Surveys::default(),
            effects: VecDeque::new(),
            dirty: true,
            moved: false,
            start: now.mono,
            now,
            boot_id: String::new(),
            resumed: false,
            goes_on: None,
            settings,
            seed,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.now = now;
        match input {
            Input::Started { boot_id, saved } => self.handle_started(boot_id, saved),
            Input::Store(event) => {
                if let Some(event) = self.survey_event(event) {
                    self.watch.handle_event(event, now.mono);
                }
            }
            Input::Bgp(event) => {
                if let Some(speaker) = &mut self.speaker {
                    speaker.handle_event(event, now.mono);
                } else if let petiole_bgp::Event::Accepted { conn, .. } = event {
                    // Nobody is configured yet: a stranger gets a closed socket.
                    self.effects.push_back(Effect::Bgp(petiole_bgp::Action::Close { conn }));
                }
            }
            Input::Discovery(event) => self.neighbours.handle(event, now.mono),
            Input::Bfd(report) => self.handle_bfd(report),
            Input::Kernel(events) => self.handle_kernel(events),
            Input::Probed { gate, result } => self.handle_probed(gate, result),
            Input::Query { id, query } => self.handle_query(id, query),
            Input::Done { id, result } => self.handle_done(id, result),
            Input::Applied { id, results } => {
                self.dataplane.handle_done(id, results, now.mono);
                self.dirty = true;
            }
            Input::Endpoints(found) => self.load_endpoints(found),
            Input::Cni { id, request } => self.handle_cni(id, request),
            Input::Kubernetes(event) => self.handle_kubernetes(event),
            Input::Forwarding(outcomes) => self.handle_forwarding(outcomes),
            Input::Trouble { part, what } => {
                if what.is_empty() {
                    self.troubles.remove(&part);
                } else {
                    self.troubles.insert(part, what);
                }
            }
        }
        self.settle();
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        self.watch.handle_timeout(now.mono);
        self.ipam.handle_timeout(now.mono, now.wall);
        self.neighbours.handle_timeout(now.mono);
        self.dataplane.handle_timeout(now.mono);
        if let Some(speaker) = &mut self.speaker {
            speaker.handle_timeout(now.mono);
        }
        if self.order.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.dirty = true;
        }
        self.pods.turn(now);
        self.pods.handle_timeout();
        self.run_drain();
        self.look_for_departed();
        self.save_again.take_if(|at| *at <= now.mono);
        self.settle();
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Duration, TimerReason)> {
        let bgp = self.speaker.as_ref().and_then(Speaker::poll_timeout).map(|(at, why)| (at, TimerReason::Bgp(why)));
        let store = self.watch.poll_timeout().map(|(at, _)| (at, TimerReason::Store));
        let ipam = self.ipam.poll_timeout().map(|(at, _)| (at, TimerReason::Ipam));
        let kernel = self.dataplane.poll_timeout().map(|(at, _)| (at, TimerReason::Dataplane));
        let probe = self.gates.iter().flatten().filter_map(Gate::poll_timeout).min().map(|at| (at, TimerReason::Probe));
        let order = self.order.poll_timeout().map(|at| (at, TimerReason::Order));
        let save = self.save_again.map(|at| (at, TimerReason::Save));
        let neighbours = self.neighbours.poll_timeout().map(|at| (at, TimerReason::Neighbours));
        let drain = self.drain_at.map(|at| (at, TimerReason::Drain));
        let pods = self.pods.poll_timeout().map(|at| (at, TimerReason::Pods));
        let kubernetes = self.kubernetes_timeout().map(|at| (at, TimerReason::Kubernetes));
        [kubernetes, neighbours, bgp, store, ipam, kernel, probe, order, save, drain, pods].into_iter().flatten().min()
    }

    fn handle_started(&mut self, boot_id: String, saved: Option<Box<Saved>>) {
        let words = match &saved {
            None => "no saved state".to_owned(),
            Some(s) if s.node != self.settings.node.name => format!("saved state is node {}'s and is not used", s.node),
            Some(s) if s.boot_id != boot_id => {
                "saved state is of an earlier boot: blocks wait for the store".to_owned()
            }
            Some(s) => format!("goes on with {} saved block(s)", s.blocks.len()),
        };
        let node = self.settings.node.name.clone();
        self.log(Event::Starting { node, saved: words });
        if let Some(saved) = saved.filter(|s| s.node == self.settings.node.name) {
            self.filters.restore(&saved.filters);
            self.found_orders = saved.orders.clone();
            self.resume_orders(saved.orders.clone());
            self.resume_labels(saved.labels.clone());
            if saved.boot_id == boot_id {
                self.resumed = true;
                self.ipam.restore(&saved.blocks);
                self.resume_ranges(saved.ranges);
                self.found_borrowed = saved.borrowed;
                self.found_unexported = saved.unexported;
                for (gate, announce) in self.gates.iter_mut().zip(&self.settings.announce) {
                    if let (Some(gate), Some(healthy)) = (gate, saved.gates.get(&announce.prefix)) {
                        gate.resume(*healthy);
                    }
                }
            }
        }
        self.boot_id = boot_id;
        self.dirty = true;
    }

    fn handle_kernel(&mut self, events: Vec<KernelEvent>) {
        for event in events {
            match &event {
                KernelEvent::Route(_, route)
                | KernelEvent::RouteReplaced(_, route)
                | KernelEvent::RouteGone(_, route) => {
                    // Echoes of learned routes come by the hundred thousand and change no verdict; the node's own routes do.
                    self.dirty |= route.kind != RouteKind::Unicast;
                }
                KernelEvent::DumpBegin | KernelEvent::Overrun => {}
                KernelEvent::DumpEnd
                | KernelEvent::Link(_)
                | KernelEvent::LinkGone(_)
                | KernelEvent::Address(_)
                | KernelEvent::AddressGone(_) => self.moved = true,
            }
            self.dataplane.handle_event(event, self.now.mono);
        }
    }

    fn handle_done(&mut self, id: EffectId, result: Done) {
        self.pods.turn(self.now);
        if self.pods.handle_done(id, &result) {
            return;
        }
        match result {
            // Its identifiers are not the node's.
            Done::Pod(_) => {}
            Done::Txn(outcome) => {
                if self.survey_done(id, &outcome) || self.departed_done(id, &outcome) {
                    return;
                }
                if let Some(txn) = self.txns.remove(&id) {
                    self.ipam.handle_done(txn, outcome, self.now.mono, self.now.wall);
                }
            }
            Done::Saved(outcome) => {
                if self.saving.take_if(|saving| *saving == id).is_some() {
                    self.save_done(outcome);
                }
            }
        }
    }

    /// Brings everything that follows from the facts up to date, and turns it into effects. The order matters: withdrawals
    /// leave before plans that remove things.
    fn settle(&mut self) {
        self.drain_store();
        self.settle_pods();
        if std::mem::take(&mut self.moved) && self.dataplane.is_mirrored() {
            self.topology = self.read_topology();
            self.neighbours.set_topology(&self.topology, self.now.mono);
            self.neighbours.poll_changed();
            self.update_sessions();
            self.dirty = true;
        }
        self.speak();
        // A session that ended may have been all that a silent neighbour was known by.
        self.speak();
        if self.pods.is_announcing() {
            // What has been decided just now may be all that their answers waited for.
            self.settle_pods();
            self.speak();
        }
        while let Some(action) = self.neighbours.poll_action() {
            self.effects.push_back(Effect::Discovery(action));
        }
        self.allow();
        self.settle_forwarding();
        self.probe();
        if let Some(plan) = self.dataplane.poll_plan(self.now.mono) {
            self.effects.push_back(Effect::Apply(plan));
        }
        if self.dataplane.poll_dump_wanted() {
            self.effects.push_back(Effect::Dump);
        }
        self.tell_kubernetes();
        self.report_problems();
        self.save();
        if let Some(answer) = self.stopping.take() {
            self.effects.extend([answer, Effect::Exit]);
        }
    }

    fn speak(&mut self) {
        if self.neighbours.poll_changed() {
            self.update_sessions();
            self.dirty = true;
        }
        if std::mem::take(&mut self.dirty) {
            self.announce();
            // What an earlier life left in the kernel counts from when it is wanted again, and no outcome of a plan tells of that.
            if self.is_proven_meanwhile() {
                self.announce();
            }
        }
        self.drain_speaker();
    }

    fn drain_store(&mut self) {
        while let Some(fact) = self.watch.poll_fact() {
            match &fact {
                Fact::InSync { .. } => {
                    let was_away = self.troubles.remove("store").is_some();
                    if was_away || !self.store_seen {
                        self.log(Event::StoreInSync);
                    }
                    self.store_seen = true;
                    self.filters.settle();
                }
                Fact::Lost { error } => {
                    let words =
                        if self.store_seen { "is away, everything stays as it is" } else { "cannot be read yet" };
                    self.troubles.insert("store".to_owned(), format!("the store {words}: {error}"));
                    self.log(Event::StoreLost(error.clone()));
                }
                Fact::Put(_) | Fact::Deleted { .. } | Fact::Reset { .. } => self.filters.handle_fact(&fact),
            }
            self.ipam.handle_fact(&fact, self.now.mono, self.now.wall);
            self.dirty = true;
        }
        self.tell_reachability();
        self.pods.turn(self.now);
        self.drain_ipam();
        if self.ipam.is_waited_for() {
            self.watch.hurry(self.now.mono);
        }
        while let Some(action) = self.watch.poll_action() {
            self.effects.push_back(Effect::Store(action));
        }
        self.drain_replies();
        let owned = self.entitled();
        if owned != self.owned {
            for block in owned.difference(&self.owned) {
                self.effects.push_back(Effect::Log(Event::BlockOwned(*block)));
            }
            for block in self.owned.difference(&owned) {
                self.effects.push_back(Effect::Log(Event::BlockLost(*block)));
            }
            self.owned = owned;
            self.dirty = true;
        }
    }

    fn allow(&mut self) {
        let is = Conditions {
            store_in_sync: self.watch.state().phase == WatchPhase::InSync && self.is_told_of_ranges(),
            resumed: self.resumed,
            gates_decided: self.gates.iter().flatten().all(|g| g.verdict() != Verdict::Unknown),
            leaves_in_sync: self.leaves_in_sync,
            mirrored: self.dataplane.is_mirrored(),
        };
        for sweep in self.order.allow_sweeps(is, self.now.mono) {
            self.dataplane.allow_sweep(sweep);
        }
        if self.order.release_end_of_rib(is, self.now.mono)
            && let Some(speaker) = &mut self.speaker
        {
            speaker.hold_end_of_rib(false, self.now.mono);
            self.drain_speaker();
        }
    }

    pub(crate) fn note_txn(&mut self, id: EffectId, txn: TxnId) {
        self.txns.insert(id, txn);
    }

    pub(crate) fn effect_id(&mut self) -> EffectId {
        self.last_effect += 1;
        EffectId(self.last_effect)
    }

    /// The facts behind the announcements changed.
    pub(crate) const fn mark_dirty(&mut self) {
        self.dirty = true;
    }
}
