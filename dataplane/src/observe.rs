//! The mirror: dumps and notifications of the kernel, and what it does without telling.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::Family;

use crate::dataplane::{Dataplane, Dump, Told, is_ours};
use crate::ident::ROUTE_PROTOCOL;
use crate::kernel::{Address, KernelEvent, Link, LinkIndex, Route, RouteKey, RouteKind};
use crate::retry::Object;
use crate::table::Entry;
use crate::values::{ValueId, World};

impl Dataplane {
    /// Takes one fact about the kernel into the mirror.
    pub fn handle_event(&mut self, event: KernelEvent, now: Duration) {
        self.now = now;
        match event {
            KernelEvent::DumpBegin => self.dump_begin(),
            KernelEvent::DumpEnd => self.dump_end(),
            KernelEvent::Link(link) => self.link(link),
            KernelEvent::LinkGone(index) => self.link_gone(index),
            KernelEvent::Address(address) => self.address(address),
            KernelEvent::AddressGone(address) => self.address_gone(&address),
            KernelEvent::Route(key, route) => self.route(key, canonical_hops(route)),
            KernelEvent::RouteReplaced(key, route) => self.route_replaced(key, canonical_hops(route)),
            KernelEvent::RouteGone(key, route) => self.route_gone(key, &canonical_hops(route)),
            KernelEvent::Overrun => {
                self.counters.overruns += 1;
                self.dump_wanted = true;
            }
        }
    }

    fn dump_begin(&mut self) {
        let (at, touched) = match std::mem::replace(&mut self.dump, Dump::Idle) {
            // One that nobody asked for: what a plan is changing meanwhile may be told in either form.
            Dump::Idle => {
                self.dump_wanted |= self.in_flight.is_some();
                (self.now, BTreeSet::new())
            }
            Dump::Asked { at, touched } => (at, touched),
            Dump::Running { at, touched, .. } => {
                // The driver had to start over.
                self.table.clear_seen();
                (at, touched)
            }
        };
        self.dump = Dump::Running { at, touched, told: Told::default() };
    }

    fn dump_end(&mut self) {
        let Dump::Running { touched, told, .. } = std::mem::replace(&mut self.dump, Dump::Idle) else { return };
        let links: Vec<_> = self.mirror.links.keys().filter(|i| !told.links.contains(i)).copied().collect();
        for index in links {
            self.link_gone(index);
        }
        let addresses: Vec<_> =
            self.mirror.addresses.iter().filter(|(k, _)| !told.addresses.contains(k)).map(|(_, a)| a.clone()).collect();
        for address in addresses {
            self.address_gone(&address);
        }
        for key in self.table.keys_where(|e| e.have.is_some() && !e.seen) {
            if !touched.contains(&key) {
                self.changed_by_others(&key, None);
            }
        }
        self.table.clear_seen();
        let before = std::mem::replace(&mut self.foreign, told.foreign);
        let first = !std::mem::replace(&mut self.mirrored, true);
        self.counters.dumps += 1;
        self.waiting_since = None;
        self.next_resync = self.now.saturating_add(self.settings.resync);
        if first {
            for key in self.table.keys_where(|_| true) {
                self.reassess(&key);
            }
        } else {
            let moved: BTreeSet<RouteKey> = before
                .iter()
                .filter(|(k, r)| self.foreign.get(k) != Some(r))
                .map(|(k, _)| *k)
                .chain(self.foreign.keys().filter(|k| !before.contains_key(k)).copied())
                .collect();
            for key in moved {
                self.reassess(&key);
            }
        }
    }

    fn link(&mut self, link: Link) {
        let index = link.index;
        if let Dump::Running { told, .. } = &mut self.dump {
            told.links.insert(index);
        }
        let before = self.mirror.links.get(&index).map(|l| (l.up, l.carrier));
        let was_up = before.is_some_and(|(up, _)| up);
        let (is_up, now) = (link.up, Some((link.up, link.carrier)));
        let old = self.mirror.links.insert(index, link);
        if was_up && !is_up {
            self.routes_lost_with(index, Loss::Down);
        }
        if old != self.mirror.links.get(&index).cloned() {
            self.world_changed(before != now);
        }
    }

    fn link_gone(&mut self, index: LinkIndex) {
        if self.mirror.links.remove(&index).is_none() {
            return;
        }
        self.routes_lost_with(index, Loss::Unregistered);
        let addresses: Vec<_> = self.mirror.addresses.values().filter(|a| a.link == index).cloned().collect();
        for address in addresses {
            self.address_gone(&address);
        }
        self.world_changed(true);
    }

