//! The [`Dataplane`]: wishes in, state out. What the kernel tells is in `observe`, what is done about it in `plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};

use crate::ident::{ADDRESS_PROTOCOL, METRIC_LEARNED, ROUTE_PROTOCOL, TABLE_MAIN};
use crate::kernel::{Address, Hop, Link, LinkIndex, PlanId, Route, RouteKey, RouteKind, Step};
use crate::retry::{Backoff, Failures, Object};
use crate::state::{AddressWant, Counters, LearnedRoute, Sweep, TimerReason};
use crate::table::{Entry, Table};
use crate::values::{Effective, Holder, Values, World};

/// How the dataplane paces itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Time between two full comparisons with the kernel.
    pub resync: Duration,
    /// Wait before the first retry of a refused step; doubles with each further refusal.
    pub retry_min: Duration,
    /// The longest wait between two retries.
    pub retry_max: Duration,
    /// Most steps in one plan.
    pub plan_limit: usize,
    /// A dump that takes longer than this is asked for again.
    pub dump_overdue: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resync: Duration::from_secs(60),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(30),
            plan_limit: 4096,
            dump_overdue: Duration::from_secs(30),
        }
    }
}

/// The kernel's side of one node: wanted, observed, and the plan between them.
///
/// In: [`handle_event`](Self::handle_event), [`handle_done`](Self::handle_done), [`handle_timeout`](Self::handle_timeout) and
/// the wishes. After any of them: [`poll_dump_wanted`](Self::poll_dump_wanted), then [`poll_plan`](Self::poll_plan), which
/// hands out at most one plan at a time, then [`poll_timeout`](Self::poll_timeout).
///
/// The driver must not report our own writes as events: their effect on the mirror comes with `handle_done`.
#[derive(Debug)]
pub struct Dataplane {
    pub(crate) settings: Settings,
    pub(crate) now: Duration,
    pub(crate) mirror: Mirror,
    pub(crate) table: Table,
    pub(crate) values: Values,
    /// Routes of others, by the key that they keep from us.
    pub(crate) foreign: BTreeMap<RouteKey, Vec<Route>>,
    /// Wanted routes that are the node's own.
    pub(crate) statics: BTreeSet<RouteKey>,
    /// Learned routes that stand behind one of the node's own with the same key.
    pub(crate) shadowed: BTreeMap<RouteKey, Route>,
    pub(crate) address_wants: BTreeMap<(IpAddr, u8), AddressWant>,
    pub(crate) swept: BTreeSet<Sweep>,
    /// Learned routes that were wanted in this life and are no more: no leaf has to be waited for to delete them. Empty once
    /// the sweep is allowed.
    pub(crate) withdrawn: BTreeSet<RouteKey>,
    pub(crate) puts: BTreeSet<RouteKey>,
    pub(crate) deletes: BTreeSet<RouteKey>,
    pub(crate) failures: Failures,
    /// Objects that somebody changed behind our back and that are not put right yet.
    pub(crate) drifted: BTreeSet<Object>,
    pub(crate) in_flight: Option<InFlight>,
    pub(crate) next_plan: u64,
    /// The mirror may be wrong, and a dump will be asked for when no plan is under way.
    pub(crate) dump_wanted: bool,
    /// A plan was carried out since then: the dump goes first now, or a busy table would never be compared.
    pub(crate) dump_first: bool,
    pub(crate) dump: Dump,
    /// Since when a complete dump has been waited for, however often it was asked for again.
    pub(crate) waiting_since: Option<Duration>,
    /// A first dump is complete.
    pub(crate) mirrored: bool,
    pub(crate) next_resync: Duration,
    pub(crate) counters: Counters,
}

/// Links and addresses, as the kernel last told.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    pub(crate) links: BTreeMap<LinkIndex, Link>,
    pub(crate) addresses: BTreeMap<AddressKey, Address>,
}

/// What tells two addresses apart.
pub(crate) type AddressKey = (LinkIndex, IpAddr, u8);

