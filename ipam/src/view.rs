//! What the store holds, as far as this node needs to know.
//!
//! Knowledge comes from two sides: facts of the watch, which may lag, and the outcomes of this node's own transactions, which
//! may overtake them. Each key's knowledge only ever moves forward in revisions.

use std::collections::{BTreeMap, BTreeSet};

use petiole_prefix::Prefix;
use petiole_store::key::{IPAM_PREFIX, Key, Owner};
use petiole_store::value::{
    Affinity, Attribute, Block, Forgotten, Handle, IpamConfig, Pool, Reservation, Value, ValueError,
};
use petiole_store::{Fact, KeyValue, Revision};

/// A value with the revision of its last write.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) mod_revision: Revision,
}

/// A block, in brief; of other nodes' blocks nothing else is kept.
#[derive(Clone, Debug)]
pub(crate) struct BlockEntry {
    pub(crate) owner: Option<Owner>,
    pub(crate) used: usize,
    pub(crate) free: usize,
    pub(crate) mod_revision: Revision,
    /// Whether the value could be read; the rest is from when it last could.
    pub(crate) readable: bool,
    /// The nodes beside the owner that hold addresses in it.
    pub(crate) borrowers: BTreeSet<String>,
    /// The value, of this node's blocks, of those without an owner, and of those in which this node holds an address.
    pub(crate) full: Option<Block>,
}

/// What a transaction's outcome said about a key, ahead of the watch.
#[derive(Clone, Copy, Debug)]
struct Learned {
    /// As of this revision.
    at: Revision,
    /// Whether the watch knows the key too, so that it will tell its end.
    watched: bool,
}

/// What the store holds.
#[derive(Debug)]
pub(crate) struct View {
    node: String,
    pub(crate) in_sync: bool,
    /// Whether it has been, so that what is not here is not in the store.
    pub(crate) was_in_sync: bool,
    pub(crate) blocks: BTreeMap<Prefix, BlockEntry>,
    pub(crate) affinities: BTreeMap<(Prefix, Owner), At<Affinity>>,
    /// Only handles that hold addresses in blocks whose values are kept.
    pub(crate) handles: BTreeMap<String, At<Handle>>,
    pub(crate) pools: BTreeMap<String, Pool>,
    pub(crate) reservations: BTreeMap<String, Vec<Prefix>>,
    /// Reserved by this node's configuration.
    pub(crate) own_reserved: Vec<Prefix>,
    pub(crate) config: IpamConfig,
    /// Nodes that an operator says are gone for good.
    pub(crate) forgotten: BTreeMap<String, At<Forgotten>>,
    /// Keys whose values cannot be read, and why.
    pub(crate) garbage: BTreeMap<String, String>,
    /// Blocks whose value names this node.
    mine: BTreeSet<Prefix>,
    /// Blocks whose values are kept.
    kept: BTreeSet<Prefix>,
    /// Addresses of this node's blocks that became free since this was last taken.
    pub(crate) freed: Vec<(Prefix, u16)>,
    /// Blocks to which this node has an affinity.
    my_affinities: BTreeSet<Prefix>,
    learned: BTreeMap<String, Learned>,
    told: Revision,
}

impl View {
    pub(crate) fn new(node: String) -> Self {
        Self {
            node,
            in_sync: false,
            was_in_sync: false,
            blocks: BTreeMap::new(),
            affinities: BTreeMap::new(),
            handles: BTreeMap::new(),
            pools: BTreeMap::new(),
            reservations: BTreeMap::new(),
            own_reserved: Vec::new(),
            config: IpamConfig::default(),
            forgotten: BTreeMap::new(),
            garbage: BTreeMap::new(),
            mine: BTreeSet::new(),
            kept: BTreeSet::new(),
            freed: Vec::new(),
            my_affinities: BTreeSet::new(),
            learned: BTreeMap::new(),
            told: 0,
        }
    }

