//! A dataplane, a model kernel, what is wanted, and the checks that hold at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::model::{Kernel, error, ip};
use crate::ident::*;
use crate::*;

/// Answers that the kernel gives instead of doing as told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// The step is refused.
    Errno(i32),
    /// The plan stops before this step, and no answer comes for the rest.
    HalfApplied,
}

/// Everything that a test looks at.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) kernel: Kernel,
    pub(crate) dataplane: Dataplane,
    pub(crate) now: Duration,
    /// What the owner of the dataplane wants, also while a fresh dataplane has not been told yet.
    pub(crate) learned: BTreeMap<petiole_prefix::Prefix, LearnedRoute>,
    pub(crate) statics: BTreeMap<RouteKey, Route>,
    pub(crate) addresses: BTreeSet<AddressWant>,
    pub(crate) swept: bool,
    pub(crate) plan: Option<Plan>,
    pub(crate) faults: Vec<Fault>,
    /// A dump was asked for, and not begun.
    pub(crate) dump_asked: bool,
    /// Notifications were lost since the last dump: what we overwrite we may not have been told of.
    pub(crate) blind: bool,
    /// The dataplane knows all that is wanted.
    pub(crate) told: bool,
    /// Every step that was handed out.
    pub(crate) steps: Vec<Step>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            kernel: Kernel::booted(),
            dataplane: Dataplane::new(Settings::default(), Duration::ZERO),
            now: Duration::ZERO,
            learned: BTreeMap::new(),
            statics: BTreeMap::new(),
            addresses: BTreeSet::new(),
            swept: false,
            plan: None,
            faults: Vec::new(),
            dump_asked: false,
            blind: false,
            told: true,
            steps: Vec::new(),
        }
    }

    pub(crate) fn want(&mut self, prefix: &str, route: Option<LearnedRoute>) {
        let prefix = prefix.parse().expect("a prefix");
        match &route {
            Some(r) => self.learned.insert(prefix, r.clone()),
            None => self.learned.remove(&prefix),
        };
        self.dataplane.update_learned([(prefix, route)]);
    }

    pub(crate) fn want_static(&mut self, routes: BTreeMap<RouteKey, Route>) {
        self.statics = routes.clone();
        self.dataplane.set_static_routes(routes);
    }

    pub(crate) fn want_addresses(&mut self, wants: BTreeSet<AddressWant>) {
        self.addresses = wants.clone();
        self.dataplane.set_addresses(wants);
    }

    pub(crate) fn sweep(&mut self) {
        self.swept = true;
        for what in [Sweep::Addresses, Sweep::Static, Sweep::Learned] {
            self.dataplane.allow_sweep(what);
        }
    }

    /// SIGKILL, with that many steps of the plan under way carried out, and a fresh start that is told nothing yet.
    pub(crate) fn crash(&mut self, after: usize) {
        if let Some(plan) = self.plan.take() {
            for step in plan.steps.iter().take(after) {
                self.kernel.apply(step).ok();
            }
        }
        self.kernel.told.clear();
        self.dataplane = Dataplane::new(Settings::default(), self.now);
        (self.swept, self.dump_asked, self.blind, self.told) = (false, false, false, false);
    }

    /// Tells a fresh dataplane all that is wanted.
    pub(crate) fn tell_all(&mut self) {
        self.told = true;
        self.dataplane.set_static_routes(self.statics.clone());
        self.dataplane.set_addresses(self.addresses.clone());
        self.dataplane.update_learned(self.learned.iter().map(|(p, r)| (*p, Some(r.clone()))));
    }

    /// What the kernel should hold of ours at a key, were nothing in the way.
    pub(crate) fn expected(&self, key: &RouteKey) -> Option<Route> {
        let mut route = if let Some(route) = self.statics.get(key) {
            route.clone()
        } else {
            let learned = self.learned.get(&key.prefix).filter(|_| *key == learned_key(key.prefix))?;
            Route {
                kind: RouteKind::Unicast,
                protocol: ROUTE_PROTOCOL,
                prefsrc: learned.prefsrc,
                hops: learned.hops.clone(),
            }
        };
        let link = |hop: &Hop| self.kernel.links.get(&hop.link);
        route.hops.retain(|h| link(h).is_some_and(|l| l.up && (l.carrier || h.gateway.is_none())));
        route.hops.sort_unstable();
        route.hops.dedup();
        (route.kind != RouteKind::Unicast || !route.hops.is_empty()).then_some(route)
    }

    /// The kernel has no compare-and-swap, so nobody can know what happens between its change and our reading of it; but a
    /// foreign route that was told must not be in a plan.
    fn check_put(&self, key: &RouteKey, step: &Step) {
        let first = self.kernel.routes.get(key).and_then(|l| l.first());
        if first.is_some_and(|r| r.protocol != ROUTE_PROTOCOL) {
            let untold = self.kernel.told.iter().any(|e| about(e) == Some(key));
            assert!(untold || self.blind, "would replace a foreign route: {step:?}");
        }
    }

    /// Takes the next plan, if there is one, and checks it.
    pub(crate) fn start_plan(&mut self) -> bool {
        if self.plan.is_some() {
            return false;
        }
        let Some(plan) = self.dataplane.poll_plan(self.now) else { return false };
        assert!(self.dataplane.poll_plan(self.now).is_none(), "two plans at once");
        let mut keys = BTreeSet::new();
        let mut stage = 0;
        for step in &plan.steps {
            let at = match step {
                Step::AddAddress(_) => 0,
                // A changed address is taken off and put on again, at the beginning.
                Step::DeleteAddress(a) => {
                    if self.addresses.iter().any(|w| w.addr == a.addr) {
                        0
                    } else {
                        3
                    }
                }
                Step::PutRoute(..) => 1,
                Step::DeleteRoute(..) => 2,
            };
            assert!(at >= stage, "out of order: {:?}", plan.steps);
            stage = at;
            if let Some(key) = step.route_key() {
                assert!(keys.insert(*key), "a route twice in a plan: {:?}", plan.steps);
            }
            match step {
                Step::DeleteRoute(key, route) => {
                    assert_eq!(route.protocol, ROUTE_PROTOCOL, "{step:?}");
                    let lost = self.expected(key).filter(|r| self.kernel.check(r).is_ok());
                    let stale = !self.kernel.told.is_empty() || self.blind;
                    // It cannot know that a learned route stands behind one that it has not been told of.
                    let stale = stale || (!self.told && self.statics.contains_key(key));
                    assert!(lost.is_none() || stale, "deletes what is wanted: {step:?}, {lost:?}");
                }
                Step::DeleteAddress(a) => assert_eq!(a.protocol, ADDRESS_PROTOCOL, "{step:?}"),
                Step::PutRoute(key, _, Put::Replace) => self.check_put(key, step),
                Step::AddAddress(_) | Step::PutRoute(_, _, Put::Create) => {}
            }
        }
        self.steps.extend(plan.steps.iter().cloned());
        self.plan = Some(plan);
        true
    }

    /// Carries out the plan under way and hands the answers over.
    pub(crate) fn finish_plan(&mut self) -> bool {
        let Some(plan) = self.plan.take() else { return false };
        let mut results = Vec::new();
        for step in &plan.steps {
            match self.faults.pop() {
                Some(Fault::HalfApplied) => break,
                Some(Fault::Errno(errno)) => results.push(Err(error(errno))),
                None => results.push(self.kernel.apply(step)),
            }
        }
        self.dataplane.handle_done(plan.id, results, self.now);
        true
    }

    /// Hands over up to that many notifications.
    pub(crate) fn deliver(&mut self, count: usize) -> bool {
        let mut any = false;
        for _ in 0..count {
            let Some(event) = self.kernel.told.pop_front() else { break };
            self.blind &= event != KernelEvent::DumpEnd;
            self.dataplane.handle_event(event, self.now);
            any = true;
        }
        any
    }

    pub(crate) fn ask_dump(&mut self) -> bool {
        let asked = self.dataplane.poll_dump_wanted();
        self.dump_asked |= asked;
        asked
    }

    /// Reads a dump; the newest `late` notifications are read only after it, as happens when they come while it runs.
    pub(crate) fn read_dump(&mut self, late: usize) -> bool {
        if !std::mem::take(&mut self.dump_asked) {
            return false;
        }
        let after = self.kernel.told.split_off(self.kernel.told.len().saturating_sub(late));
        let dump = self.kernel.dump();
        self.kernel.told.extend(dump);
        self.kernel.told.extend(after);
        true
    }

    /// The kernel's buffer is full: what waits is lost.
    pub(crate) fn overrun(&mut self) {
        // A dump has a socket of its own.
        if !self.kernel.told.contains(&KernelEvent::DumpEnd) {
            self.kernel.told.clear();
            self.kernel.told.push_back(KernelEvent::Overrun);
            self.blind = true;
        }
    }

    /// Lets everything happen until nothing is left to do but wait for the periodic check.
    pub(crate) fn settle(&mut self) {
        // Longer than the longest wait between retries.
        let limit = self.now + Duration::from_secs(45);
        for _ in 0..2_000 {
            let moved =
                self.deliver(usize::MAX) | self.finish_plan() | self.ask_dump() | self.read_dump(0) | self.start_plan();
            if moved {
                continue;
            }
            match self.dataplane.poll_timeout() {
                Some((at, reason)) if reason != TimerReason::Resync && at <= limit => self.advance(at),
                _ => return,
            }
        }
        panic!(
            "does not settle: {:?}, {:?}",
            self.dataplane.problems(),
            self.steps.iter().rev().take(6).collect::<Vec<_>>()
        );
    }

    pub(crate) fn advance(&mut self, to: Duration) {
        self.now = self.now.max(to);
        self.dataplane.handle_timeout(self.now);
    }

    /// After everything settled: the kernel holds of ours what is wanted and possible, and the answers say so.
    pub(crate) fn check(&self) {
        let held = self.kernel.ours();
        let foreign = self.kernel.foreign();
        let keys: BTreeSet<RouteKey> = held
            .keys()
            .chain(self.statics.keys())
            .copied()
            .chain(self.learned.keys().map(|p| learned_key(*p)))
            .collect();
        for key in keys {
            let state = self.dataplane.state(&key);
            let wanted = self.statics.contains_key(&key)
                || learned_key(key.prefix) == key && self.learned.contains_key(&key.prefix);
            let have = held.get(&key);
            match (wanted, self.expected(&key)) {
                (false, _) => {
                    assert!(have.is_none() || !self.swept, "{key:?} is left over: {have:?} {state:?}");
                    assert_eq!(state, if have.is_some() { RouteState::Adopted } else { RouteState::Absent }, "{key:?}");
                }
                (true, None) => {
                    assert_eq!(have, None, "{key:?} has no way out");
                    assert_eq!(state, RouteState::LinkDown, "{key:?}");
                }
                (true, Some(value)) => {
                    if have == Some(&value) {
                        assert_eq!(state, RouteState::InKernel, "{key:?}");
                    } else if let Some(theirs) = foreign.get(&key) {
                        let told = matches!(&state, RouteState::HeldByForeign { route } if theirs.contains(route));
                        assert!(told || matches!(state, RouteState::SourceMissing { .. }), "{key:?}: {state:?}");
                    } else {
                        let why = self.kernel.check(&value);
                        assert!(why.is_err(), "{key:?} should be {value:?}, is {have:?}: {state:?}");
                        let said = matches!(state, RouteState::Failed { .. } | RouteState::SourceMissing { .. });
                        assert!(said, "{key:?}: {why:?} but {state:?}");
                        assert!(!self.dataplane.problems().is_empty());
                    }
                }
            }
        }
        for problem in self.dataplane.problems() {
            let is_so = match &problem {
                Problem::AddressRefused { addr, len, .. } => {
                    matches!(self.dataplane.address_state(*addr, *len), AddressState::Failed { .. })
                }
                Problem::RoutesRefused { example, .. } => {
                    matches!(self.dataplane.state(example), RouteState::Failed { .. })
                }
                _ => true,
            };
            assert!(is_so, "{problem:?} is over");
        }
        for want in &self.addresses {
            let on_lo = |a: &&Address| a.link == super::model::LO && a.addr == want.addr;
            assert!(self.kernel.addresses.iter().any(|a| on_lo(&a)), "{want:?} is missing");
            assert!(self.dataplane.address_state(want.addr, want.len).is_usable(), "{want:?}");
        }
        if self.swept {
            let used = |a: &Address| held.values().any(|r| r.prefsrc == Some(a.addr));
            for a in
                self.kernel.addresses.iter().filter(|a| a.protocol == ADDRESS_PROTOCOL && a.link == super::model::LO)
            {
                let wanted = self.addresses.iter().any(|w| w.addr == a.addr);
                assert!(wanted || used(a), "{a:?} is left over");
            }
        }
    }
}