/// A plan that was handed out.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) id: PlanId,
    pub(crate) steps: Vec<Step>,
    /// The routes that it writes.
    pub(crate) keys: BTreeSet<RouteKey>,
    /// A dump was coming in when it was handed out, which so tells nothing of these routes.
    pub(crate) beside_dump: bool,
}

/// Where the dump is.
#[derive(Debug)]
pub(crate) enum Dump {
    Idle,
    /// Asked for at that time; the routes that plans touched since then are told by their results, not by the dump.
    Asked {
        at: Duration,
        touched: BTreeSet<RouteKey>,
    },
    /// Coming in.
    Running {
        at: Duration,
        touched: BTreeSet<RouteKey>,
        told: Told,
    },
}

/// What a dump has told so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) links: BTreeSet<LinkIndex>,
    pub(crate) addresses: BTreeSet<AddressKey>,
    pub(crate) foreign: BTreeMap<RouteKey, Vec<Route>>,
}

impl World for Mirror {
    fn is_usable(&self, hop: Hop) -> bool {
        // Nobody at the other end can be another's way; what is on the link itself has no other way, and a bridge has no carrier
        // before its first port does.
        self.links.get(&hop.link).is_some_and(|l| l.up && (l.carrier || hop.gateway.is_none()))
    }

    fn is_source(&self, addr: IpAddr) -> bool {
        // All of a prefix on `lo` is local, for IPv4; IPv6 takes an address only as it stands.
        let lo = self.loopback().map(|l| l.index);
        self.addresses.values().any(|a| {
            a.addr == addr
                || (Some(a.link) == lo
                    && Family::of(addr) == Family::V4
                    && Prefix::truncated(a.addr, a.len).is_ok_and(|p| p.contains_addr(addr)))
        })
    }
}

impl Mirror {
    pub(crate) fn loopback(&self) -> Option<&Link> {
        self.links.values().find(|l| l.name == "lo")
    }

    pub(crate) fn on_loopback(&self) -> impl Iterator<Item = &Address> {
        let lo = self.loopback().map(|l| l.index);
        self.addresses.values().filter(move |a| Some(a.link) == lo)
    }
}

impl Dataplane {
    /// Knows nothing yet, and wants a dump.
    #[must_use]
    pub fn new(settings: Settings, now: Duration) -> Self {
        Self {
            settings,
            now,
            mirror: Mirror::default(),
            table: Table::default(),
            values: Values::default(),
            foreign: BTreeMap::new(),
            statics: BTreeSet::new(),
            shadowed: BTreeMap::new(),
            address_wants: BTreeMap::new(),
            swept: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            puts: BTreeSet::new(),
            deletes: BTreeSet::new(),
            failures: Failures::default(),
            drifted: BTreeSet::new(),
            in_flight: None,
            next_plan: 0,
            dump_wanted: true,
            dump_first: false,
            dump: Dump::Idle,
            waiting_since: None,
            mirrored: false,
            next_resync: now.saturating_add(settings.resync),
            counters: Counters::default(),
        }
    }

    /// The addresses that `lo` should hold, all of them.
    pub fn set_addresses(&mut self, wants: BTreeSet<AddressWant>) {
        let wants: BTreeMap<_, _> = wants.into_iter().map(|w| ((w.addr, w.len), w)).collect();
        for (&(addr, len), want) in &wants {
            if self.address_wants.get(&(addr, len)) != Some(want) {
                self.failures.clear(&Object::Address(addr, len));
            }
        }
        for &(addr, len) in self.address_wants.keys().filter(|k| !wants.contains_key(k)) {
            self.failures.clear(&Object::Address(addr, len));
            self.drifted.remove(&Object::Address(addr, len));
        }
        self.address_wants = wants;
    }

