//! Requests for addresses: what a batch of them changes, computed on copies and carried out as one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use petiole_store::key::Key;
use petiole_store::time::go_string;
use petiole_store::value::{Attribute, Block, Field, Handle, Value};
use petiole_store::{KeyValue, Revision, Txn, UnixNanos};

use crate::block::{self, By};
use crate::pools::Pools;
use crate::spare::Recent;
use crate::types::{AssignError, AssignRequest, ReleaseTarget, Reply, RequestId};
use crate::view::View;
use crate::want::Want;

mod choose;

/// What was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Assign(AssignRequest),
    Release(ReleaseTarget),
}

/// A request that is not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) id: RequestId,
    pub(crate) ask: Ask,
    pub(crate) deadline: Duration,
    /// What a transaction whose outcome is unknown was to release.
    pub(crate) attempted: Vec<IpAddr>,
    /// What it waits for.
    pub(crate) waits_for: Option<AssignError>,
}

impl Pending {
    /// The handle that it is about; requests about one handle keep their order.
    pub(crate) fn handle(&self) -> Option<&str> {
        match &self.ask {
            Ask::Assign(request) => Some(&request.handle),
            Ask::Release(ReleaseTarget::Handle(handle)) => Some(handle),
            Ask::Release(ReleaseTarget::Address(_)) => None,
        }
    }
}

/// What became of a request in a batch.
#[derive(Debug)]
pub(crate) enum Planned {
    /// Answered without any change.
    Reply(Reply),
    /// Answered with this once the batch has been carried out.
    Change(Vec<IpAddr>),
    /// These keys are to be read first.
    Read(Vec<Key>),
    /// No block that would do has a free address.
    NoAddress(Want),
}

/// Ordinals that are held, by block.
type Held = BTreeMap<Prefix, Vec<u16>>;

