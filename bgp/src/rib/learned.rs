//! The learned routes of one family: announcements and withdrawals in, batches of changed decisions out.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use petiole_prefix::Prefix;

use super::attrs::{AttrId, AttrStore};
use super::decision::{self, Candidate};
use super::index::Seed;
use super::reason::Reason;
use super::sources::Sources;
use super::table::{DIRTY, KNOWN, LOCAL, Path, SourceId, Table};
use super::{LocRoute, NextHop, PathInfo};
use crate::config::PeerId;
use crate::wire::Attributes;
use crate::wire::nlri::Bits;

/// A path with its prefix, for views.
pub(crate) struct PathOut<'a> {
    pub(crate) prefix: Prefix,
    pub(crate) peer: PeerId,
    pub(crate) reason: Reason,
    pub(crate) attributes: &'a Arc<Attributes>,
}

/// A path in use, as routes are told apart by.
type Used = (SourceId, AttrId, Reason);

/// What the paths of several families share.
pub(crate) struct Shared<'a> {
    pub(crate) attrs: &'a mut AttrStore,
    pub(crate) sources: &'a mut Sources,
}

/// The learned routes of one family.
pub(crate) struct Learned<K> {
    table: Table<K>,
    /// Slots whose decision changed and was not fetched, each once (flag `DIRTY`).
    dirty: VecDeque<u32>,
    /// Where the search for paths of ended sessions goes on; `None` when there are none.
    sweep: Option<u32>,
    candidates: Vec<Candidate<(std::net::Ipv4Addr, PeerId)>>,
}

