//! The table of one family: every prefix once, with all paths to it.
//!
//! Adj-RIB-In of all peers and Loc-RIB in one: a path says itself whether it is used. One entry is 24 octets for IPv4 with up to
//! two paths, which is what a node with two leaves has; more paths go to a side table.

use std::collections::{BTreeMap, BTreeSet};

use petiole_prefix::Prefix;

use super::attrs::AttrId;
use super::index::{Seed, SlotIndex};
use super::reason::Reason;
use super::slab::Slab;
use crate::wire::nlri::Bits;

/// Names one session of one peer; a new session gets a new one, so that what an old one left can't be taken for its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SourceId(pub(crate) u16);

/// One path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Path {
    pub(crate) attrs: AttrId,
    pub(crate) source: SourceId,
    pub(crate) reason: Reason,
}

const INLINE: usize = 2;

/// The paths in an entry, in no order that means anything.
pub(crate) type InlinePaths = [Option<Path>; INLINE];

struct Entry<K> {
    key: K,
    len: u8,
    /// Paths held inline, or [`SPILLED`]; [`VACANT`] for a free slot.
    count: u8,
    flags: u8,
    paths: InlinePaths,
}

const SPILLED: u8 = 0xfe;
const VACANT: u8 = 0xff;

/// The prefix is one of our own.
pub(crate) const LOCAL: u8 = 1;
/// The forwarding table has not heard of the newest decision.
pub(crate) const DIRTY: u8 = 2;
/// The forwarding table was given a route.
pub(crate) const KNOWN: u8 = 4;

/// The table of one family.
pub(crate) struct Table<K> {
    entries: Slab<Entry<K>>,
    free: Vec<u32>,
    index: SlotIndex,
    seed: Seed,
    spilled: BTreeMap<u32, Vec<Path>>,
    /// The prefixes of our own, whether learned as well or not.
    local: BTreeSet<(K, u8)>,
}

