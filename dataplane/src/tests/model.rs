//! A model of the kernel's tables, written from its behaviour and independent of the code under test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use petiole_prefix::Family;

use crate::ident::ROUTE_PROTOCOL;
use crate::kernel::*;

pub(crate) const EPERM: i32 = 1;
pub(crate) const ESRCH: i32 = 3;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const ENODEV: i32 = 19;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const EADDRNOTAVAIL: i32 = 99;
pub(crate) const ENETDOWN: i32 = 100;
pub(crate) const ENETUNREACH: i32 = 101;

pub(crate) const LO: LinkIndex = 1;

/// Links, addresses, routes, and the notifications that nobody has read yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) links: BTreeMap<LinkIndex, Link>,
    pub(crate) addresses: Vec<Address>,
    /// In the order in which the kernel looks them up: the first of a key is the one in use.
    pub(crate) routes: BTreeMap<RouteKey, Vec<Route>>,
    pub(crate) told: VecDeque<KernelEvent>,
}

pub(crate) fn error(errno: i32) -> KernelError {
    KernelError { errno, detail: None }
}

fn same(a: &Route, b: &Route) -> bool {
    a.kind == b.kind && a.protocol == b.protocol && a.prefsrc == b.prefsrc && a.hops == b.hops
}

impl Kernel {
    /// `lo` and two uplinks, each with one address of either family.
    pub(crate) fn booted() -> Self {
        let mut kernel = Self::default();
        for (index, name) in [(LO, "lo"), (2, "up1"), (3, "up2")] {
            kernel.links.insert(index, Link { index, name: name.into(), up: true, carrier: true, mtu: 1500 });
        }
        for link in [2, 3] {
            for addr in [format!("10.1.{link}.1"), format!("fd00:1:{link}::1")] {
                kernel.addresses.push(address(link, &addr, if addr.contains(':') { 64 } else { 24 }, 0));
            }
        }
        kernel
    }

    /// Everything, as a dump tells it.
    pub(crate) fn dump(&self) -> Vec<KernelEvent> {
        let mut events = vec![KernelEvent::DumpBegin];
        events.extend(self.links.values().cloned().map(KernelEvent::Link));
        events.extend(self.addresses.iter().cloned().map(KernelEvent::Address));
        events.extend(self.routes.iter().flat_map(|(k, l)| l.iter().map(|r| KernelEvent::Route(*k, r.clone()))));
        events.push(KernelEvent::DumpEnd);
        events
    }

    pub(crate) fn ours(&self) -> BTreeMap<RouteKey, Route> {
        let ours = |l: &Vec<Route>| l.iter().find(|r| r.protocol == ROUTE_PROTOCOL).cloned();
        self.routes.iter().filter_map(|(k, l)| Some((*k, ours(l)?))).collect()
    }

    pub(crate) fn foreign(&self) -> BTreeMap<RouteKey, Vec<Route>> {
        let theirs = |l: &Vec<Route>| l.iter().filter(|r| r.protocol != ROUTE_PROTOCOL).cloned().collect::<Vec<_>>();
        self.routes.iter().map(|(k, l)| (*k, theirs(l))).filter(|(_, l)| !l.is_empty()).collect()
    }

