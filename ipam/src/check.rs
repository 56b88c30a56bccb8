//! Everything in the whole keyspace that contradicts something else, and what of it can be set right.
//!
//! [`check`] is a pure function of one snapshot. What it would repair rests on nothing else either: each repair is a transaction
//! whose conditions name every value that it was decided from, so one that has become wrong is not carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::Prefix;
use petiole_store::key::{Key, Owner};
use petiole_store::value::{Affinity, AffinityState, Attribute, Block, Handle, IpamConfig, Pool, Value};
use petiole_store::{KeyError, KeyValue, Revision, Txn, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::block;

mod finding;
mod held;
pub use finding::Finding;
pub use held::{HeldAddress, held};

/// What a node knows of its own pods, to be held against the store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Endpoints {
    /// The node's name.
    pub node: String,
    /// The attribute of addresses that its agent gave to pods: others are not looked at.
    pub mark: (String, String),
    /// Handle to the addresses that its pod uses.
    pub held: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Handles with which something is being done: nothing follows for them.
    pub under_way: BTreeSet<String>,
}

impl Endpoints {
    /// What held all the time between two looks: whatever differs was under way.
    #[must_use]
    pub fn steady(before: &Self, mut after: Self) -> Self {
        let differs = |handle: &&String| before.held.get(*handle) != after.held.get(*handle);
        let changed: BTreeSet<String> = before.held.keys().chain(after.held.keys()).filter(differs).cloned().collect();
        after.held.retain(|handle, _| !changed.contains(handle) && !before.under_way.contains(handle));
        after.under_way.extend(changed.into_iter().chain(before.under_way.iter().cloned()));
        after
    }

    fn gave(&self, attribute: &Attribute) -> bool {
        let said = |key: &str| attribute.secondary.get().and_then(|s| s.get(key));
        crate::view::node_of(attribute).is_some_and(|n| n == self.node) && said(&self.mark.0) == Some(&self.mark.1)
    }
}

/// A contradiction, and the transaction that removes it where that is surely right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// What contradicts what.
    pub finding: Finding,
    /// What removes it.
    pub repair: Option<Txn>,
}

/// A snapshot, typed.
struct Snapshot {
    blocks: BTreeMap<Prefix, (Revision, Block)>,
    affinities: BTreeMap<(Prefix, Owner), (Revision, Affinity)>,
    handles: BTreeMap<String, (Revision, Handle)>,
    pools: BTreeMap<String, Pool>,
    config: IpamConfig,
    /// Blocks whose values cannot be read: nothing about them can be concluded.
    unread: BTreeSet<Prefix>,
    garbage: Vec<Finding>,
}

/// Everything that contradicts something else, in a stable order. `kvs` is all of Calico's IPAM keys at one revision, and the
/// pools; `endpoints` are this node's own, if they are known.
#[must_use]
pub fn check(kvs: &[KeyValue], endpoints: Option<&Endpoints>, wall: UnixNanos) -> Vec<Found> {
    let snapshot = Snapshot::of(kvs);
    let mut found: Vec<Found> = snapshot.garbage.iter().map(|f| Found { finding: f.clone(), repair: None }).collect();
    snapshot.pools(&mut found);
    snapshot.blocks(wall, &mut found);
    snapshot.affinities(&mut found);
    snapshot.handles(&mut found);
    if let Some(endpoints) = endpoints {
        snapshot.endpoints(endpoints, &mut found);
    }
    found.sort_by(|a, b| a.finding.cmp(&b.finding));
    found
}

impl Snapshot {
    fn of(kvs: &[KeyValue]) -> Self {
        let mut this = Self {
            blocks: BTreeMap::new(),
            affinities: BTreeMap::new(),
            handles: BTreeMap::new(),
            pools: BTreeMap::new(),
            config: IpamConfig::default(),
            unread: BTreeSet::new(),
            garbage: Vec::new(),
        };
        for kv in kvs {
            if let Err(error) = this.take(kv) {
                this.garbage.push(Finding::Garbage { key: kv.key.clone(), error });
            }
        }
        this
    }

