//! The learned routes of one family: announcements and withdrawals in, batches of changed decisions out.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use petiole_prefix::Prefix;

use super::attrs::{AttrId, AttrStore};
use super::decision::{self, Candidate};
use super::index::Seed;
use super::reason::Reason;
use super::sources::Sources;
use super::table::{DIRTY, InlinePaths, KNOWN, LOCAL, Path, SourceId, Table};
use super::{LocRoute, NextHop, PathInfo};
use crate::config::PeerId;
use crate::wire::Attributes;
use crate::wire::nlri::Bits;

/// A path with its prefix, for views.
pub(crate) struct PathOut<'a> {
    pub(crate) prefix: Prefix,
    pub(crate) peer: PeerId,
    pub(crate) source: SourceId,
    pub(crate) reason: Reason,
    pub(crate) attributes: &'a Arc<Attributes>,
    /// Where it is kept though its session has ended: since when, and whether it is long-lived by now.
    pub(crate) stale: Option<(Duration, bool)>,
}

/// A path in use, as routes are told apart by.
type Used = (SourceId, AttrId, Reason);

/// What the paths of several families share.
pub(crate) struct Shared<'a> {
    pub(crate) attrs: &'a mut AttrStore,
    pub(crate) sources: &'a mut Sources,
}

/// Prefixes that are looked up together.
const AHEAD: usize = 32;

/// What the last decision was about and came to. Prefixes come in runs with the same paths, and a decision hangs on nothing
/// else while no source and no attribute set changes its meaning; so it never outlives a call.
struct Precedent {
    local: bool,
    before: InlinePaths,
    after: InlinePaths,
    changed: bool,
}

/// The learned routes of one family.
pub(crate) struct Learned<K> {
    table: Table<K>,
    /// Slots whose decision changed and was not fetched, each once (flag `DIRTY`).
    dirty: VecDeque<u32>,
    /// Where the search for paths of ended sessions goes on; `None` when there are none.
    sweep: Option<u32>,
    /// The search is for paths that have become long-lived as well, and so goes on to the end.
    aging: bool,
    candidates: Vec<Candidate<(std::net::Ipv4Addr, PeerId)>>,
    /// Prefixes with their hashes; empty between calls.
    ahead: Vec<(u64, K, u8)>,
}