    pub(crate) fn is_local(&self, addr: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.addr == addr)
    }

    /// Carries out a step of the agent: nothing is told about it.
    pub(crate) fn apply(&mut self, step: &Step) -> StepResult {
        let before = self.told.len();
        let result = match step {
            Step::AddAddress(address) => self.add_address(address.clone()),
            Step::DeleteAddress(address) => self.delete_address(address),
            Step::PutRoute(key, route, put) => self.put(*key, route.clone(), *put),
            Step::DeleteRoute(key, route) => self.delete(key, route.protocol),
        };
        // Only routes are kept from us: notifications about addresses come, as from anybody's change.
        let told = self.told.split_off(before);
        self.told
            .extend(told.into_iter().filter(|e| matches!(e, KernelEvent::Address(_) | KernelEvent::AddressGone(_))));
        result
    }

    pub(crate) fn check(&self, route: &Route) -> StepResult {
        if route.prefsrc.is_some_and(|s| !self.is_local(s)) {
            return Err(error(EINVAL));
        }
        for hop in &route.hops {
            let Some(link) = self.links.get(&hop.link) else { return Err(error(ENODEV)) };
            if !link.up {
                return Err(error(ENETDOWN));
            }
            let family = hop.gateway.map(Family::of);
            if family.is_some_and(|f| !self.addresses.iter().any(|a| a.link == hop.link && Family::of(a.addr) == f)) {
                return Err(error(ENETUNREACH));
            }
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, key: RouteKey, route: Route, put: Put) -> StepResult {
        self.check(&route)?;
        let list = self.routes.entry(key).or_default();
        match put {
            Put::Create if !list.is_empty() => return Err(error(EEXIST)),
            Put::Create => {
                list.push(route.clone());
                self.told.push_back(KernelEvent::Route(key, route));
            }
            Put::Replace => {
                match list.first_mut() {
                    // Nothing happens, and nothing is told, when it is the same.
                    Some(first) if same(first, &route) => return Ok(()),
                    Some(first) => *first = route.clone(),
                    None => list.push(route.clone()),
                }
                self.told.push_back(KernelEvent::RouteReplaced(key, route));
            }
        }
        Ok(())
    }

    /// Another program's `append`: beside what is there.
    pub(crate) fn append(&mut self, key: RouteKey, route: Route) {
        if self.check(&route).is_ok() && !self.routes.get(&key).is_some_and(|l| l.contains(&route)) {
            self.routes.entry(key).or_default().push(route.clone());
            self.told.push_back(KernelEvent::Route(key, route));
        }
    }

    pub(crate) fn delete(&mut self, key: &RouteKey, protocol: u8) -> StepResult {
        let list = self.routes.entry(*key).or_default();
        let result = match list.iter().position(|r| r.protocol == protocol) {
            Some(at) => {
                let gone = list.remove(at);
                self.told.push_back(KernelEvent::RouteGone(*key, gone));
                Ok(())
            }
            None => Err(error(ESRCH)),
        };
        self.routes.retain(|_, l| !l.is_empty());
        result
    }

    pub(crate) fn add_address(&mut self, address: Address) -> StepResult {
        let v6 = Family::of(address.addr) == Family::V6;
        let taken = |a: &Address| a.link == address.link && a.addr == address.addr && (v6 || a.len == address.len);
        if self.addresses.iter().any(taken) {
            return Err(error(EEXIST));
        }
        if !self.links.contains_key(&address.link) {
            return Err(error(ENODEV));
        }
        self.addresses.push(address.clone());
        self.told.push_back(KernelEvent::Address(address));
        Ok(())
    }

    pub(crate) fn delete_address(&mut self, address: &Address) -> StepResult {
        let held = |a: &Address| a.link == address.link && a.addr == address.addr && a.len == address.len;
        let Some(at) = self.addresses.iter().position(held) else { return Err(error(EADDRNOTAVAIL)) };
        let gone = self.addresses.remove(at);
        if !self.is_local(gone.addr) {
            for list in self.routes.values_mut() {
                match Family::of(gone.addr) {
                    Family::V4 => list.retain(|r| r.prefsrc != Some(gone.addr)),
                    Family::V6 => {
                        for route in list.iter_mut().filter(|r| r.prefsrc == Some(gone.addr)) {
                            route.prefsrc = None;
                        }
                    }
                }
            }
            self.routes.retain(|_, l| !l.is_empty());
        }
        let v4 = |a: &Address| a.link == gone.link && Family::of(a.addr) == Family::V4;
        if v4(&gone) && !self.addresses.iter().any(v4) {
            // Without an IPv4 address, IPv4 is off on the interface: its hops are dead until there is one again.
            let alive: BTreeSet<_> =
                self.links.values().filter(|l| l.up && l.index != gone.link).map(|l| l.index).collect();
            self.drop_routes(|k, r| {
                let over = r.hops.iter().any(|h| h.link == gone.link);
                k.prefix.family() == Family::V4 && over && !r.hops.iter().any(|h| alive.contains(&h.link))
            });
        }
        self.told.push_back(KernelEvent::AddressGone(gone));
        Ok(())
    }

    pub(crate) fn set_link(&mut self, index: LinkIndex, up: bool, carrier: bool) {
        let Some(link) = self.links.get_mut(&index) else { return };
        let went_down = link.up && !up;
        (link.up, link.carrier) = (up, carrier && up);
        self.told.push_back(KernelEvent::Link(link.clone()));
        if went_down {
            let up: BTreeSet<_> = self.links.values().filter(|l| l.up).map(|l| l.index).collect();
            self.drop_routes(|_, r| !r.hops.is_empty() && r.hops.iter().all(|h| !up.contains(&h.link)));
        }
    }

    pub(crate) fn remove_link(&mut self, index: LinkIndex) {
        if !self.links.contains_key(&index) {
            return;
        }
        self.set_link(index, false, false);
        self.drop_routes(|k, r| k.prefix.family() == Family::V4 && r.hops.iter().any(|h| h.link == index));
        let mut stripped = Vec::new();
        for (key, list) in &mut self.routes {
            for route in list.iter_mut().filter(|r| r.hops.iter().any(|h| h.link == index)) {
                let (gone, kept) = route.hops.iter().partition(|h| h.link == index);
                stripped.push(KernelEvent::RouteGone(*key, Route { hops: gone, ..route.clone() }));
                route.hops = kept;
            }
        }
        self.told.extend(stripped);
        let theirs: Vec<_> = self.addresses.iter().filter(|a| a.link == index).cloned().collect();
        for address in theirs {
            self.delete_address(&address).expect("it is there");
        }
        self.links.remove(&index);
        self.told.push_back(KernelEvent::LinkGone(index));
    }

    pub(crate) fn restore_link(&mut self, index: LinkIndex) {
        let fresh = Self::booted();
        if let (None, Some(link)) = (self.links.get(&index), fresh.links.get(&index)) {
            self.links.insert(index, link.clone());
        }
        self.set_link(index, true, true);
        for address in fresh.addresses.into_iter().filter(|a| a.link == index) {
            self.add_address(address).ok();
        }
    }

    /// What the kernel drops by itself: of IPv4 it says nothing.
    fn drop_routes(&mut self, gone: impl Fn(&RouteKey, &Route) -> bool) {
        for (key, list) in &mut self.routes {
            let (dropped, kept) = std::mem::take(list).into_iter().partition(|r| gone(key, r));
            *list = kept;
            let dropped: Vec<Route> = dropped;
            if key.prefix.family() == Family::V6 {
                self.told.extend(dropped.into_iter().map(|r| KernelEvent::RouteGone(*key, r)));
            }
        }
        self.routes.retain(|_, l| !l.is_empty());
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn address(link: LinkIndex, addr: &str, len: u8, protocol: u8) -> Address {
    Address { link, addr: ip(addr), len, scope: Scope::Global, deprecated: false, protocol }
}