impl<K: Bits> Table<K> {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            entries: Slab::new(),
            free: Vec::new(),
            index: SlotIndex::default(),
            seed,
            spilled: BTreeMap::new(),
            local: BTreeSet::new(),
        }
    }

    /// The hash of a prefix, for [`hint`](Self::hint) and [`find_or_insert`](Self::find_or_insert).
    #[inline]
    pub(crate) fn hash(&self, key: K, len: u8) -> u64 {
        Self::hash_with(&self.seed, key, len)
    }

    #[inline]
    fn hash_with(seed: &Seed, key: K, len: u8) -> u64 {
        let (a, b) = key.words();
        seed.words(a, b ^ u64::from(len) << 57)
    }

    /// Something of what there may be under a hash; of no meaning, but in the cache afterwards.
    #[inline]
    pub(crate) fn hint(&self, hash: u64) -> u8 {
        self.index.hint(hash).and_then(|slot| self.entries.get(slot)).map_or(0, |entry| entry.count)
    }

    #[inline]
    pub(crate) fn find(&self, key: K, len: u8) -> Option<u32> {
        self.find_hashed(self.hash(key, len), key, len)
    }

    #[inline]
    pub(crate) fn find_hashed(&self, hash: u64, key: K, len: u8) -> Option<u32> {
        self.index.find(hash, |s| {
            let entry = &self.entries[s];
            entry.key == key && entry.len == len
        })
    }

    /// The slot of a prefix with this hash, made if it is new.
    #[inline]
    pub(crate) fn find_or_insert(&mut self, hash: u64, key: K, len: u8) -> u32 {
        if let Some(slot) = self.find_hashed(hash, key, len) {
            return slot;
        }
        let ours = !self.local.is_empty() && self.local.contains(&(key, len));
        let flags = if ours { LOCAL } else { 0 };
        let entry = Entry { key, len, count: 0, flags, paths: [None; INLINE] };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot] = entry;
                slot
            }
            None => self.entries.push(entry),
        };
        let (entries, seed) = (&self.entries, &self.seed);
        self.index.insert(hash, slot, |s| {
            let entry = &entries[s];
            Self::hash_with(seed, entry.key, entry.len)
        });
        slot
    }

    /// Frees a slot without paths.
    pub(crate) fn free(&mut self, slot: u32) {
        let (key, len) = self.key(slot);
        self.index.remove(self.hash(key, len), slot);
        self.entries[slot].count = VACANT;
        self.free.push(slot);
    }

    /// The paths of a slot that has no more than fit into its entry.
    #[inline]
    pub(crate) fn inline_paths(&mut self, slot: u32) -> Option<&mut InlinePaths> {
        let entry = &mut self.entries[slot];
        (entry.count < SPILLED).then_some(&mut entry.paths)
    }

    /// The paths of a slot, in no order that means anything.
    pub(crate) fn paths(&self, slot: u32) -> impl Iterator<Item = &Path> {
        let entry = &self.entries[slot];
        let spilled = if entry.count == SPILLED { self.spilled.get(&slot) } else { None };
        let inline = if entry.count < SPILLED { entry.paths.as_slice() } else { &[] };
        inline.iter().flatten().chain(spilled.into_iter().flatten())
    }

    pub(crate) fn paths_mut(&mut self, slot: u32) -> impl Iterator<Item = &mut Path> {
        let entry = &mut self.entries[slot];
        let spilled = if entry.count == SPILLED { self.spilled.get_mut(&slot) } else { None };
        let inline = if entry.count < SPILLED { entry.paths.as_mut_slice() } else { &mut [] };
        inline.iter_mut().flatten().chain(spilled.into_iter().flatten())
    }

    /// The path of a source.
    #[inline]
    pub(crate) fn path_of(&mut self, slot: u32, source: SourceId) -> Option<&mut Path> {
        let entry = &mut self.entries[slot];
        if entry.count < SPILLED {
            return entry.paths.iter_mut().flatten().find(|path| path.source == source);
        }
        self.spilled.get_mut(&slot)?.iter_mut().find(|path| path.source == source)
    }

    /// How many paths a slot has.
    #[inline]
    pub(crate) fn path_count(&self, slot: u32) -> usize {
        match self.entries[slot].count {
            VACANT => 0,
            SPILLED => self.spilled.get(&slot).map_or(0, Vec::len),
            n => usize::from(n),
        }
    }

    pub(crate) fn add_path(&mut self, slot: u32, path: Path) {
        let entry = &mut self.entries[slot];
        if entry.count < SPILLED {
            if let Some(vacant) = entry.paths.iter_mut().find(|p| p.is_none()) {
                *vacant = Some(path);
                entry.count += 1;
                return;
            }
            let paths = entry.paths.iter_mut().filter_map(Option::take).collect();
            entry.count = SPILLED;
            self.spilled.insert(slot, paths);
        }
        self.spilled.entry(slot).or_default().push(path);
    }

    /// Takes the first path out that `is` one sought.
    pub(crate) fn remove_path(&mut self, slot: u32, is: impl Fn(&Path) -> bool) -> Option<Path> {
        let entry = &mut self.entries[slot];
        if entry.count < SPILLED {
            let found = entry.paths.iter_mut().find(|p| p.as_ref().is_some_and(&is))?.take();
            entry.count -= 1;
            return found;
        }
        let paths = self.spilled.get_mut(&slot)?;
        let found = paths.swap_remove(paths.iter().position(is)?);
        if paths.len() <= INLINE {
            entry.count = paths.len() as u8;
            entry.paths = [None; INLINE];
            for (to, from) in entry.paths.iter_mut().zip(paths.iter()) {
                *to = Some(*from);
            }
            self.spilled.remove(&slot);
        }
        Some(found)
    }

    #[inline]
    pub(crate) fn flags(&self, slot: u32) -> u8 {
        self.entries[slot].flags
    }

    /// Sets and clears flags; says whether any was changed.
    #[inline]
    pub(crate) fn set_flag(&mut self, slot: u32, flag: u8, on: bool) -> bool {
        let flags = &mut self.entries[slot].flags;
        let old = *flags;
        *flags = if on { old | flag } else { old & !flag };
        *flags != old
    }

    pub(crate) fn key(&self, slot: u32) -> (K, u8) {
        let entry = &self.entries[slot];
        (entry.key, entry.len)
    }

    /// The prefix of a slot; `None` never happens, as keys are masked when they come in.
    pub(crate) fn prefix(&self, slot: u32) -> Option<Prefix> {
        let (key, len) = self.key(slot);
        Prefix::new(key.addr(), len).ok()
    }

    /// One more than the largest slot.
    pub(crate) fn end(&self) -> u32 {
        self.entries.len() as u32
    }

    pub(crate) fn is_vacant(&self, slot: u32) -> bool {
        self.entries[slot].count == VACANT
    }

    /// How many prefixes have an entry.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Replaces the set of our own prefixes and returns the slots that this concerns.
    pub(crate) fn set_local(&mut self, local: BTreeSet<(K, u8)>) -> Vec<u32> {
        let changed: Vec<u32> =
            self.local.symmetric_difference(&local).filter_map(|(key, len)| self.find(*key, *len)).collect();
        for slot in &changed {
            let ours = local.contains(&self.key(*slot));
            self.set_flag(*slot, LOCAL, ours);
        }
        self.local = local;
        changed
    }
}
