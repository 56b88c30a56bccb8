//! What the dataplane answers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::dataplane::{Dataplane, is_ours};
use crate::kernel::{Address, Link, Route, RouteKey};
use crate::plan::is_as_wanted;
use crate::retry::Object;
use crate::state::{AddressState, Counters, Problem, RouteState};
use crate::values::{Effective, ValueId};

impl Dataplane {
    /// Where a route stands.
    #[must_use]
    pub fn state(&self, key: &RouteKey) -> RouteState {
        let entry = self.table.get(key);
        let object = Object::Route(*key);
        let Some(want) = entry.want else {
            return match entry.have {
                Some(_) => RouteState::Adopted,
                None => RouteState::Absent,
            };
        };
        match self.values.effective(want) {
            Effective::Write(id) if entry.have == Some(id) => RouteState::InKernel,
            Effective::Write(_) => {
                if let Some(route) = self.foreign.get(key).and_then(|l| l.first()) {
                    RouteState::HeldByForeign { route: route.clone() }
                } else if let Some(failure) = self.failures.get(&object) {
                    RouteState::Failed { error: failure.error.clone(), retry_at: failure.retry_at }
                } else {
                    RouteState::Pending
                }
            }
            Effective::LinkDown => RouteState::LinkDown,
            Effective::SourceMissing(source) => RouteState::SourceMissing { source },
        }
    }

    /// Where an address on `lo` stands.
    #[must_use]
    pub fn address_state(&self, addr: IpAddr, len: u8) -> AddressState {
        let held = self.find_on_loopback(addr, len);
        let Some(want) = self.address_wants.get(&(addr, len)) else {
            return match held {
                Some(a) if a.len != len => AddressState::Absent,
                Some(a) if is_ours(a) => AddressState::Adopted,
                Some(a) => AddressState::HeldByForeign { address: a.clone() },
                None => AddressState::Absent,
            };
        };
        match held {
            Some(a) if !is_ours(a) => AddressState::HeldByForeign { address: a.clone() },
            Some(a) if is_as_wanted(a, want) => AddressState::InKernel,
            Some(_) | None => match self.failures.get(&Object::Address(addr, len)) {
                Some(f) => AddressState::Failed { error: f.error.clone(), retry_at: f.retry_at },
                None => AddressState::Pending,
            },
        }
    }

    /// The interfaces, by index.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.mirror.links.values()
    }

    /// The addresses of all interfaces.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.mirror.addresses.values()
    }

    /// Every mirrored route: first ours, then those of others, each by table, metric and prefix or by key.
    pub fn observed_routes(&self) -> impl Iterator<Item = (RouteKey, &Route)> {
        self.table
            .iter()
            .filter_map(|(key, entry)| Some((key, self.values.route(entry.have?)?)))
            .chain(self.foreign.iter().flat_map(|(key, list)| list.iter().map(|route| (*key, route))))
    }

    /// Every wanted route, whole: also what is not in the kernel because an interface is down.
    pub fn wanted_routes(&self) -> impl Iterator<Item = (RouteKey, &Route)> {
        self.table.iter().filter_map(|(key, entry)| Some((key, self.values.route(entry.want?)?)))
    }

    /// What a person should know, in a fixed order, one entry per cause.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.mirrored && !self.mirror.loopback().is_some_and(|l| l.up) {
            problems.push(Problem::LoopbackDown);
        }
        for &(addr, len) in self.address_wants.keys() {
            if let Some(held) = self.find_on_loopback(addr, len).filter(|a| a.len != len && !is_ours(a)) {
                problems.push(Problem::AddressHeld { addr, len, held_len: held.len });
            }
        }
        let mut refused = BTreeMap::new();
        for (object, failure) in self.failures.iter() {
            match *object {
                Object::Address(addr, len) => {
                    problems.push(Problem::AddressRefused { addr, len, error: failure.error.clone() });
                }
                Object::Route(key) => refused.entry(&failure.error).or_insert((0, key)).0 += 1,
            }
        }
        problems.extend(refused.into_iter().map(|(error, (count, example))| Problem::RoutesRefused {
            count,
            example,
            error: error.clone(),
        }));
        problems.extend(self.held_problems());
        problems.extend(self.values.wanted().filter_map(|(id, count)| self.source_problem(id, count)));
        if let Some(since) = self.waiting_since.filter(|at| self.now >= at.saturating_add(self.settings.dump_overdue)) {
            problems.push(Problem::DumpOverdue { since });
        }
        problems
    }

    /// Whether a first dump is complete, so that links and addresses are known.
    #[must_use]
    pub const fn is_mirrored(&self) -> bool {
        self.mirrored
    }

    /// Whether the kernel holds what is wanted, as far as others, links and addresses let it.
    #[must_use]
    pub fn in_sync(&self) -> bool {
        self.mirrored
            && !self.dump_wanted
            && self.dump_since().is_none()
            && self.in_flight.is_none()
            && self.puts.is_empty()
            && self.deletes.is_empty()
            && self.failures.is_empty()
            && !self.has_address_steps()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn held_problems(&self) -> impl Iterator<Item = Problem> {
        let mut held = BTreeMap::new();
        for (key, list) in &self.foreign {
            if let (Some(first), Some(_)) = (list.first(), self.table.get(key).want) {
                held.entry(first.protocol).or_insert((0, *key)).0 += 1;
            }
        }
        held.into_iter().map(|(protocol, (count, example))| Problem::RoutesHeld { count, example, protocol })
    }

    fn source_problem(&self, id: ValueId, count: u32) -> Option<Problem> {
        let Effective::SourceMissing(source) = self.values.effective(id) else { return None };
        let (example, _) = self.table.iter().find(|(_, e)| e.want == Some(id))?;
        Some(Problem::SourceMissing { count: usize::try_from(count).unwrap_or(usize::MAX), example, source })
    }
}
