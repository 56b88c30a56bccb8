//! What nodes held that an operator says are gone for good.
//!
//! Silence is never death: only a node that was explicitly forgotten loses anything, and only after the grace time during which
//! neither one of its blocks nor one of its own addresses was known to this node's BGP. Every peer may do it; that each thing is
//! done once is what the conditions of the transactions are for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use petiole_prefix::Prefix;
use petiole_store::key::{Key, Owner};
use petiole_store::time::rfc3339;
use petiole_store::value::{Block, Forgotten, Handle, Value};
use petiole_store::{KeyValue, Revision, Txn, UnixNanos};
use rand_core::Rng;

use crate::slot::Slot;
use crate::view::node_of;
use crate::{Flight, Ipam, block};

/// Peers begin up to this share of the grace time later than the first, so that they are not all in each other's way.
const SPREAD: f64 = 0.5;

/// How many handles one transaction carries.
const MAX_HANDLES: usize = 50;

/// How the wait for forgotten nodes stands.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Since when a forgotten node has not been heard of, and when its things may be freed.
    quiet: BTreeMap<String, Duration>,
    /// What was read for the next step: none of it is older than the last transaction.
    pub(crate) read: BTreeMap<String, Option<KeyValue>>,
}

/// A node's own addresses, out of the value that its last life wrote; empty where it says none.
#[must_use]
pub fn addresses_in(life: &[u8]) -> Vec<Prefix> {
    let value: serde_json::Value = serde_json::from_slice(life).unwrap_or_default();
    let list = value.get("addresses").and_then(serde_json::Value::as_array);
    list.into_iter().flatten().filter_map(|a| a.as_str()?.parse().ok()).collect()
}

/// The transaction that says that a node is gone for good. `addresses` are its own, if they are known.
#[must_use]
pub fn forget(node: &str, addresses: Vec<Prefix>, wall: UnixNanos) -> Txn {
    let note = Forgotten { since: rfc3339(wall), addresses, ..Forgotten::default() };
    Txn::new().put(Key::forgotten(node), note.encode())
}

impl Ipam {
    /// The prefixes that show that a forgotten node is alive after all: ask BGP for them, and tell
    /// [`handle_reachable`](Self::handle_reachable).
    #[must_use]
    pub fn wanted_reachability(&self) -> BTreeSet<Prefix> {
        self.view.forgotten.keys().flat_map(|node| self.signs_of(node)).collect()
    }

    /// Takes in which of [`wanted_reachability`](Self::wanted_reachability) are in the Loc-RIB; `None` when that cannot be
    /// said: no leaf has told all it knows.
    pub fn handle_reachable(&mut self, present: Option<&BTreeSet<Prefix>>, now: Duration, wall: UnixNanos) {
        let Some(present) = present else {
            self.reclaim.quiet.clear();
            return;
        };
        let nodes: Vec<String> = self.view.forgotten.keys().cloned().collect();
        self.reclaim.quiet.retain(|node, _| nodes.contains(node));
        for node in nodes {
            if self.signs_of(&node).iter().any(|p| present.contains(p)) {
                self.reclaim.quiet.remove(&node);
            } else if !self.reclaim.quiet.contains_key(&node) {
                let part = f64::from(self.rng.next_u32()) / f64::from(u32::MAX);
                self.reclaim.quiet.insert(node, now + self.settings.grace_time.mul_f64(1.0 + SPREAD * part));
                self.turn(now, wall);
            }
        }
    }

    /// The nodes that own blocks, with these, but for those that are forgotten.
    #[must_use]
    pub fn hosts(&self) -> BTreeMap<&str, Vec<Prefix>> {
        let mut hosts: BTreeMap<&str, Vec<Prefix>> = BTreeMap::new();
        for (cidr, entry) in &self.view.blocks {
            if let Some(Owner::Host(node)) = &entry.owner
                && !self.view.forgotten.contains_key(node)
            {
                hosts.entry(node).or_default().push(*cidr);
            }
        }
        hosts
    }

    /// Nodes that are forgotten and still heard of.
    pub(crate) fn forgotten_but_alive(&self) -> impl Iterator<Item = &String> {
        self.view.forgotten.keys().filter(|node| !self.reclaim.quiet.contains_key(*node))
    }

    pub(crate) fn reclaim_due(&self) -> Option<Duration> {
        self.reclaim.quiet.values().copied().filter(|at| *at > self.now).min()
    }

    fn signs_of(&self, node: &str) -> BTreeSet<Prefix> {
        let addresses = self.view.forgotten.get(node).map(|at| at.value.addresses.clone()).unwrap_or_default();
        addresses.into_iter().chain(self.blocks_of(node)).collect()
    }

    fn blocks_of(&self, node: &str) -> impl Iterator<Item = Prefix> {
        self.view.blocks.iter().filter(move |(_, e)| e.owner.as_ref().is_some_and(|o| o.is_host(node))).map(|(c, _)| *c)
    }