    fn take(&mut self, kv: &KeyValue) -> Result<(), String> {
        let (key, value, at) = (kv.key.as_str(), kv.value.as_slice(), kv.mod_revision);
        match Key::parse(key) {
            Ok(Key::Block(cidr)) => match Block::decode(key, value) {
                Ok(block) => {
                    self.blocks.insert(cidr, (at, block));
                }
                Err(e) => {
                    self.unread.insert(cidr);
                    return Err(e.to_string());
                }
            },
            Ok(Key::Affinity { owner, block }) => {
                let affinity = Affinity::decode(key, value).map_err(|e| e.to_string())?;
                self.affinities.insert((block, owner), (at, affinity));
            }
            Ok(Key::Handle(name)) => {
                let handle = Handle::decode(key, value).map_err(|e| e.to_string())?;
                self.handles.insert(name, (at, handle));
            }
            Ok(Key::Pool(name)) => {
                let pool = Pool::decode(key, value).map_err(|e| e.to_string())?;
                self.pools.insert(name, pool);
            }
            Ok(Key::IpamConfig) => self.config = IpamConfig::decode(key, value).map_err(|e| e.to_string())?,
            Ok(Key::Reservation(_) | Key::CustomFilter { .. } | Key::Own(_)) | Err(KeyError::Foreign(_)) => {}
            Err(e @ KeyError::Malformed { .. }) => return Err(e.to_string()),
        }
        Ok(())
    }

    fn pools(&self, found: &mut Vec<Found>) {
        for (name, pool) in &self.pools {
            let later = self.pools.range::<String, _>((std::ops::Bound::Excluded(name), std::ops::Bound::Unbounded));
            for (other, _) in later.filter(|(_, p)| p.spec.cidr.overlaps(&pool.spec.cidr)) {
                report(found, Finding::PoolsOverlap { first: name.clone(), second: other.clone() });
            }
        }
    }

    fn blocks(&self, wall: UnixNanos, found: &mut Vec<Found>) {
        let all: Vec<Prefix> = self.blocks.keys().chain(&self.unread).copied().collect();
        for (cidr, (revision, block)) in &self.blocks {
            let overlapping = all.iter().filter(|o| *o != cidr && cidr.contains(o));
            for inside in overlapping {
                report(found, Finding::BlocksOverlap { outer: *cidr, inner: *inside });
            }
            match self.pools.values().find(|p| p.spec.cidr.contains(cidr)) {
                None => report(found, Finding::OutsidePools { block: *cidr }),
                Some(pool) if pool.block_size() != cidr.len() => {
                    report(found, Finding::SizeDiffers { block: *cidr, pool: pool.spec.cidr, size: pool.block_size() });
                }
                Some(_) => {}
            }
            self.ordinals(*cidr, *revision, block, found);
            let cooldown = Duration::from_secs(self.config.ip_cooldown_seconds);
            let key = Key::Block(*cidr);
            match block.owner() {
                None if block::is_empty(block, cooldown, wall) => {
                    let repair = Txn::new().unchanged(&key, *revision).delete(&key);
                    found.push(Found { finding: Finding::AbandonedBlock { block: *cidr }, repair: Some(repair) });
                }
                None => {}
                Some(owner) if !self.affinities.contains_key(&(*cidr, owner.clone())) => {
                    let affinity = Key::Affinity { owner: owner.clone(), block: *cidr };
                    let repair = Txn::new().unchanged(&key, *revision).absent(&affinity);
                    let repair = repair.put(&affinity, Affinity::confirmed().encode());
                    let finding = Finding::BlockWithoutAffinity { block: *cidr, owner: owner.to_string() };
                    found.push(Found { finding, repair: Some(repair) });
                }
                Some(_) => {}
            }
        }
    }

