//! What an agent sent before it died may be carried out at any time after. So each life of an agent writes a key of its node once,
//! with its first claim where it has one, and binds everything that it writes to the revision of that. From then on nothing of
//! an earlier life is carried out any more, and what is known as of then, or later, can be relied on.

use std::collections::BTreeSet;

use petiole_prefix::Prefix;
use petiole_store::key::Key;
use petiole_store::{Op, OpResult, Revision, Txn, TxnOutcome};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::slot::Slot;
use crate::{Ipam, guarded_block};

/// How many blocks the beginning of a life is bound to; etcd allows 128 conditions.
const MAX_BOUND: usize = 96;

/// This life of the agent.
#[derive(Debug)]
pub(crate) struct Life {
    key: String,
    /// What this life writes, and no other.
    value: Vec<u8>,
    standing: Option<Standing>,
}

/// The key says that it is this life.
#[derive(Debug)]
struct Standing {
    /// Since this revision.
    since: Revision,
    /// As it was last written.
    at: Revision,
    /// Blocks that then, or later, were as they were known.
    bound: BTreeSet<Prefix>,
}

impl Life {
    pub(crate) fn new(node: &str, rng: &mut ChaCha8Rng) -> Self {
        let value = format!("{{\"life\":\"{:016x}{:016x}\"}}", rng.next_u64(), rng.next_u64());
        Self { key: Key::life(node).to_string(), value: value.into_bytes(), standing: None }
    }

    /// Lets the key say which addresses are the node's own: who is told to forget the node looks for them.
    pub(crate) fn name_addresses(&mut self, addresses: &[Prefix]) {
        let list: Vec<String> = addresses.iter().map(|a| format!("\"{a}\"")).collect();
        if let Some(b'}') = self.value.pop() {
            self.value.extend(format!(",\"addresses\":[{}]}}", list.join(",")).into_bytes());
        }
    }

    pub(crate) const fn is_lived(&self) -> bool {
        self.standing.is_some()
    }

    pub(crate) fn is_key(&self, key: &str) -> bool {
        key == self.key
    }

    /// The store is another.
    pub(crate) fn end(&mut self) {
        self.standing = None;
    }

    /// Takes in what a transaction wrote or found.
    pub(crate) fn learn(&mut self, txn: &Txn, outcome: &TxnOutcome) {
        if let Some(standing) = self.standing.as_mut().filter(|s| outcome.succeeded && outcome.revision >= s.since) {
            standing.bound.extend(txn.when.iter().filter_map(guarded_block).map(|(cidr, _)| cidr));
        }
        let ops = if outcome.succeeded { &txn.then } else { &txn.otherwise };
        let Some((_, result)) = ops.iter().zip(&outcome.results).find(|(op, _)| op.key() == self.key) else { return };
        match (&mut self.standing, result) {
            (_, OpResult::Put) => {
                let bound = txn.when.iter().filter_map(guarded_block).map(|(cidr, _)| cidr).collect();
                self.standing = Some(Standing { since: outcome.revision, at: outcome.revision, bound });
            }
            // The same again, late. One whose answer never came is begun anew: which blocks it was bound to cannot be told.
            (Some(standing), OpResult::Got(_)) if standing.at > outcome.revision => {}
            (Some(standing), OpResult::Got(Some(kv))) if kv.value == self.value => standing.at = kv.mod_revision,
            (Some(_), OpResult::Got(_)) => self.standing = None,
            _ => {}
        }
    }
}

impl Ipam {
    /// Whether what is known of a block, last written at that revision, is as of this life.
    pub(crate) fn is_known_in_this_life(&self, cidr: Prefix, mod_revision: Revision) -> bool {
        let Some(standing) = &self.life.standing else { return false };
        mod_revision >= standing.since || self.view.told() >= standing.since || standing.bound.contains(&cidr)
    }

    /// Whether what begins this life is under way.
    pub(crate) fn is_life_beginning(&self) -> bool {
        let mut under_way = self.flights.values().chain(self.doubts.values());
        !self.life.is_lived() && under_way.any(|f| f.txn.then.iter().any(|op| is_put(op, &self.life.key)))
    }

    /// Begins this life, if anything rests on it.
    pub(crate) fn begin_life(&mut self) {
        let has_any = self.view.my_affinities().next().is_some() || self.relied_on().next().is_some();
        if (has_any || !self.queue.is_empty()) && !self.is_life_beginning() && self.is_ready(Slot::Life) {
            self.submit(Slot::Life, Txn::new());
        }
    }

    /// Looks whether blocks that the beginning of this life was not bound to are as they are known: an earlier life may have
    /// claimed one just before, or there were too many.
    pub(crate) fn make_sure(&mut self) {
        if !self.is_ready(Slot::Life) {
            return;
        }
        let unsure = self.relied_on().filter(|(cidr, at)| !self.is_known_in_this_life(*cidr, *at)).take(MAX_BOUND);
        let unsure: Vec<(String, Revision)> = unsure.map(|(cidr, at)| (Key::Block(cidr).to_string(), at)).collect();
        if !unsure.is_empty() {
            let look = |txn: Txn, (key, at): &(String, Revision)| txn.unchanged(key, *at).otherwise_get(key);
            self.submit(Slot::Life, unsure.iter().fold(Txn::new(), look));
        }
    }

    /// The blocks of which this node takes the store's word: its own, and those in which it holds addresses.
    fn relied_on(&self) -> impl Iterator<Item = (Prefix, Revision)> {
        let kept = self.view.kept().filter(|(cidr, _, block)| {
            self.view.is_mine(*cidr) || block.live().any(|(_, attribute)| self.view.is_held_here(attribute))
        });
        kept.map(|(cidr, entry, _)| (cidr, entry.mod_revision))
    }

    /// Lets a transaction be carried out in this life only, which begins with it if it has not yet.
    pub(crate) fn bind(&self, txn: Txn) -> Txn {
        let key = &self.life.key;
        if let Some(standing) = &self.life.standing {
            return txn.unchanged(key, standing.at).otherwise_get(key);
        }
        // What is not decodable forgets nobody.
        let note = Key::forgotten(&self.settings.node).to_string();
        let txn = if self.view.garbage.contains_key(&note) { txn } else { txn.absent(note) };
        let bound: BTreeSet<String> = txn.when.iter().map(|c| c.key().to_owned()).collect();
        let blocks = self.relied_on().map(|(cidr, at)| (Key::Block(cidr).to_string(), at));
        let blocks = blocks.filter(|(key, _)| !bound.contains(key)).take(MAX_BOUND);
        let txn = blocks.fold(txn, |txn, (key, at)| txn.unchanged(&key, at).otherwise_get(key));
        txn.put(key, self.life.value.clone())
    }
}

fn is_put(op: &Op, wanted: &str) -> bool {
    matches!(op, Op::Put { key, .. } if key == wanted)
}