    /// Whether it was this node that is gone for good, as an operator says.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.view.forgotten.contains_key(&self.settings.node)
    }

    /// It is here. Until the note is gone its peers may free what it holds, so nothing else is done before.
    pub(crate) fn take_note_away(&mut self) {
        let key = Key::forgotten(&self.settings.node);
        let Some(at) = self.view.forgotten.get(&self.settings.node) else { return };
        let txn = Txn::new().unchanged(&key, at.mod_revision).delete(&key);
        if self.is_ready(Slot::Reclaim) {
            self.submit(Slot::Reclaim, txn);
        }
    }

    pub(crate) fn plan_reclaims(&mut self) {
        let due =
            self.reclaim.quiet.iter().find(|(node, at)| **at <= self.now && self.view.forgotten.contains_key(*node));
        let Some(node) = due.map(|(node, _)| node.clone()) else { return };
        if !self.is_ready(Slot::Reclaim) {
            return;
        }
        match self.next_step(&node) {
            Step::Read(keys) => {
                let txn = keys.iter().fold(Txn::new(), |txn, key| txn.get(key));
                self.send(Flight { slot: Slot::Reclaim, txn, is_read_back: false, requests: Vec::new() });
            }
            Step::Do(txn) => {
                self.reclaim.read.clear();
                // What the node sent and is still under way comes too late from here on.
                self.submit(Slot::Reclaim, txn.delete(Key::life(&node)));
            }
            Step::Stuck => self.reclaim.read.clear(),
        }
    }

    /// Blocks first, then what the node borrowed, then affinities without a block, then the note itself.
    fn next_step(&self, node: &str) -> Step {
        let Some(note) = self.view.forgotten.get(node).map(|at| at.mod_revision) else { return Step::Stuck };
        let borrowed = self.view.blocks.iter().filter(|(_, e)| e.borrowers.contains(node)).map(|(c, _)| *c);
        let blocks = self.blocks_of(node).chain(borrowed);
        if let Some(cidr) = blocks.into_iter().find(|c| self.view.blocks.get(c).is_some_and(|e| e.readable)) {
            return self.free(node, note, cidr);
        }
        let key = Key::forgotten(node);
        let begin = Txn::new().unchanged(&key, note);
        let owner = Owner::Host(node.to_owned());
        if let Some(((cidr, _), at)) = self.view.affinities.iter().find(|((_, o), _)| *o == owner) {
            let (block, affinity) = (Key::Block(*cidr), Key::host_affinity(node, *cidr));
            let txn = match self.view.blocks.get(cidr) {
                Some(entry) => begin.unchanged(&block, entry.mod_revision),
                None => begin.absent(&block),
            };
            return Step::Do(txn.unchanged(&affinity, at.mod_revision).delete(&affinity));
        }
        Step::Do(begin.delete(&key))
    }

    /// Releases what the node holds in a block, and ends its affinity where it is the owner.
    fn free(&self, node: &str, note: Revision, cidr: Prefix) -> Step {
        let key = Key::Block(cidr);
        let Some(found) = self.reclaim.read.get(&key.to_string()) else { return Step::Read(vec![key]) };
        let Some(kv) = found else { return Step::Stuck };
        let Ok(mut block) = Block::decode(&kv.key, &kv.value) else { return Step::Stuck };
        let is_owner = block.owner().is_some_and(|o| o.is_host(node));
        let is_theirs = |a: &petiole_store::value::Attribute| node_of(a).map_or(is_owner, |n| n == node);
        let held: Vec<(u16, Option<String>)> = block
            .live()
            .filter(|(_, a)| is_theirs(a))
            .map(|(ordinal, a)| (ordinal, a.handle_id.get().cloned()))
            .collect();
        let names: BTreeSet<&String> = held.iter().filter_map(|(_, h)| h.as_ref()).collect();
        let names: BTreeSet<&String> = names.into_iter().take(MAX_HANDLES).collect();
        let unread: Vec<Key> = names.iter().map(|n| Key::Handle((*n).clone())).collect();
        let unread: Vec<Key> = unread.into_iter().filter(|k| !self.reclaim.read.contains_key(&k.to_string())).collect();
        if !unread.is_empty() {
            return Step::Read(unread);
        }
        let freed: Vec<&(u16, Option<String>)> =
            held.iter().filter(|(_, h)| h.as_ref().is_none_or(|h| names.contains(h))).collect();
        let mut txn = Txn::new().unchanged(Key::forgotten(node), note).unchanged(&key, kv.mod_revision);
        for name in names {
            let handle_key = Key::Handle(name.clone());
            let Some(Some(kv)) = self.reclaim.read.get(&handle_key.to_string()) else {
                txn = txn.absent(&handle_key);
                continue;
            };
            let Ok(mut handle) = Handle::decode(&kv.key, &kv.value) else { return Step::Stuck };
            freed.iter().filter(|(_, h)| h.as_ref() == Some(name)).for_each(|_| handle.remove(cidr));
            txn = txn.unchanged(&handle_key, kv.mod_revision);
            txn = if handle.is_empty() { txn.delete(&handle_key) } else { txn.put(&handle_key, handle.encode()) };
        }
        let is_last = freed.len() == held.len();
        let ordinals: Vec<u16> = freed.iter().map(|(o, _)| *o).collect();
        if !ordinals.is_empty() {
            block::release(&mut block, &ordinals, block::By::Handle, self.wall);
        }
        block::collect(&mut block, Duration::from_secs(self.view.config.ip_cooldown_seconds), self.wall);
        if is_owner && is_last {
            let affinity = Key::host_affinity(node, cidr);
            // Neither absent nor of a known revision: a problem says what to do about it.
            if self.view.garbage.contains_key(&affinity.to_string()) {
                return Step::Stuck;
            }
            txn = match self.view.affinities.get(&(cidr, Owner::Host(node.to_owned()))) {
                Some(at) => txn.unchanged(&affinity, at.mod_revision).delete(&affinity),
                None => txn.absent(&affinity),
            };
            block::disown(&mut block);
        }
        let is_over = block.owner().is_none() && block.used() == 0;
        Step::Do(if is_over { txn.delete(&key) } else { txn.put(&key, block.encode()) })
    }
}

enum Step {
    /// These are to be read first.
    Read(Vec<Key>),
    Do(Txn),
    /// The watch is behind, or a value cannot be read.
    Stuck,
}