    /// Takes in a fact of the watch.
    pub(crate) fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Put(kv) => self.tell(&kv.key, Some(kv), kv.mod_revision),
            Fact::Deleted { key, mod_revision } => self.tell(key, None, *mod_revision),
            Fact::InSync { revision } => {
                self.settle(*revision);
                self.in_sync = true;
                self.was_in_sync = true;
            }
            Fact::Lost { .. } => self.in_sync = false,
            Fact::Reset { .. } => {
                self.in_sync = false;
                self.settle(Revision::MAX);
                self.told = 0;
            }
        }
    }

    /// Takes in what a transaction of this node found, or wrote, as of a revision.
    pub(crate) fn learn(&mut self, key: &str, kv: Option<&KeyValue>, at: Revision) {
        if at <= self.told || !key.starts_with(IPAM_PREFIX) || self.learned.get(key).is_some_and(|l| l.at >= at) {
            return;
        }
        let watched = match self.learned.get(key) {
            Some(learned) => learned.watched,
            None => self.holds(key),
        };
        if kv.is_none() && !watched && !self.holds(key) {
            return;
        }
        self.learned.insert(key.to_owned(), Learned { at, watched });
        self.apply(key, kv);
    }

    fn tell(&mut self, key: &str, kv: Option<&KeyValue>, mod_revision: Revision) {
        if key.starts_with(IPAM_PREFIX) {
            self.told = self.told.max(mod_revision);
        }
        if let Some(learned) = self.learned.get_mut(key) {
            if mod_revision < learned.at {
                learned.watched = kv.is_some();
                return;
            }
            self.learned.remove(key);
        }
        self.apply(key, kv);
    }

    /// Everything up to this revision has been told: what was learned before and the watch does not know is gone.
    fn settle(&mut self, revision: Revision) {
        if revision != Revision::MAX {
            self.told = self.told.max(revision);
        }
        let settled: Vec<(String, bool)> =
            self.learned.iter().filter(|(_, l)| l.at <= revision).map(|(k, l)| (k.clone(), l.watched)).collect();
        for (key, watched) in settled {
            self.learned.remove(&key);
            if !watched {
                self.apply(&key, None);
            }
        }
    }

    /// Everything of IPAM before this revision has been told.
    pub(crate) const fn told(&self) -> Revision {
        self.told
    }

    fn holds(&self, key: &str) -> bool {
        match Key::parse(key) {
            Ok(Key::Block(cidr)) => self.blocks.contains_key(&cidr),
            Ok(Key::Affinity { owner, block }) => self.affinities.contains_key(&(block, owner)),
            Ok(Key::Handle(name)) => self.handles.contains_key(&name),
            _ => false,
        }
    }

    fn apply(&mut self, key: &str, kv: Option<&KeyValue>) {
        self.garbage.remove(key);
        let error = match Key::parse(key) {
            Ok(Key::Block(cidr)) => self.apply_block(cidr, kv).err(),
            Ok(Key::Affinity { owner, block }) => self.apply_affinity(owner, block, kv).err(),
            Ok(Key::Handle(name)) => self.apply_handle(name, kv).err(),
            Ok(Key::IpamConfig) => self.apply_config(kv).err(),
            Ok(Key::Pool(name)) => self.apply_pool(name, kv).err(),
            Ok(Key::Reservation(name)) => self.apply_reservation(name, kv).err(),
            Ok(own @ Key::Own(_)) => self.apply_forgotten(&own, kv).err(),
            Ok(Key::CustomFilter { .. }) | Err(petiole_store::KeyError::Foreign(_)) => None,
            Err(e) => kv.map(|_| e.into()),
        };
        if let Some(error) = error {
            self.garbage.insert(key.to_owned(), error.to_string());
        }
    }

    fn apply_block(&mut self, cidr: Prefix, kv: Option<&KeyValue>) -> Result<(), ValueError> {
        let Some(kv) = kv else {
            self.blocks.remove(&cidr);
            self.mine.remove(&cidr);
            self.kept.remove(&cidr);
            return Ok(());
        };
        match Block::decode(&kv.key, &kv.value) {
            Ok(block) => {
                let owner = block.owner();
                let is_mine = owner.as_ref().is_some_and(|o| o.is_host(&self.node));
                if is_mine {
                    self.mine.insert(cidr);
                } else {
                    self.mine.remove(&cidr);
                }
                let borrowers = borrowers(&block, owner.as_ref());
                let keep = is_mine || owner.is_none() || borrowers.contains(&self.node);
                if keep {
                    self.kept.insert(cidr);
                } else {
                    self.kept.remove(&cidr);
                }
                if let (true, Some(before)) = (is_mine, self.blocks.get(&cidr).and_then(|e| e.full.as_ref())) {
                    let was_held = |o: &&u16| before.allocations.get(usize::from(**o)).is_some_and(Option::is_some);
                    self.freed.extend(block.unallocated.iter().filter(was_held).map(|o| (cidr, *o)));
                }
                let entry = BlockEntry {
                    owner,
                    borrowers,
                    used: block.used(),
                    free: block.free(),
                    mod_revision: kv.mod_revision,
                    readable: true,
                    full: keep.then_some(block),
                };
                self.blocks.insert(cidr, entry);
                Ok(())
            }
            Err(e) => {
                // Whatever it says now, the block is taken; who owned it stays in force.
                let entry = self.blocks.entry(cidr).or_insert(BlockEntry {
                    owner: None,
                    borrowers: BTreeSet::new(),
                    used: 0,
                    free: 0,
                    mod_revision: kv.mod_revision,
                    readable: false,
                    full: None,
                });
                entry.readable = false;
                entry.free = 0;
                entry.full = None;
                self.kept.remove(&cidr);
                Err(e)
            }
        }
    }

    fn apply_affinity(&mut self, owner: Owner, block: Prefix, kv: Option<&KeyValue>) -> Result<(), ValueError> {
        let is_mine = owner.is_host(&self.node);
        let Some(kv) = kv else {
            self.affinities.remove(&(block, owner));
            if is_mine {
                self.my_affinities.remove(&block);
            }
            return Ok(());
        };
        let value = Affinity::decode(&kv.key, &kv.value)?;
        self.affinities.insert((block, owner), At { value, mod_revision: kv.mod_revision });
        if is_mine {
            self.my_affinities.insert(block);
        }
        Ok(())
    }

    fn apply_handle(&mut self, name: String, kv: Option<&KeyValue>) -> Result<(), ValueError> {
        self.handles.remove(&name);
        let Some(kv) = kv else { return Ok(()) };
        let value = Handle::decode(&kv.key, &kv.value)?;
        if value.block.keys().any(|b| self.kept.contains(b)) {
            self.handles.insert(name, At { value, mod_revision: kv.mod_revision });
        }
        Ok(())
    }

    fn apply_config(&mut self, kv: Option<&KeyValue>) -> Result<(), ValueError> {
        // A configuration that cannot be read leaves the one before in force.
        self.config = match kv {
            None => IpamConfig::default(),
            Some(kv) => IpamConfig::decode(&kv.key, &kv.value)?,
        };
        Ok(())
    }

    fn apply_forgotten(&mut self, key: &Key, kv: Option<&KeyValue>) -> Result<(), ValueError> {
        let Some(node) = key.forgotten_node().map(str::to_owned) else { return Ok(()) };
        // One that cannot be read frees nothing.
        self.forgotten.remove(&node);
        if let Some(kv) = kv {
            let value = Forgotten::decode(&kv.key, &kv.value)?;
            self.forgotten.insert(node, At { value, mod_revision: kv.mod_revision });
        }
        Ok(())
    }

    fn apply_pool(&mut self, name: String, kv: Option<&KeyValue>) -> Result<(), ValueError> {
        match kv {
            None => self.pools.remove(&name),
            Some(kv) => self.pools.insert(name, Pool::decode(&kv.key, &kv.value)?),
        };
        Ok(())
    }

    fn apply_reservation(&mut self, name: String, kv: Option<&KeyValue>) -> Result<(), ValueError> {
        match kv {
            None => self.reservations.remove(&name),
            Some(kv) => self.reservations.insert(name, Reservation::decode(&kv.key, &kv.value)?.spec.reserved_cidrs),
        };
        Ok(())
    }

    /// Whether the block's value names this node as its owner.
    pub(crate) fn is_mine(&self, cidr: Prefix) -> bool {
        self.mine.contains(&cidr)
    }

    /// The blocks whose value names this node as its owner.
    pub(crate) fn mine(&self) -> impl Iterator<Item = (Prefix, &BlockEntry)> {
        self.mine.iter().filter_map(|cidr| Some((*cidr, self.blocks.get(cidr)?)))
    }

    /// The blocks whose values are kept, with their entries.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (Prefix, &BlockEntry, &Block)> {
        self.kept.iter().filter_map(|cidr| {
            let entry = self.blocks.get(cidr)?;
            Some((*cidr, entry, entry.full.as_ref()?))
        })
    }

    /// Whether this node holds the address with that attribute.
    pub(crate) fn is_held_here(&self, attribute: &Attribute) -> bool {
        node_of(attribute).is_some_and(|n| n == self.node)
    }

    /// This node's affinity to a block.
    pub(crate) fn my_affinity(&self, cidr: Prefix) -> Option<&At<Affinity>> {
        self.affinities.get(&(cidr, Owner::Host(self.node.clone())))
    }

    /// This node's affinities.
    pub(crate) fn my_affinities(&self) -> impl Iterator<Item = (Prefix, &At<Affinity>)> {
        self.my_affinities.iter().filter_map(|cidr| Some((*cidr, self.my_affinity(*cidr)?)))
    }

    /// Everybody's affinities to a block.
    pub(crate) fn affinities_to(&self, cidr: Prefix) -> impl Iterator<Item = (&Owner, &At<Affinity>)> {
        let from = (cidr, Owner::Host(String::new()));
        self.affinities.range(from..).take_while(move |((c, _), _)| *c == cidr).map(|((_, owner), a)| (owner, a))
    }

    /// Whether some block in the store shares an address with this one.
    pub(crate) fn is_taken(&self, cidr: Prefix, lengths: &[u8]) -> bool {
        let inside = self.blocks.range(cidr..).next().is_some_and(|(b, _)| cidr.contains(b));
        let covers = |len: &u8| {
            *len < cidr.len() && Prefix::truncated(cidr.addr(), *len).is_ok_and(|p| self.blocks.contains_key(&p))
        };
        inside || lengths.iter().any(covers)
    }

    /// The lengths of the blocks in the store, for [`is_taken`](Self::is_taken).
    pub(crate) fn lengths(&self) -> Vec<u8> {
        let mut lengths: Vec<u8> = self.blocks.keys().map(Prefix::len).collect();
        lengths.sort_unstable();
        lengths.dedup();
        lengths
    }

    /// Whether blocks of the pool that a block lies in are announced.
    pub(crate) fn is_exported(&self, cidr: Prefix) -> bool {
        !self.pools.values().any(|p| p.spec.disable_bgp_export && p.spec.cidr.contains(&cidr))
    }

    /// The ranges that are not assigned.
    pub(crate) fn reserved(&self) -> Vec<Prefix> {
        self.reservations.values().flatten().chain(&self.own_reserved).copied().collect()
    }
}

/// The node that an allocation is for.
pub(crate) fn node_of(attribute: &Attribute) -> Option<&str> {
    attribute.secondary.get()?.get("node").map(String::as_str)
}

fn borrowers(block: &Block, owner: Option<&Owner>) -> BTreeSet<String> {
    let nodes = block.live().filter_map(|(_, a)| node_of(a));
    nodes.filter(|node| !owner.is_some_and(|o| o.is_host(node))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