    /// The kernel drops routes whose interface goes down or away, or loses its last IPv4 address, for IPv4 without a word
    /// (`fib_sync_down_dev` in `net/ipv4/fib_semantics.c`, `fib_inetaddr_event` in `fib_frontend.c`). One with other ways
    /// out stays, unless the interface is unregistered.
    fn routes_lost_with(&mut self, index: LinkIndex, loss: Loss) {
        let over: Vec<(ValueId, Route)> = self
            .values
            .held()
            .filter(|(_, r)| r.hops.iter().any(|h| h.link == index))
            .map(|(id, r)| (id, r.clone()))
            .collect();
        for (id, route) in over {
            let up = |link| self.mirror.links.get(&link).is_some_and(|l| l.up);
            let others = route.hops.iter().any(|h| h.link != index && up(h.link));
            for key in self.table.keys_where(|e| e.have == Some(id)) {
                let v4 = key.prefix.family() == Family::V4;
                let gone = match loss {
                    Loss::Down => !others,
                    Loss::LastAddress => v4 && !others,
                    Loss::Unregistered => v4 || !others,
                };
                if gone {
                    self.set_have(&key, None);
                } else if loss == Loss::Unregistered {
                    let hops = route.hops.iter().copied().filter(|h| h.link != index).collect();
                    self.set_have(&key, Some(&Route { hops, ..route.clone() }));
                }
            }
        }
        // What was lost is worked out here and now, so that the rest is repaired at once; the dump makes sure.
        self.dump_wanted = true;
    }

    fn address(&mut self, address: Address) {
        let key = (address.link, address.addr, address.len);
        if let Dump::Running { told, .. } = &mut self.dump {
            told.addresses.insert(key);
        }
        if self.mirror.addresses.get(&key) != Some(&address) {
            self.put_address(address);
        }
    }

    /// An address is there: told, or put on by us.
    pub(crate) fn put_address(&mut self, address: Address) {
        let object = Object::Address(address.addr, address.len);
        self.mirror.addresses.insert((address.link, address.addr, address.len), address);
        self.failures.clear(&object);
        if self.drifted.remove(&object) {
            self.counters.drift_repaired += 1;
        }
        self.world_changed(true);
    }

    fn address_gone(&mut self, address: &Address) {
        let on_lo = self.mirror.loopback().is_some_and(|l| l.index == address.link);
        if on_lo
            && self.mirrored
            && self.address_wants.contains_key(&(address.addr, address.len))
            && self.mirror.addresses.get(&(address.link, address.addr, address.len)).is_some_and(is_ours)
            && self.drifted.insert(Object::Address(address.addr, address.len))
        {
            self.counters.drift_found += 1;
        }
        self.take_address(address);
    }

    /// An address is off: told, or taken off by us.
    pub(crate) fn take_address(&mut self, address: &Address) {
        if self.mirror.addresses.remove(&(address.link, address.addr, address.len)).is_none() {
            return;
        }
        self.failures.clear(&Object::Address(address.addr, address.len));
        self.routes_lost_without(address.addr);
        let v4 = |a: &Address| a.link == address.link && Family::of(a.addr) == Family::V4;
        if v4(address) && !self.mirror.addresses.values().any(v4) {
            self.routes_lost_with(address.link, Loss::LastAddress);
        }
        self.world_changed(true);
    }

    /// The kernel takes routes away with their preferred source, without a word (`fib_sync_down_addr` in
    /// `net/ipv4/fib_semantics.c`), or strips it from them (`fib6_remove_prefsrc` in `net/ipv6/route.c`).
    fn routes_lost_without(&mut self, source: IpAddr) {
        if self.mirror.is_source(source) {
            return;
        }
        let with: Vec<(ValueId, Route)> =
            self.values.held().filter(|(_, r)| r.prefsrc == Some(source)).map(|(id, r)| (id, r.clone())).collect();
        for (id, route) in with {
            let stripped = Route { prefsrc: None, ..route };
            for key in self.table.keys_where(|e| e.have == Some(id)) {
                let v6 = key.prefix.family() == Family::V6;
                self.set_have(&key, v6.then_some(&stripped));
            }
            self.dump_wanted = true;
        }
    }

    /// Links or addresses changed: what was refused may work now, and what can be written may be more or less.
    fn world_changed(&mut self, recompute: bool) {
        for object in self.failures.kick(self.now) {
            if let Object::Route(key) = object {
                self.reassess(&key);
            }
        }
        if !recompute {
            return;
        }
        let changed = self.values.refresh(&self.mirror);
        if !changed.is_empty() {
            for key in self.table.keys_where(|e| e.want.is_some_and(|id| changed.contains(&id))) {
                self.reassess(&key);
            }
        }
    }