/// Values as they will be after the batch.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    view: &'a View,
    pools: &'a Pools,
    /// What was read for this batch beyond the view.
    read: &'a BTreeMap<String, Option<KeyValue>>,
    recent: &'a Recent,
    /// Blocks that cannot be written any more by what an agent before this one sent.
    known: BTreeSet<Prefix>,
    node: &'a str,
    wall: UnixNanos,
    /// Whether what the node's blocks cannot give may come from others'.
    may_borrow: bool,
    reserved: Vec<Prefix>,
    blocks: BTreeMap<Prefix, (Revision, Block)>,
    /// Blocks that are not changed, but that an answer rests on.
    guards: BTreeMap<Prefix, Revision>,
    handles: BTreeMap<String, (Option<Revision>, Handle)>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        view: &'a View,
        pools: &'a Pools,
        read: &'a BTreeMap<String, Option<KeyValue>>,
        recent: &'a Recent,
        node: &'a str,
        wall: UnixNanos,
    ) -> Self {
        let (reserved, may_borrow) = (view.reserved(), false);
        let (blocks, guards, handles) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let known = BTreeSet::new();
        Self { view, pools, read, recent, known, node, wall, may_borrow, reserved, blocks, guards, handles }
    }

    /// These blocks cannot be written any more by what an agent before this one sent: answers may rest on them as they are known.
    pub(crate) fn relying_on(mut self, known: BTreeSet<Prefix>) -> Self {
        self.known = known;
        self
    }

    /// Like [`add`](Self::add) for a request that the node's own blocks cannot fulfil.
    pub(crate) fn add_borrowing(&mut self, pending: &Pending) -> Planned {
        self.may_borrow = true;
        let planned = self.add(pending);
        self.may_borrow = false;
        planned
    }

    /// Adds a request, or says why it is not part of the batch; the batch is unchanged then.
    pub(crate) fn add(&mut self, pending: &Pending) -> Planned {
        match &pending.ask {
            Ask::Assign(request) => self.assign(request),
            Ask::Release(target) => {
                let (held, by) = match target {
                    ReleaseTarget::Address(addr) => (self.at_address(*addr), By::Address),
                    ReleaseTarget::Handle(handle) => (self.held_by(handle), By::Handle),
                };
                match held {
                    Err(Unclear::Read(keys)) => Planned::Read(keys),
                    Err(Unclear::Garbage(error)) => Planned::Reply(Err(AssignError::Garbage(error))),
                    Ok(held) if held.is_empty() => Planned::Reply(Ok(pending.attempted.clone())),
                    Ok(held) => self.release(held, by),
                }
            }
        }
    }

    /// Writes a block again, changed or not, so that its revision moves on; the key to read first, if it is not known.
    pub(crate) fn touch(&mut self, cidr: Prefix) -> Option<Key> {
        match self.block(cidr) {
            Known::Value(block) => {
                self.blocks.entry(cidr).or_insert(block);
                None
            }
            Known::Unread => Some(Key::Block(cidr)),
            Known::Absent | Known::Garbage(_) => None,
        }
    }

    /// The transaction that carries the batch out; `None` when it changes nothing.
    pub(crate) fn into_txn(self) -> Option<Txn> {
        if self.blocks.is_empty() && self.guards.is_empty() {
            return None;
        }
        let mut txn = Txn::new();
        for (cidr, revision) in self.guards.into_iter().filter(|(cidr, _)| !self.blocks.contains_key(cidr)) {
            txn = txn.unchanged(Key::Block(cidr), revision).otherwise_get(Key::Block(cidr));
        }
        for (cidr, (before, block)) in self.blocks {
            let key = Key::Block(cidr);
            txn = txn.unchanged(&key, before).otherwise_get(&key);
            let is_over = block.owner().is_none() && block.used() == 0;
            txn = if is_over { txn.delete(&key) } else { txn.put(&key, block.encode()) };
        }
        for (name, (before, handle)) in self.handles {
            let key = Key::Handle(name);
            txn = match before {
                Some(revision) => txn.unchanged(&key, revision),
                None => txn.absent(&key),
            };
            txn = txn.otherwise_get(&key);
            txn = match (handle.is_empty(), before) {
                (false, _) => txn.put(&key, handle.encode()),
                (true, Some(_)) => txn.delete(&key),
                (true, None) => txn,
            };
        }
        Some(txn)
    }

    fn assign(&mut self, request: &AssignRequest) -> Planned {
        if let Err(wrong) = check(request) {
            return Planned::Reply(Err(AssignError::BadRequest(wrong)));
        }
        let mut addresses = BTreeMap::new();
        let mut changed = BTreeMap::new();
        for family in &request.families {
            let named = request.addresses.iter().find(|a| Family::of(**a) == *family);
            if let Some(addr) = self.already_held(&request.handle, *family, named) {
                if let Some(other) = named.filter(|a| **a != addr) {
                    let words = format!("{} holds {addr} already: release it before it gets {other}", request.handle);
                    return Planned::Reply(Err(AssignError::BadRequest(words)));
                }
                addresses.insert(*family, addr);
                continue;
            }
            let (cidr, revision, block, addr) = match self.choose(request, *family) {
                Ok(chosen) => chosen,
                Err(planned) => return planned,
            };
            addresses.insert(*family, addr);
            changed.insert(cidr, (revision, block));
        }
        let addresses: Vec<IpAddr> = request.families.iter().filter_map(|f| addresses.get(f).copied()).collect();
        let held = addresses.iter().filter_map(|a: &IpAddr| self.view.kept().find(|(c, ..)| c.contains_addr(*a)));
        let held: BTreeMap<Prefix, Revision> = held.map(|(cidr, entry, _)| (cidr, entry.mod_revision)).collect();
        if changed.is_empty() {
            if held.keys().all(|cidr| self.known.contains(cidr)) {
                return Planned::Reply(Ok(addresses));
            }
            self.guards.extend(held);
            return Planned::Change(addresses);
        }
        let mut handle = match self.handle(&request.handle) {
            Known::Value(handle) => handle,
            // A handle that nobody has seen is new; if it is not, the transaction says so.
            Known::Absent | Known::Unread => (None, Handle::default()),
            Known::Garbage(error) => return Planned::Reply(Err(AssignError::Garbage(error))),
        };
        for cidr in changed.keys() {
            handle.1.add(*cidr);
        }
        // What it holds already may have been released by somebody whom the watch has not told of.
        self.guards.extend(held);
        self.handles.insert(request.handle.clone(), handle);
        self.blocks.extend(changed);
        Planned::Change(addresses)
    }

    /// An address of this family that the handle holds in the blocks that this node knows, by preference this one.
    fn already_held(&self, handle: &str, family: Family, named: Option<&IpAddr>) -> Option<IpAddr> {
        // A block that is only borrowed from by this batch is not among the kept ones yet.
        let kept = self.view.kept().map(|(cidr, _, block)| (cidr, self.blocks.get(&cidr).map_or(block, |(_, b)| b)));
        let changed = self.blocks.iter().map(|(cidr, (_, block))| (*cidr, block));
        let known: BTreeMap<Prefix, &Block> = kept.chain(changed).filter(|(c, _)| c.family() == family).collect();
        let mut held = known.into_iter().flat_map(|(cidr, block)| {
            let is_mine = self.view.is_mine(cidr);
            let here = block.live().filter(|(_, a)| a.handle_id.get().is_some_and(|h| h == handle));
            let here = here.filter(move |(_, a)| is_mine || self.view.is_held_here(a));
            here.filter_map(|(o, _)| block.address(o)).collect::<Vec<_>>()
        });
        let first = held.next()?;
        Some(named.filter(|n| held.any(|a| a == **n)).copied().unwrap_or(first))
    }

    fn attribute(&self, request: &AssignRequest) -> Attribute {
        let mut secondary = request.attributes.clone();
        secondary.insert("node".to_owned(), self.node.to_owned());
        secondary.insert("timestamp".to_owned(), go_string(self.wall));
        Attribute {
            handle_id: Field::Is(request.handle.clone()),
            secondary: Field::Is(secondary),
            ..Attribute::default()
        }
    }

    /// What is held at an address: the block and the ordinal, or the keys to read first.
    fn at_address(&self, addr: IpAddr) -> Result<Held, Unclear> {
        let Some(cidr) = self.view.blocks.keys().find(|c| c.contains_addr(addr)).copied() else {
            return Ok(Held::new());
        };
        let (_, block) = match self.block(cidr) {
            Known::Value(block) => block,
            Known::Absent => return Ok(Held::new()),
            Known::Unread => return Err(Unclear::Read(vec![Key::Block(cidr)])),
            Known::Garbage(error) => return Err(Unclear::Garbage(error)),
        };
        let Some(ordinal) = block.ordinal(addr) else { return Ok(Held::new()) };
        let Some(attribute) = block.attribute(ordinal).filter(|a| !a.is_tombstone()) else { return Ok(Held::new()) };
        match attribute.handle_id.get().map(|h| (h, self.handle(h))) {
            Some((handle, Known::Unread)) => return Err(Unclear::Read(vec![Key::Handle(handle.clone())])),
            Some((_, Known::Garbage(error))) => return Err(Unclear::Garbage(error)),
            None | Some((_, Known::Value(_) | Known::Absent)) => {}
        }
        Ok(Held::from([(cidr, vec![ordinal])]))
    }

    /// What a handle holds, or the keys to read first.
    fn held_by(&self, name: &str) -> Result<Held, Unclear> {
        let mut cidrs: BTreeSet<Prefix> = self.view.kept().map(|(cidr, ..)| cidr).collect();
        match self.handle(name) {
            Known::Value((_, handle)) => cidrs.extend(handle.block.keys()),
            Known::Absent => {}
            Known::Unread => return Err(Unclear::Read(vec![Key::Handle(name.to_owned())])),
            Known::Garbage(error) => return Err(Unclear::Garbage(error)),
        }
        let mut held = Held::new();
        let mut unread = Vec::new();
        for cidr in cidrs {
            match self.block(cidr) {
                Known::Value((_, block)) => {
                    let ordinals: Vec<u16> = block.held_by(name).into_iter().filter_map(|a| block.ordinal(a)).collect();
                    if !ordinals.is_empty() {
                        held.insert(cidr, ordinals);
                    }
                }
                Known::Absent => {}
                Known::Unread => unread.push(Key::Block(cidr)),
                Known::Garbage(error) => return Err(Unclear::Garbage(error)),
            }
        }
        if unread.is_empty() { Ok(held) } else { Err(Unclear::Read(unread)) }
    }

    fn release(&mut self, held: Held, by: By) -> Planned {
        let cooldown = self.cooldown();
        let mut addresses = Vec::new();
        for (cidr, ordinals) in held {
            let Known::Value((revision, mut block)) = self.block(cidr) else { continue };
            let holder = |o: &u16| block.attribute(*o).and_then(|a| a.handle_id.get().cloned());
            let holders: Vec<String> = ordinals.iter().filter_map(holder).collect();
            addresses.extend(ordinals.iter().filter_map(|o| block.address(*o)));
            block::release(&mut block, &ordinals, by, self.wall);
            block::collect(&mut block, cooldown, self.wall);
            self.blocks.insert(cidr, (revision, block));
            for holder in holders {
                // A handle that is not there must still not be when the batch is carried out.
                let (revision, mut handle) = match self.handle(&holder) {
                    Known::Value(handle) => handle,
                    Known::Absent | Known::Unread | Known::Garbage(_) => (None, Handle::default()),
                };
                handle.remove(cidr);
                self.handles.insert(holder, (revision, handle));
            }
        }
        Planned::Change(addresses)
    }

    fn block(&self, cidr: Prefix) -> Known<(Revision, Block)> {
        if let Some(changed) = self.blocks.get(&cidr) {
            return Known::Value(changed.clone());
        }
        if let Some(entry) = self.view.blocks.get(&cidr)
            && let Some(block) = &entry.full
        {
            return Known::Value((entry.mod_revision, block.clone()));
        }
        let key = Key::Block(cidr).to_string();
        match self.read.get(&key) {
            // A block of this node that has no value in the view cannot be read.
            None if self.view.is_mine(cidr) => Known::Absent,
            None => Known::Unread,
            Some(None) => Known::Absent,
            Some(Some(kv)) => {
                Block::decode(&key, &kv.value).map_or(Known::Absent, |b| Known::Value((kv.mod_revision, b)))
            }
        }
    }

    fn handle(&self, name: &str) -> Known<(Option<Revision>, Handle)> {
        if let Some(changed) = self.handles.get(name) {
            return Known::Value(changed.clone());
        }
        if let Some(at) = self.view.handles.get(name) {
            return Known::Value((Some(at.mod_revision), at.value.clone()));
        }
        let key = Key::Handle(name.to_owned()).to_string();
        match self.read.get(&key) {
            None => Known::Unread,
            Some(None) => Known::Absent,
            Some(Some(kv)) => match Handle::decode(&key, &kv.value) {
                Ok(handle) => Known::Value((Some(kv.mod_revision), handle)),
                Err(e) => Known::Garbage(e.to_string()),
            },
        }
    }
}

enum Known<T> {
    Value(T),
    Absent,
    /// Not known; to be read.
    Unread,
    /// Read, and why it makes no sense.
    Garbage(String),
}

/// Why what is held is not known.
enum Unclear {
    /// These keys are to be read first.
    Read(Vec<Key>),
    /// A value makes no sense.
    Garbage(String),
}

fn check(request: &AssignRequest) -> Result<(), String> {
    if request.handle.is_empty() || request.handle.contains('/') {
        return Err(format!("{:?} cannot be a handle: it is empty or contains a slash", request.handle));
    }
    let families: BTreeSet<Family> = request.families.iter().copied().collect();
    if families.is_empty() || families.len() != request.families.len() {
        return Err("ask for IPv4, for IPv6, or for both, each once".to_owned());
    }
    let named: BTreeSet<Family> = request.addresses.iter().map(|a| Family::of(*a)).collect();
    if named.len() != request.addresses.len() || !named.is_subset(&families) {
        return Err("name at most one address of each family that is asked for".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