    fn ordinals(&self, cidr: Prefix, revision: Revision, block: &Block, found: &mut Vec<Found>) {
        let ordinals = (0u16..).zip(&block.allocations);
        let lost: Vec<u16> =
            ordinals.filter(|(o, a)| a.is_none() && !block.unallocated.contains(o)).map(|o| o.0).collect();
        if !lost.is_empty() {
            let mut whole = block.clone();
            whole.unallocated.extend(&lost);
            whole.sequence_number = whole.sequence_number.wrapping_add(1);
            let key = Key::Block(cidr);
            let repair = Txn::new().unchanged(&key, revision).put(&key, whole.encode());
            let addresses = lost.iter().filter_map(|o| block.address(*o)).collect();
            found.push(Found { finding: Finding::LostAddresses { block: cidr, addresses }, repair: Some(repair) });
        }
        let attributes = block.attributes.as_ref().map_or(0, Vec::len);
        let is_unused = |i: &usize| u16::try_from(*i).is_ok_and(|i| !block.allocations.contains(&Some(i)));
        let unused = (0..attributes).filter(is_unused).count();
        if unused > 0 {
            report(found, Finding::AttributesUnused { block: cidr, count: unused });
        }
        for (ordinal, attribute) in block.live() {
            if let (None, Some(address)) = (attribute.handle_id.get(), block.address(ordinal)) {
                report(found, Finding::AddressWithoutHandleId { block: cidr, address });
            }
        }
    }

    fn affinities(&self, found: &mut Vec<Found>) {
        for ((cidr, owner), (revision, affinity)) in &self.affinities {
            let (block, node, state) = (*cidr, owner.to_string(), affinity.state);
            let key = Key::Affinity { owner: owner.clone(), block };
            let is_confirmed = state == AffinityState::Confirmed;
            // What is on its way may be finished by whoever began it.
            let drop = |txn: Txn| is_confirmed.then(|| txn.unchanged(&key, *revision).delete(&key));
            match self.blocks.get(cidr) {
                None if self.unread.contains(cidr) => {}
                None => {
                    let repair = drop(Txn::new().absent(Key::Block(block)));
                    found.push(Found { finding: Finding::AffinityWithoutBlock { block, node, state }, repair });
                }
                Some((at, value)) if value.owner().as_ref() != Some(owner) => {
                    let repair = drop(Txn::new().unchanged(Key::Block(block), *at));
                    let owner = value.owner().map(|o| o.to_string());
                    found.push(Found { finding: Finding::AffinityToOthersBlock { block, node, state, owner }, repair });
                }
                Some(_) if !is_confirmed => report(found, Finding::Unconfirmed { block, node, state }),
                Some(_) => {}
            }
        }
    }

    /// How many addresses each handle holds in each block.
    fn held(&self) -> BTreeMap<&str, BTreeMap<Prefix, u64>> {
        let mut held: BTreeMap<&str, BTreeMap<Prefix, u64>> = BTreeMap::new();
        for (cidr, (_, block)) in &self.blocks {
            for handle in block.live().filter_map(|(_, a)| a.handle_id.get()) {
                *held.entry(handle).or_default().entry(*cidr).or_default() += 1;
            }
        }
        held
    }