impl<K: Bits> Learned<K> {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { table: Table::new(seed), dirty: VecDeque::new(), sweep: None, candidates: Vec::new() }
    }

    /// Takes in a path, in place of the one the source had before. `rejected` is the verdict of the import policy.
    #[inline]
    pub(crate) fn announce(
        &mut self,
        shared: &mut Shared<'_>,
        source: SourceId,
        (key, len): (K, u8),
        attrs: AttrId,
        rejected: Option<Reason>,
    ) {
        let reason = rejected.unwrap_or(Reason::Undecided);
        let slot = self.table.find_or_insert(key, len);
        let mut touched = false;
        if let Some(path) = self.table.paths_mut(slot).find(|p| p.source == source) {
            if path.attrs == attrs && path.reason.is_rejected() == reason.is_rejected() {
                return;
            }
            touched = path.reason.is_used();
            shared.attrs.hold(attrs);
            shared.attrs.release(path.attrs);
            path.attrs = attrs;
            path.reason = reason;
        } else {
            shared.attrs.hold(attrs);
            shared.sources.added(source, K::FAMILY);
            self.table.add_path(slot, Path { attrs, source, reason });
        }
        self.decide(shared, slot, touched);
    }

    /// Takes a path out, if it is there.
    #[inline]
    pub(crate) fn withdraw(&mut self, shared: &mut Shared<'_>, source: SourceId, (key, len): (K, u8)) {
        let Some(slot) = self.table.find(key, len) else { return };
        let Some(path) = self.table.remove_path(slot, |p| p.source == source) else { return };
        shared.attrs.release(path.attrs);
        shared.sources.removed(source, K::FAMILY);
        self.decide(shared, slot, path.reason.is_used());
    }

    /// Replaces the set of our own prefixes.
    pub(crate) fn set_local(&mut self, shared: &mut Shared<'_>, local: BTreeSet<(K, u8)>) {
        for slot in self.table.set_local(local) {
            self.decide(shared, slot, false);
        }
    }

    /// Starts looking for paths of sources that have ended.
    pub(crate) fn start_sweep(&mut self) {
        // A sweep under way has passed slots that are of interest now, so it starts over.
        self.sweep = Some(0);
    }

    /// Goes on looking through at most `budget` slots.
    pub(crate) fn sweep(&mut self, shared: &mut Shared<'_>, budget: &mut usize) {
        let Some(mut at) = self.sweep else { return };
        let end = self.table.end();
        while at < end && *budget > 0 && shared.sources.any_dead() {
            *budget -= 1;
            let slot = at;
            at += 1;
            if !self.table.is_vacant(slot) && self.table.paths(slot).any(|p| !shared.sources.is_alive(p.source)) {
                self.decide(shared, slot, false);
            }
        }
        self.sweep = (at < end && shared.sources.any_dead()).then_some(at);
    }

    /// Whether [`sweep`](Self::sweep) has more to do.
    pub(crate) const fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Decides anew. `touched`: a path that was in use was changed or taken out.
    #[inline]
    fn decide(&mut self, shared: &mut Shared<'_>, slot: u32, touched: bool) {
        let mut changed = touched;
        let local = self.table.flags(slot) & LOCAL != 0;
        if self.table.path_count(slot) == 1 {
            // Nearly all prefixes of a node with one leaf: nothing to compare.
            let dead = self.table.paths_mut(slot).next().is_some_and(|path| {
                if !shared.sources.is_alive(path.source) {
                    return true;
                }
                if !path.reason.is_rejected() {
                    let reason = if local { Reason::LostToLocal } else { Reason::Best };
                    changed |= path.reason != reason && (path.reason.is_used() || reason.is_used());
                    path.reason = reason;
                }
                false
            });
            if dead {
                changed |= self.purge(shared, slot);
            }
        } else {
            changed |= self.purge(shared, slot);
            changed |= self.compare(shared, slot, local);
        }
        if changed {
            if self.table.set_flag(slot, DIRTY, true) {
                self.dirty.push_back(slot);
            }
        } else if self.table.path_count(slot) == 0 && self.table.flags(slot) & (DIRTY | KNOWN) == 0 {
            self.table.free(slot);
        }
    }

    /// Takes out the paths of ended sources; says whether one was in use.
    fn purge(&mut self, shared: &mut Shared<'_>, slot: u32) -> bool {
        let mut used = false;
        while let Some(path) = self.table.remove_path(slot, |p| !shared.sources.is_alive(p.source)) {
            used |= path.reason.is_used();
            shared.attrs.release(path.attrs);
            shared.sources.removed(path.source, K::FAMILY);
        }
        used
    }

    fn compare(&mut self, shared: &Shared<'_>, slot: u32, local: bool) -> bool {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.clear();
        candidates.extend(self.table.paths(slot).filter_map(|path| {
            let source = shared.sources.get(path.source)?;
            let rank = shared.attrs.rank(path.attrs)?;
            Some(Candidate { rank, tie: (source.router_id, source.peer), reason: path.reason })
        }));
        decision::decide(&mut candidates, local);
        let mut changed = false;
        for (path, decided) in self.table.paths_mut(slot).zip(&candidates) {
            let (old, new) = (path.reason, decided.reason);
            changed |= old != new && (old.is_used() || new.is_used());
            path.reason = new;
        }
        self.candidates = candidates;
        changed
    }

    /// Moves at most `limit` changed routes into `out`.
    pub(crate) fn drain(
        &mut self,
        attrs: &AttrStore,
        sources: &Sources,
        limit: usize,
        out: &mut Vec<(Prefix, Option<LocRoute>)>,
    ) {
        let mut last: Option<(Vec<Used>, LocRoute)> = None;
        let mut used = Vec::new();
        while out.len() < limit {
            let Some(slot) = self.dirty.pop_front() else { return };
            self.table.set_flag(slot, DIRTY, false);
            used.clear();
            let in_use = self.table.paths(slot).filter(|p| p.reason.is_used());
            used.extend(in_use.map(|p| (p.source, p.attrs, p.reason)));
            let route = match &last {
                Some((key, route)) if !used.is_empty() && *key == used => Some(route.clone()),
                _ => {
                    let route = Self::route(attrs, sources, &used);
                    if let Some(route) = &route {
                        last = Some((used.clone(), route.clone()));
                    }
                    route
                }
            };
            let news = self.table.set_flag(slot, KNOWN, route.is_some()) || route.is_some();
            if news && let Some(prefix) = self.table.prefix(slot) {
                out.push((prefix, route));
            }
            if self.table.path_count(slot) == 0 {
                self.table.free(slot);
            }
        }
    }

    fn route(attrs: &AttrStore, sources: &Sources, used: &[Used]) -> Option<LocRoute> {
        let best = used.iter().find(|(_, _, reason)| *reason == Reason::Best)?;
        let best = PathInfo { peer: sources.get(best.0)?.peer, attributes: attrs.get(best.1)?.clone() };
        let mut next_hops: Vec<NextHop> = used
            .iter()
            .filter_map(|(source, id, _)| {
                Some(NextHop { peer: sources.get(*source)?.peer, addr: attrs.get(*id)?.next_hop })
            })
            .collect();
        next_hops.sort_unstable();
        next_hops.dedup();
        Some(LocRoute { next_hops: next_hops.into(), best })
    }

    fn route_at(&self, attrs: &AttrStore, sources: &Sources, slot: u32) -> Option<LocRoute> {
        let used: Vec<_> =
            self.table.paths(slot).filter(|p| p.reason.is_used()).map(|p| (p.source, p.attrs, p.reason)).collect();
        Self::route(attrs, sources, &used)
    }

    /// The route in use for exactly this prefix.
    pub(crate) fn lookup(&self, attrs: &AttrStore, sources: &Sources, prefix: Prefix) -> Option<LocRoute> {
        let slot = self.table.find(K::of(prefix.addr())?, prefix.len())?;
        self.route_at(attrs, sources, slot)
    }

    /// The route in use with the longest prefix that holds this address.
    pub(crate) fn best_match(&self, attrs: &AttrStore, sources: &Sources, addr: IpAddr) -> Option<(Prefix, LocRoute)> {
        let key = K::of(addr)?;
        (0..=K::FAMILY.max_len()).rev().find_map(|len| {
            let slot = self.table.find(key.masked(len), len)?;
            Some((self.table.prefix(slot)?, self.route_at(attrs, sources, slot)?))
        })
    }

    /// All paths to one prefix, or to all, in the order of the table.
    pub(crate) fn paths<'a>(
        &'a self,
        attrs: &'a AttrStore,
        sources: &'a Sources,
        prefix: Option<Prefix>,
    ) -> impl Iterator<Item = PathOut<'a>> {
        let one = prefix.map(|p| K::of(p.addr()).and_then(|key| self.table.find(key, p.len())));
        let slots = match one {
            Some(Some(slot)) => slot..slot + 1,
            Some(None) => 0..0,
            None => 0..self.table.end(),
        };
        slots.filter(|slot| !self.table.is_vacant(*slot)).flat_map(move |slot| {
            self.table.paths(slot).filter_map(move |path| {
                let source = sources.get(path.source)?;
                if !source.alive {
                    return None;
                }
                Some(PathOut {
                    prefix: self.table.prefix(slot)?,
                    peer: source.peer,
                    reason: path.reason,
                    attributes: attrs.get(path.attrs)?,
                })
            })
        })
    }

    /// How many prefixes have an entry.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}