    /// The node's own routes (block blackholes, local ranges), all of them. One of these wins against a learned one with the
    /// same key.
    pub fn set_static_routes(&mut self, routes: BTreeMap<RouteKey, Route>) {
        let gone: Vec<RouteKey> = self.statics.iter().filter(|k| !routes.contains_key(k)).copied().collect();
        for key in gone {
            self.statics.remove(&key);
            let behind = self.shadowed.remove(&key);
            self.set_want(&key, behind.as_ref());
        }
        for (key, route) in routes {
            if self.statics.insert(key)
                && let Some(learned) = self.table.get(&key).want.and_then(|id| self.values.route(id)).cloned()
            {
                self.shadowed.insert(key, learned);
            }
            self.set_want(&key, Some(&canonical(route)));
        }
    }

    /// What changed among the routes that leaves announce; `None` is a prefix that no leaf announces any more.
    pub fn update_learned(&mut self, changes: impl IntoIterator<Item = (Prefix, Option<LearnedRoute>)>) {
        for (prefix, learned) in changes {
            let key = RouteKey { prefix, table: TABLE_MAIN, metric: METRIC_LEARNED };
            let route = learned.map(|l| {
                canonical(Route {
                    kind: RouteKind::Unicast,
                    protocol: ROUTE_PROTOCOL,
                    prefsrc: l.prefsrc,
                    hops: l.hops,
                })
            });
            if !self.statics.contains(&key) {
                self.set_want(&key, route.as_ref());
            } else if let Some(route) = route {
                self.shadowed.insert(key, route);
            } else {
                self.shadowed.remove(&key);
            }
        }
    }

    /// How many learned routes of ours the kernel holds; costs nothing, whatever their number.
    #[must_use]
    pub fn learned_in_kernel(&self) -> u64 {
        self.values.count_held(RouteKind::Unicast)
    }

    /// From now on, what is ours and not wanted is deleted. Until then it is kept, but for learned routes that were wanted once: the
    /// wishes may not be complete yet.
    pub fn allow_sweep(&mut self, what: Sweep) {
        if self.swept.insert(what) {
            for key in self.table.keys_where(|e| e.want.is_none()) {
                self.reassess(&key);
            }
            if what == Sweep::Learned {
                self.withdrawn.clear();
            }
        }
    }