    fn handles(&self, found: &mut Vec<Found>) {
        let held = self.held();
        let nothing = (0, Handle::default());
        let names: BTreeSet<&str> = held.keys().copied().chain(self.handles.keys().map(String::as_str)).collect();
        for name in names {
            // A handle that cannot be read is somebody's to look at.
            if self.is_garbage(&Key::Handle(name.to_owned())) {
                continue;
            }
            let (revision, handle) = self.handles.get(name).unwrap_or(&nothing);
            let empty = BTreeMap::new();
            let holds = held.get(name).unwrap_or(&empty);
            let blocks: BTreeSet<Prefix> = holds.keys().chain(handle.block.keys()).copied().collect();
            let differing: Vec<Prefix> = blocks
                .iter()
                .copied()
                .filter(|b| holds.get(b) != handle.block.get(b) && !self.unread.contains(b))
                .collect();
            let is_known = self.handles.contains_key(name);
            if differing.is_empty() && !(is_known && handle.is_empty()) {
                continue;
            }
            let handle_name = name.to_owned();
            let mut findings: Vec<Finding> = differing
                .iter()
                .map(|block| {
                    let (handle, block) = (handle_name.clone(), *block);
                    let (counted, held) =
                        (handle_count(&self.handles, name, block), holds.get(&block).copied().unwrap_or(0));
                    match (is_known, held) {
                        (false, held) => Finding::AddressesWithoutHandle { handle, block, held },
                        (true, 0) => Finding::HandleWithoutAddress { handle, block, counted },
                        (true, held) => Finding::HandleCountDiffers { handle, block, counted, held },
                    }
                })
                .collect();
            if findings.is_empty() {
                findings.push(Finding::EmptyHandle { handle: handle_name.clone() });
            }
            let repair = self.handle_repair(name, is_known.then_some(*revision), handle, holds, &blocks);
            // One transaction sets all of a handle right.
            let mut repair = repair.into_iter();
            found.extend(findings.into_iter().map(|finding| Found { finding, repair: repair.next() }));
        }
    }

    fn handle_repair(
        &self,
        name: &str,
        revision: Option<Revision>,
        handle: &Handle,
        holds: &BTreeMap<Prefix, u64>,
        blocks: &BTreeSet<Prefix>,
    ) -> Option<Txn> {
        if blocks.iter().any(|b| self.unread.contains(b)) || blocks.len() > 100 {
            return None;
        }
        let key = Key::Handle(name.to_owned());
        let mut txn = match revision {
            Some(revision) => Txn::new().unchanged(&key, revision),
            // A handle that cannot be read is somebody's to look at.
            None if self.garbage.iter().any(|f| f.is_of(&key.to_string())) || Key::parse(&key.to_string()).is_err() => {
                return None;
            }
            None => Txn::new().absent(&key),
        };
        for block in blocks {
            txn = match self.blocks.get(block) {
                Some((at, _)) => txn.unchanged(Key::Block(*block), *at),
                None => txn.absent(Key::Block(*block)),
            };
        }
        let right = Handle { block: holds.clone(), ..handle.clone() };
        Some(if right.is_empty() { txn.delete(&key) } else { txn.put(&key, right.encode()) })
    }

    fn is_garbage(&self, key: &Key) -> bool {
        let key = key.to_string();
        self.garbage.iter().any(|f| f.is_of(&key)) || Key::parse(&key).is_err()
    }

    fn endpoints(&self, endpoints: &Endpoints, found: &mut Vec<Found>) {
        for (handle, addresses) in &endpoints.held {
            for address in addresses {
                let holder = self.blocks.values().find_map(|(_, b)| {
                    let attribute = b.attribute(b.ordinal(*address)?)?;
                    Some(attribute.handle_id.get().cloned().unwrap_or_default())
                });
                if holder.as_deref() != Some(handle) {
                    let (handle, address) = (handle.clone(), *address);
                    report(found, Finding::EndpointWithoutAddress { handle, address, holder });
                }
            }
        }
        for (_, block) in self.blocks.values() {
            for (ordinal, attribute) in block.live().filter(|(_, a)| endpoints.gave(a)) {
                let (Some(address), Some(handle)) = (block.address(ordinal), attribute.handle_id.get()) else {
                    continue;
                };
                let is_used = endpoints.held.get(handle).is_some_and(|held| held.contains(&address));
                if !is_used && !endpoints.under_way.contains(handle) {
                    report(found, Finding::AddressWithoutEndpoint { handle: handle.clone(), address });
                }
            }
        }
    }
}

fn handle_count(handles: &BTreeMap<String, (Revision, Handle)>, name: &str, block: Prefix) -> u64 {
    handles.get(name).and_then(|(_, h)| h.block.get(&block)).copied().unwrap_or(0)
}

fn report(found: &mut Vec<Found>, finding: Finding) {
    found.push(Found { finding, repair: None });
}

#[cfg(test)]
mod tests;
