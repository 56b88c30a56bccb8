//! Route values, each stored once.
//!
//! A table of half a million learned routes has a handful of different values: the hop sets that the leaves make possible.
//! Entries hold a [`ValueId`] of four bytes, comparing wanted and observed is comparing two numbers, and what a change of an
//! interface means is worked out once per value instead of once per route.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;

use crate::kernel::{Hop, Route, RouteKind};

/// Names a value in [`Values`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ValueId(NonZeroU32);

impl ValueId {
    const fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What can be written of a wanted value, as interfaces and addresses are now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effective {
    /// All of it, or what is left over the interfaces that are up.
    Write(ValueId),
    /// Nothing: every interface is down or gone.
    LinkDown,
    /// Nothing: the preferred source is no address of this node.
    SourceMissing(IpAddr),
}

/// What [`Values`] must know about the world.
pub(crate) trait World {
    /// Whether packets can leave by the hop.
    fn is_usable(&self, hop: Hop) -> bool;
    /// Whether the kernel would take the address as a preferred source.
    fn is_source(&self, addr: IpAddr) -> bool;
}

#[derive(Debug)]
struct Slot {
    route: Route,
    /// Entries that want it.
    wants: u32,
    /// Entries that hold it in the kernel.
    haves: u32,
    /// Other values whose effective value it is.
    parents: u32,
    effective: Effective,
}

/// The store of values.
#[derive(Debug, Default)]
pub(crate) struct Values {
    slots: Vec<Option<Slot>>,
    free: BTreeSet<u32>,
    index: BTreeMap<Route, ValueId>,
}

/// Who refers to a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    Want,
    Have,
    Parent,
}

impl Values {
    pub(crate) fn route(&self, id: ValueId) -> Option<&Route> {
        Some(&self.slots.get(id.slot())?.as_ref()?.route)
    }

    pub(crate) fn effective(&self, id: ValueId) -> Effective {
        self.slots.get(id.slot()).and_then(Option::as_ref).map_or(Effective::LinkDown, |s| s.effective)
    }

    /// Takes one reference to the value, which is stored if it is new.
    pub(crate) fn acquire(&mut self, route: &Route, holder: Holder, world: &impl World) -> ValueId {
        let id = match self.index.get(route) {
            Some(&id) => id,
            None => self.insert(route, world),
        };
        self.count(id, holder, |n| n.saturating_add(1));
        id
    }

    /// Gives one reference back; the last one frees the value.
    pub(crate) fn release(&mut self, id: ValueId, holder: Holder) {
        self.count(id, holder, |n| n.saturating_sub(1));
        let Some(place) = self.slots.get_mut(id.slot()) else { return };
        if let Some(slot) = place.take_if(|s| s.wants == 0 && s.haves == 0 && s.parents == 0) {
            self.index.remove(&slot.route);
            self.free.insert(id.0.get());
            self.forget_effective(id, slot.effective);
        }
    }

    /// Works out again what can be written of every value; returns those for which the answer changed.
    pub(crate) fn refresh(&mut self, world: &impl World) -> BTreeSet<ValueId> {
        let ids: Vec<ValueId> = self.index.values().copied().collect();
        let mut changed = BTreeSet::new();
        for id in ids {
            // A value that only was the rest of another may be gone by now.
            let Some(route) = self.route(id).cloned() else { continue };
            let old = self.effective(id);
            let new = self.work_out(id, &route, world);
            if let Some(Some(slot)) = self.slots.get_mut(id.slot()) {
                slot.effective = new;
            }
            self.forget_effective(id, old);
            if old != new {
                changed.insert(id);
            }
        }
        changed
    }

    /// How many entries hold a value of this kind in the kernel.
    pub(crate) fn count_held(&self, kind: RouteKind) -> u64 {
        self.slots.iter().flatten().filter(|s| s.route.kind == kind).map(|s| u64::from(s.haves)).sum()
    }

    /// The values that entries hold in the kernel.
    pub(crate) fn held(&self) -> impl Iterator<Item = (ValueId, &Route)> {
        self.index.iter().filter(|&(_, &id)| self.counts(id).1 > 0).map(|(r, &id)| (id, r))
    }

    /// The values that entries want, with how many do.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (ValueId, u32)> {
        self.index.values().map(|&id| (id, self.counts(id).0)).filter(|&(_, n)| n > 0)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    fn counts(&self, id: ValueId) -> (u32, u32) {
        self.slots.get(id.slot()).and_then(Option::as_ref).map_or((0, 0), |s| (s.wants, s.haves))
    }

    fn insert(&mut self, route: &Route, world: &impl World) -> ValueId {
        let number = self.free.pop_first().unwrap_or_else(|| {
            self.slots.push(None);
            // Four thousand million different values do not fit in memory.
            u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
        });
        let id = ValueId(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN));
        self.index.insert(route.clone(), id);
        let slot = Slot { route: route.clone(), wants: 0, haves: 0, parents: 0, effective: Effective::LinkDown };
        if let Some(place) = self.slots.get_mut(id.slot()) {
            *place = Some(slot);
        }
        let effective = self.work_out(id, route, world);
        if let Some(Some(slot)) = self.slots.get_mut(id.slot()) {
            slot.effective = effective;
        }
        id
    }

    /// The answer for one value; where it is another value, a reference to that is taken.
    fn work_out(&mut self, id: ValueId, route: &Route, world: &impl World) -> Effective {
        let hops: Vec<_> = route.hops.iter().copied().filter(|h| world.is_usable(*h)).collect();
        // A learned route without a way out is a hole by another name.
        if hops.is_empty() && (!route.hops.is_empty() || route.kind == RouteKind::Unicast) {
            return Effective::LinkDown;
        }
        if let Some(source) = route.prefsrc.filter(|&s| !world.is_source(s)) {
            return Effective::SourceMissing(source);
        }
        if hops.len() == route.hops.len() {
            Effective::Write(id)
        } else {
            let rest = Route { hops, ..route.clone() };
            Effective::Write(self.acquire(&rest, Holder::Parent, world))
        }
    }

    fn forget_effective(&mut self, id: ValueId, effective: Effective) {
        match effective {
            Effective::Write(rest) if rest != id => self.release(rest, Holder::Parent),
            Effective::Write(_) | Effective::LinkDown | Effective::SourceMissing(_) => {}
        }
    }

    fn count(&mut self, id: ValueId, holder: Holder, change: impl Fn(u32) -> u32) {
        if let Some(Some(slot)) = self.slots.get_mut(id.slot()) {
            let n = match holder {
                Holder::Want => &mut slot.wants,
                Holder::Have => &mut slot.haves,
                Holder::Parent => &mut slot.parents,
            };
            *n = change(*n);
        }
    }
}