impl<K: Bits> Learned<K> {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            table: Table::new(seed),
            dirty: VecDeque::new(),
            sweep: None,
            aging: false,
            candidates: Vec::new(),
            ahead: Vec::new(),
        }
    }

    /// Takes in paths, in place of those the source had before. `rejected` is the verdict of the import policy.
    pub(crate) fn announce(
        &mut self,
        shared: &mut Shared<'_>,
        source: SourceId,
        prefixes: impl Iterator<Item = (K, u8)>,
        attrs: AttrId,
        rejected: Option<Reason>,
    ) {
        let mut precedent = None;
        let (mut held, mut added) = (0, 0);
        self.for_each(prefixes, |learned, hash, key, len| {
            let martian = || key.is_martian(len).then_some(Reason::RejectedMartianPrefix);
            let path = Path { attrs, source, reason: rejected.or_else(martian).unwrap_or(Reason::Undecided) };
            let slot = learned.table.find_or_insert(hash, key, len);
            let mut touched = false;
            if let Some(old) = learned.table.path_of(slot, source) {
                if old.attrs == attrs && old.reason.is_rejected() == path.reason.is_rejected() {
                    return;
                }
                let old = std::mem::replace(old, path);
                touched = old.reason.is_used();
                if old.attrs != attrs {
                    shared.attrs.release(old.attrs);
                    held += 1;
                }
            } else {
                learned.table.add_path(slot, path);
                held += 1;
                added += 1;
            }
            learned.decide(shared, slot, touched, &mut precedent);
        });
        // Counted at the end: the caller holds the set meanwhile.
        shared.attrs.hold_times(attrs, held);
        shared.sources.added(source, K::FAMILY, added);
    }

    /// Takes paths out, as far as they are there.
    pub(crate) fn withdraw(
        &mut self,
        shared: &mut Shared<'_>,
        source: SourceId,
        prefixes: impl Iterator<Item = (K, u8)>,
    ) {
        let mut precedent = None;
        self.for_each(prefixes, |learned, hash, key, len| {
            let Some(slot) = learned.table.find_hashed(hash, key, len) else { return };
            let Some(path) = learned.table.remove_path(slot, |p| p.source == source) else { return };
            shared.attrs.release(path.attrs);
            shared.sources.removed(source, K::FAMILY);
            learned.decide(shared, slot, path.reason.is_used(), &mut precedent);
        });
    }

    /// Calls `each` for every prefix with its hash, some at a time: what the table has of them is asked for before it is needed. A
    /// lookup is a wait for memory, and many wait no longer than one.
    #[inline]
    fn for_each(&mut self, mut prefixes: impl Iterator<Item = (K, u8)>, mut each: impl FnMut(&mut Self, u64, K, u8)) {
        let mut ahead = std::mem::take(&mut self.ahead);
        loop {
            let some = prefixes.by_ref().take(AHEAD);
            ahead.extend(some.map(|(key, len)| (self.table.hash(key, len), key, len)));
            if ahead.is_empty() {
                break;
            }
            std::hint::black_box(ahead.iter().fold(0, |all, (hash, ..)| all ^ self.table.hint(*hash)));
            for (hash, key, len) in ahead.drain(..) {
                each(self, hash, key, len);
            }
        }
        self.ahead = ahead;
    }

    /// Replaces the set of our own prefixes.
    pub(crate) fn set_local(&mut self, shared: &mut Shared<'_>, local: BTreeSet<(K, u8)>) {
        let mut precedent = None;
        for slot in self.table.set_local(local) {
            self.decide(shared, slot, false, &mut precedent);
        }
    }

    /// Starts looking for paths of sources that have ended.
    pub(crate) fn start_sweep(&mut self) {
        // A sweep under way has passed slots that are of interest now, so it starts over.
        self.sweep = Some(0);
    }

    /// Starts looking for paths that have become long-lived, to decide on them anew.
    pub(crate) fn start_aging(&mut self) {
        self.aging = true;
        self.start_sweep();
    }

    /// Goes on looking through at most `budget` slots.
    pub(crate) fn sweep(&mut self, shared: &mut Shared<'_>, budget: &mut usize) {
        let Some(mut at) = self.sweep else { return };
        let end = self.table.end();
        let mut precedent = None;
        let aging = self.aging;
        let wanted = |shared: &Shared<'_>, path: &Path| {
            is_gone(shared, path) || (aging && shared.sources.get(path.source).is_some_and(|s| s.long_lived))
        };
        while at < end && *budget > 0 && (aging || shared.sources.any_dead()) {
            *budget -= 1;
            let slot = at;
            at += 1;
            if !self.table.is_vacant(slot) && self.table.paths(slot).any(|p| wanted(shared, p)) {
                self.decide(shared, slot, false, &mut precedent);
            }
        }
        self.aging &= at < end;
        self.sweep = (at < end && (self.aging || shared.sources.any_dead())).then_some(at);
    }

    /// Whether [`sweep`](Self::sweep) has more to do.
    pub(crate) const fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Decides anew. `touched`: a path that was in use was changed or taken out.
    #[inline]
    fn decide(&mut self, shared: &mut Shared<'_>, slot: u32, touched: bool, precedent: &mut Option<Precedent>) {
        let local = self.table.flags(slot) & LOCAL != 0;
        let changed = match (self.table.inline_paths(slot), &precedent) {
            (Some(paths), Some(last)) if *paths == last.before && local == last.local => {
                *paths = last.after;
                last.changed
            }
            (paths, _) => {
                let before = paths.copied();
                self.decide_anew(shared, slot, local, before, precedent)
            }
        };
        if touched || changed {
            if self.table.set_flag(slot, DIRTY, true) {
                self.dirty.push_back(slot);
            }
        } else if self.table.path_count(slot) == 0 && self.table.flags(slot) & (DIRTY | KNOWN) == 0 {
            self.table.free(slot);
        }
    }

    fn decide_anew(
        &mut self,
        shared: &mut Shared<'_>,
        slot: u32,
        local: bool,
        before: Option<InlinePaths>,
        precedent: &mut Option<Precedent>,
    ) -> bool {
        let purged = self.purge(shared, slot);
        let changed = self.compare(shared, slot, local);
        if let (None, Some(before), Some(after)) = (purged, before, self.table.inline_paths(slot)) {
            *precedent = Some(Precedent { local, before, after: *after, changed });
        }
        changed || purged == Some(true)
    }

    /// Takes out the paths of ended sources; says whether there were any, and whether one was in use.
    fn purge(&mut self, shared: &mut Shared<'_>, slot: u32) -> Option<bool> {
        let mut used = None;
        while let Some(path) = self.table.remove_path(slot, |p| is_gone(shared, p)) {
            used = Some(used == Some(true) || path.reason.is_used());
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
            let mut rank = shared.attrs.rank(path.attrs)?;
            // What comes marked is as good as what has become so here (RFC 9494 section 4.3).
            rank.long_lived |= source.long_lived;
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
        let mut last: Option<(InlinePaths, Option<LocRoute>)> = None;
        out.reserve(limit.saturating_sub(out.len()).min(self.dirty.len()));
        while out.len() < limit {
            let Some(slot) = self.dirty.pop_front() else { return };
            self.table.set_flag(slot, DIRTY, false);
            let paths = self.table.inline_paths(slot).copied();
            let route = match &last {
                Some((of, route)) if paths == Some(*of) => route.clone(),
                _ => {
                    let route = self.route_at(attrs, sources, slot);
                    last = paths.map(|paths| (paths, route.clone()));
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
                let (peer, attributes) = (sources.get(*source)?.peer, attrs.get(*id)?);
                // A link without addresses is no place for a global next hop (RFC 2545 section 3 has both sent on one).
                let link_local = attributes.next_hop_link_local.filter(|_| peer.is_interface()).map(IpAddr::V6);
                Some(NextHop { peer, addr: link_local.unwrap_or(attributes.next_hop) })
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
                    source: path.source,
                    reason: path.reason,
                    attributes: attrs.get(path.attrs)?,
                    stale: source.kept_since.map(|since| (since, source.long_lived)),
                })
            })
        })
    }

    /// How many prefixes have an entry.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// Whether a path is to be taken out: its source has ended, or it may not be kept for long (RFC 9494 section 4.2).
#[inline]
fn is_gone(shared: &Shared<'_>, path: &Path) -> bool {
    match shared.sources.get(path.source) {
        Some(source) if source.alive => {
            source.long_lived && shared.attrs.rank(path.attrs).is_some_and(|rank| rank.not_for_long)
        }
        Some(_) | None => true,
    }
}
