//! Blocks ahead of need, and blocks given back.
//!
//! A further block is claimed when the free addresses run low, so that no assignment waits for a claim, and an empty one is
//! given back when it has long been empty and so much is left that none is claimed again. Between the two lies a wide gap.

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use petiole_store::Txn;
use petiole_store::key::Key;

use crate::slot::Slot;
use crate::{Ipam, block};

/// How long a block must have been empty before it is given back.
const HOLD: Duration = Duration::from_secs(600);

/// How long a block is withdrawn before its key is deleted, so that no leaf sends here what the next owner announces.
const LINGER: Duration = Duration::from_secs(5);

/// For how long it matters when an address became free.
const REMEMBER: Duration = Duration::from_secs(600);

/// What this node saw of its own blocks and the store does not say.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// When addresses became free.
    freed: BTreeMap<(Prefix, u16), Duration>,
    /// Since when blocks have been empty.
    idle: BTreeMap<Prefix, Duration>,
    /// Blocks that are not used any more, since when.
    leaving: BTreeMap<Prefix, Duration>,
    /// When a block is to be looked at again.
    due: Option<Duration>,
}

impl Recent {
    pub(crate) fn is_leaving(&self, cidr: Prefix) -> bool {
        self.leaving.contains_key(&cidr)
    }

    /// When this address became free; `None` when that is long ago.
    pub(crate) fn freed_at(&self, cidr: Prefix, ordinal: u16) -> Option<Duration> {
        self.freed.get(&(cidr, ordinal)).copied()
    }

    pub(crate) const fn due(&self) -> Option<Duration> {
        self.due
    }

    pub(crate) fn note(&mut self, freed: Vec<(Prefix, u16)>, now: Duration) {
        if self.freed.len() > freed.len() {
            self.freed.retain(|_, at| now.saturating_sub(*at) < REMEMBER);
        }
        self.freed.extend(freed.into_iter().map(|address| (address, now)));
    }
}

impl Ipam {
    /// How many addresses of its blocks this node can assign without being asked for a pool, these blocks left out.
    pub(crate) fn available(&self, family: Family, without: Option<Prefix>) -> usize {
        let reserved = self.view.reserved();
        let cooldown = Duration::from_secs(self.view.config.ip_cooldown_seconds);
        let mine = self.view.mine().filter(|(cidr, _)| cidr.family() == family && Some(*cidr) != without);
        let mine = mine.filter(|(cidr, _)| !self.recent.is_leaving(*cidr) && self.pools.containing(*cidr).is_some());
        mine.filter_map(|(_, e)| e.full.as_ref()).map(|b| block::available(b, cooldown, self.wall, &reserved)).sum()
    }

    /// A quarter of a block: with less, another is claimed.
    fn low_water(&self, family: Family) -> usize {
        let size = self.pools.of_family(family).map(|p| 1usize << (family.max_len() - p.block_size).min(12)).min();
        size.map_or(1, |size| (size / 4).max(1))
    }

    /// Whether another block is wanted before anybody waits for it. The last eighth of the pools is for those who need one now.
    pub(crate) fn wants_spare(&self, family: Family) -> bool {
        let is_unknown = self.view.mine().any(|(cidr, e)| cidr.family() == family && !e.readable);
        if is_unknown || self.available(family, None) >= self.low_water(family) {
            return false;
        }
        self.pools.of_family(family).any(|pool| {
            let taken = self.view.blocks.range(pool.cidr..).take_while(|(b, _)| pool.cidr.contains(b)).count();
            pool.count().saturating_sub(taken as u128) > pool.count() / 8
        })
    }

    /// Gives back empty blocks that are not needed: first they are withdrawn, then, when they still are empty and nobody wrote
    /// them since, their keys go.
    pub(crate) fn plan_returns(&mut self) {
        self.recent.due = None;
        if !self.settings.want_block {
            return;
        }
        let cooldown = Duration::from_secs(self.view.config.ip_cooldown_seconds);
        let empty = |b: &petiole_store::value::Block| block::is_empty(b, cooldown, self.wall);
        let is_empty: Vec<Prefix> =
            self.view.mine().filter(|(_, e)| e.full.as_ref().is_some_and(empty)).map(|(cidr, _)| cidr).collect();
        self.recent.idle.retain(|cidr, _| is_empty.contains(cidr));
        for cidr in &is_empty {
            self.recent.idle.entry(*cidr).or_insert(self.now);
        }
        let before = self.recent.leaving.len();
        let still: Vec<Prefix> =
            self.recent.leaving.keys().copied().filter(|c| is_empty.contains(c) && self.is_surplus(*c)).collect();
        self.recent.leaving.retain(|cidr, _| still.contains(cidr));
        for family in Family::BOTH {
            if self.recent.leaving.keys().any(|c| c.family() == family) {
                continue;
            }
            let surplus = self.recent.idle.iter().rev().filter(|(c, _)| c.family() == family && self.is_surplus(**c));
            let Some((cidr, since)) = surplus.min_by_key(|(_, since)| **since).map(|(c, s)| (*c, *s)) else { continue };
            let at = since + HOLD;
            if at <= self.now {
                self.recent.leaving.insert(cidr, self.now);
            } else {
                self.recent.due = self.recent.due.into_iter().chain([at]).min();
            }
        }
        for (cidr, since) in self.recent.leaving.clone() {
            let at = since + LINGER;
            if at > self.now {
                self.recent.due = self.recent.due.into_iter().chain([at]).min();
                continue;
            }
            if let Some(txn) = self.give_back(cidr)
                && self.is_ready(Slot::Return(cidr))
            {
                self.submit(Slot::Return(cidr), txn);
            }
        }
        if self.recent.leaving.len() != before || !self.recent.leaving.is_empty() {
            self.update_owned();
        }
    }

    /// Whether this block can go: it is of a pool that nothing is assigned from any more, or enough is left without it. Never
    /// the node's last one.
    fn is_surplus(&self, cidr: Prefix) -> bool {
        let family = cidr.family();
        let others = self.view.mine().map(|(c, _)| c).filter(|c| *c != cidr && c.family() == family);
        let others = others.filter(|c| !self.recent.is_leaving(*c) && self.pools.containing(*c).is_some()).count();
        if others == 0 || self.demand.iter().any(|w| w.family == family) || !self.queue.is_empty() {
            return false;
        }
        let is_known = self.view.pools.values().any(|p| p.spec.cidr.contains(&cidr));
        match self.pools.containing(cidr) {
            Some(_) => self.available(family, Some(cidr)) >= 2 * self.low_water(family),
            None => is_known && self.pools.problems.is_empty(),
        }
    }

    fn give_back(&self, cidr: Prefix) -> Option<Txn> {
        let entry = self.view.blocks.get(&cidr)?;
        let key = Key::Block(cidr);
        let txn = self.with_affinity(Txn::new().unchanged(&key, entry.mod_revision), cidr).delete(&key);
        let affinity = Key::host_affinity(&self.settings.node, cidr);
        Some(txn.delete(&affinity).otherwise_get(&key).otherwise_get(&affinity))
    }
}