fn about(event: &KernelEvent) -> Option<&RouteKey> {
    match event {
        KernelEvent::Route(k, _) | KernelEvent::RouteReplaced(k, _) | KernelEvent::RouteGone(k, _) => Some(k),
        _ => None,
    }
}

pub(crate) fn learned_key(prefix: petiole_prefix::Prefix) -> RouteKey {
    RouteKey { prefix, table: TABLE_MAIN, metric: METRIC_LEARNED }
}

pub(crate) fn key(prefix: &str) -> RouteKey {
    learned_key(prefix.parse().expect("a prefix"))
}

/// A learned route over the uplinks with these indexes.
pub(crate) fn over(links: &[LinkIndex], source: Option<&str>, v6: bool) -> LearnedRoute {
    let gateway = |l: &LinkIndex| ip(&if v6 { format!("fd00:1:{l}::2") } else { format!("10.1.{l}.2") });
    let hops = links.iter().map(|l| Hop { gateway: Some(gateway(l)), link: *l }).collect();
    LearnedRoute { hops, prefsrc: source.map(ip) }
}

pub(crate) fn blackhole() -> Route {
    Route { kind: RouteKind::Blackhole, protocol: ROUTE_PROTOCOL, prefsrc: None, hops: Vec::new() }
}

pub(crate) fn foreign(link: LinkIndex) -> Route {
    let hops = vec![Hop { gateway: Some(ip(&format!("10.1.{link}.9"))), link }];
    Route { kind: RouteKind::Unicast, protocol: 4, prefsrc: None, hops }
}

pub(crate) fn own(addr: &str, len: u8) -> AddressWant {
    AddressWant { addr: ip(addr), len, scope: Scope::Global, deprecated: false }
}