    /// Something in [`Dataplane::poll_timeout`] is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = now;
        for object in self.failures.take_due(now) {
            match object {
                Object::Route(key) => self.reassess(&key),
                Object::Address(addr, len) if !self.is_address_due(addr, len) => drop(self.failures.clear(&object)),
                Object::Address(..) => {}
            }
        }
        if let Some(at) = self.dump_since()
            && now >= at.saturating_add(self.settings.dump_overdue)
        {
            self.dump = Dump::Idle;
            self.dump_wanted = true;
        }
        if now >= self.next_resync {
            self.next_resync = now.saturating_add(self.settings.resync);
            self.dump_wanted = true;
        }
    }

    /// When to call [`Dataplane::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Duration, TimerReason)> {
        let overdue = self.dump_since().map(|at| at.saturating_add(self.settings.dump_overdue));
        [
            self.failures.next().map(|at| (at, TimerReason::Retry)),
            Some((self.next_resync, TimerReason::Resync)),
            overdue.map(|at| (at, TimerReason::DumpOverdue)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether a dump should be asked for; true once per wish, and never while a plan is under way.
    pub fn poll_dump_wanted(&mut self) -> bool {
        if !self.dump_wanted || self.in_flight.is_some() || self.dump_since().is_some() {
            return false;
        }
        self.dump_wanted = false;
        self.dump_first = false;
        self.waiting_since.get_or_insert(self.now);
        self.dump = Dump::Asked { at: self.now, touched: BTreeSet::new() };
        true
    }

    pub(crate) const fn dump_since(&self) -> Option<Duration> {
        match &self.dump {
            Dump::Idle => None,
            Dump::Asked { at, .. } | Dump::Running { at, .. } => Some(*at),
        }
    }

    pub(crate) const fn backoff(&self) -> Backoff {
        Backoff { min: self.settings.retry_min, max: self.settings.retry_max, permanent: self.settings.resync }
    }

    /// What is wanted at a key changed.
    fn set_want(&mut self, key: &RouteKey, route: Option<&Route>) {
        let entry = self.table.get(key);
        let want = route.map(|r| self.values.acquire(r, Holder::Want, &self.mirror));
        let was_learned =
            entry.want.and_then(|id| self.values.route(id)).is_some_and(|r| class_of(r) == Sweep::Learned);
        if let Some(old) = entry.want {
            self.values.release(old, Holder::Want);
        }
        if want == entry.want {
            return;
        }
        self.table.set(key, Entry { want, ..entry });
        if want.is_some() {
            self.withdrawn.remove(key);
        } else if was_learned && !self.swept.contains(&Sweep::Learned) {
            self.withdrawn.insert(*key);
        }
        self.failures.clear(&Object::Route(*key));
        self.drifted.remove(&Object::Route(*key));
        self.reassess(key);
    }

    /// What the kernel holds of ours at a key changed.
    pub(crate) fn set_have(&mut self, key: &RouteKey, route: Option<&Route>) {
        let entry = self.table.get(key);
        let have = route.map(|r| self.values.acquire(r, Holder::Have, &self.mirror));
        if let Some(old) = entry.have {
            self.values.release(old, Holder::Have);
        }
        if have != entry.have {
            self.table.set(key, Entry { have, ..entry });
        }
        self.reassess(key);
    }

    /// Whether the kernel holds what can be written of what is wanted.
    pub(crate) fn is_settled(&self, entry: Entry) -> bool {
        match entry.want.map(|id| self.values.effective(id)) {
            Some(Effective::Write(id)) => entry.have == Some(id),
            Some(Effective::LinkDown | Effective::SourceMissing(_)) | None => entry.have.is_none(),
        }
    }

    /// Puts the key where it belongs: among the routes to write, to delete, or neither; a refusal is over where there is nothing
    /// to be tried.
    pub(crate) fn reassess(&mut self, key: &RouteKey) {
        self.puts.remove(key);
        self.deletes.remove(key);
        let entry = self.table.get(key);
        let object = Object::Route(*key);
        let (mut put, mut delete) = (false, false);
        match (entry.want, entry.have) {
            (None, None) => drop(self.drifted.remove(&object)),
            (None, Some(have)) => {
                let class = self.values.route(have).map_or(Sweep::Learned, class_of);
                let withdrawn = class == Sweep::Learned && self.withdrawn.contains(key);
                delete = withdrawn || self.swept.contains(&class);
            }
            (Some(want), have) => match self.values.effective(want) {
                Effective::Write(id) if have == Some(id) => {
                    if self.drifted.remove(&object) {
                        self.counters.drift_repaired += 1;
                    }
                }
                Effective::Write(_) => put = !self.foreign.contains_key(key),
                // The kernel keeps a route over an interface that only lost its carrier, and drops what it is given.
                Effective::LinkDown => delete = have.is_some(),
                Effective::SourceMissing(_) => {}
            },
        }
        if !put && !delete {
            self.failures.clear(&object);
        } else if !self.failures.blocks(&object, self.now) {
            let due = if put { &mut self.puts } else { &mut self.deletes };
            due.insert(*key);
        }
    }
}

/// Hops sorted and without doubles: the form in which routes are compared.
fn canonical(mut route: Route) -> Route {
    route.hops.sort_unstable();
    route.hops.dedup();
    route
}

/// The class of a route of ours by what it is, which is all that is known of one from before a restart.
pub(crate) fn class_of(route: &Route) -> Sweep {
    if route.kind == RouteKind::Unicast { Sweep::Learned } else { Sweep::Static }
}

/// Whether the address carries our mark.
pub(crate) const fn is_ours(address: &Address) -> bool {
    address.protocol == ADDRESS_PROTOCOL
}
