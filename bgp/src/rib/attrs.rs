//! Attribute sets, each held once however many paths have it.

use std::sync::Arc;

use super::index::{Seed, SlotIndex};
use crate::wire::{Attributes, Origin};

/// The community of paths that were kept for long (RFC 9494 section 3.3).
pub(crate) const LLGR_STALE: u32 = 0xffff_0006;

/// The community of paths that must not be (RFC 9494 section 3.4).
const NO_LLGR: u32 = 0xffff_0007;

/// Names an attribute set in the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct AttrId(u32);

/// What the decision process looks at, beside the set, so that it need not follow a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rank {
    /// Length of the AS path.
    pub(crate) hops: u16,
    /// ORIGIN.
    pub(crate) origin: Origin,
    /// The neighbouring AS, within which MEDs compare.
    pub(crate) neighbour: u32,
    /// MED; a missing one is the lowest (RFC 4271 section 9.1.2.2 c).
    pub(crate) med: u32,
    /// Somebody on the way has kept it as long-lived stale (LLGR_STALE, RFC 9494 section 3.3).
    pub(crate) long_lived: bool,
    /// Not to be kept for long (NO_LLGR, RFC 9494 section 3.4).
    pub(crate) not_for_long: bool,
}

impl Rank {
    pub(crate) fn of(attributes: &Attributes) -> Self {
        Self {
            hops: u16::try_from(attributes.as_path.hops()).unwrap_or(u16::MAX),
            origin: attributes.origin,
            neighbour: attributes.as_path.first().unwrap_or(0),
            med: attributes.med.unwrap_or(0),
            long_lived: attributes.communities.contains(&LLGR_STALE),
            not_for_long: attributes.communities.contains(&NO_LLGR),
        }
    }
}

struct Slot {
    attributes: Arc<Attributes>,
    hash: u64,
    references: u32,
    rank: Rank,
}

/// The store. A set is counted once per path that has it, and once while it is [`hold`](Self::hold)ed.
pub(crate) struct AttrStore {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    index: SlotIndex,
    seed: Seed,
}

impl AttrStore {
    pub(crate) fn new(seed: Seed) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), index: SlotIndex::default(), seed }
    }

    /// The name of a set, stored if it is new, with one reference added for the caller.
    pub(crate) fn intern(&mut self, attributes: Attributes) -> AttrId {
        let hash = self.seed.value(&attributes);
        let slots = &self.slots;
        let same = |s: u32| slot(slots, s).is_some_and(|s| s.hash == hash && *s.attributes == attributes);
        let at = match self.index.find(hash, same) {
            Some(at) => at,
            None => {
                let rank = Rank::of(&attributes);
                let new = Some(Slot { attributes: Arc::new(attributes), hash, references: 0, rank });
                let at = match self.free.pop() {
                    Some(at) => {
                        self.slots[at as usize] = new;
                        at
                    }
                    None => {
                        self.slots.push(new);
                        self.slots.len() as u32 - 1
                    }
                };
                let slots = &self.slots;
                self.index.insert(hash, at, |s| slot(slots, s).map_or(0, |s| s.hash));
                at
            }
        };
        self.hold(AttrId(at));
        AttrId(at)
    }

    /// Adds a reference.
    #[inline]
    pub(crate) fn hold(&mut self, id: AttrId) {
        self.hold_times(id, 1);
    }

    /// Adds so many references.
    #[inline]
    pub(crate) fn hold_times(&mut self, id: AttrId, times: u32) {
        if let Some(Some(slot)) = self.slots.get_mut(id.0 as usize) {
            slot.references += times;
        }
    }

    /// Takes a reference away, and the set with the last one.
    #[inline]
    pub(crate) fn release(&mut self, id: AttrId) {
        let Some(Some(held)) = self.slots.get_mut(id.0 as usize) else { return };
        held.references = held.references.saturating_sub(1);
        if held.references == 0 {
            self.index.remove(held.hash, id.0);
            self.slots[id.0 as usize] = None;
            self.free.push(id.0);
        }
    }

    /// The set; `None` only for a name that was given back.
    pub(crate) fn get(&self, id: AttrId) -> Option<&Arc<Attributes>> {
        slot(&self.slots, id.0).map(|s| &s.attributes)
    }

    #[inline]
    pub(crate) fn rank(&self, id: AttrId) -> Option<Rank> {
        slot(&self.slots, id.0).map(|s| s.rank)
    }

    /// How many sets are held.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[inline]
fn slot(slots: &[Option<Slot>], at: u32) -> Option<&Slot> {
    slots.get(at as usize)?.as_ref()
}