    fn route(&mut self, key: RouteKey, route: Route) {
        if is_ours_route(&route) {
            if let Dump::Running { touched, .. } = &self.dump {
                let entry = self.table.get(&key);
                let skip = touched.contains(&key) || entry.seen;
                if entry.have.is_some() {
                    self.table.set(&key, Entry { seen: true, ..entry });
                }
                if skip {
                    return;
                }
                self.changed_by_others(&key, Some(&route));
                let entry = self.table.get(&key);
                self.table.set(&key, Entry { seen: true, ..entry });
            } else {
                self.note_collision(&key);
                self.changed_by_others(&key, Some(&route));
            }
            return;
        }
        match &mut self.dump {
            Dump::Running { told, .. } => told.foreign.entry(key).or_default().push(route),
            Dump::Idle | Dump::Asked { .. } => {
                self.note_collision(&key);
                let list = self.foreign.entry(key).or_default();
                if !list.contains(&route) {
                    // IPv6 tells all hops again when one is added.
                    list.retain(|r| !is_grown(r, &route, key.prefix.family()));
                    list.push(route);
                }
                self.reassess(&key);
            }
        }
    }

    fn route_replaced(&mut self, key: RouteKey, route: Route) {
        self.note_collision(&key);
        self.foreign.remove(&key);
        if is_ours_route(&route) {
            self.changed_by_others(&key, Some(&route));
        } else {
            self.foreign.insert(key, vec![route]);
            self.changed_by_others(&key, None);
        }
    }

    fn route_gone(&mut self, key: RouteKey, route: &Route) {
        self.note_collision(&key);
        if is_ours_route(route) {
            let left = self.table.get(&key).have.and_then(|id| self.values.route(id)).and_then(|r| without(r, route));
            self.changed_by_others(&key, left.as_ref());
            return;
        }
        let Some(list) = self.foreign.get_mut(&key) else { return };
        let matched = if let Some(at) = list.iter().position(|r| r == route) {
            list.remove(at);
            true
        } else if let Some(at) = list.iter().position(|r| r.protocol == route.protocol && r.kind == route.kind) {
            match list.get(at).and_then(|r| without(r, route)) {
                Some(left) => list[at] = left,
                None => drop(list.remove(at)),
            }
            true
        } else {
            false
        };
        self.dump_wanted |= !matched;
        if list.is_empty() {
            self.foreign.remove(&key);
        }
        self.reassess(&key);
    }

    /// Somebody writes a route that a plan of ours is writing too: who came last is not known, so a dump has to tell.
    fn note_collision(&mut self, key: &RouteKey) {
        self.dump_wanted |= self.in_flight.as_ref().is_some_and(|p| p.keys.contains(key));
    }

    /// A route of ours is not as we left it.
    fn changed_by_others(&mut self, key: &RouteKey, route: Option<&Route>) {
        let before = self.table.get(key);
        let settled = self.is_settled(before);
        self.set_have(key, route);
        let after = self.table.get(key);
        if self.mirrored
            && before.want.is_some()
            && settled
            && !self.is_settled(after)
            && self.drifted.insert(Object::Route(*key))
        {
            self.counters.drift_found += 1;
        }
    }
}

/// What happened to an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Loss {
    Down,
    LastAddress,
    Unregistered,
}

/// Whether the route carries our mark; one of a kind that we never write is not ours, whatever it says.
pub(crate) fn is_ours_route(route: &Route) -> bool {
    route.protocol == ROUTE_PROTOCOL && route.kind != RouteKind::Other
}

fn canonical_hops(mut route: Route) -> Route {
    route.hops.sort_unstable();
    route.hops.dedup();
    route
}

/// What is left of a multipath route when IPv6 takes some of its hops away; `None` when nothing is.
fn without(route: &Route, gone: &Route) -> Option<Route> {
    let hops: Vec<_> = route.hops.iter().copied().filter(|h| !gone.hops.contains(h)).collect();
    (!hops.is_empty() && !gone.hops.is_empty()).then(|| Route { hops, ..route.clone() })
}

/// Whether `new` is `old` with more hops.
fn is_grown(old: &Route, new: &Route, family: Family) -> bool {
    family == Family::V6
        && old.protocol == new.protocol
        && old.kind == new.kind
        && !old.hops.is_empty()
        && old.hops.iter().all(|h| new.hops.contains(h))
}
