//! A store in memory with etcd's semantics: revisions, transactions, prefix lists, a log of events, compaction.
//!
//! It is the engine of the embedded store, whose driver makes durable what [`Memory::apply`] returns before it answers, and
//! it is the store of every test and simulation.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::txn::{Change, Compare, KeyValue, Op, OpResult, Revision, StoreError, Txn, TxnOutcome};

/// etcd's default limit of compares, and of operations of a branch (`--max-txn-ops`).
pub const MAX_TXN_OPS: usize = 128;

/// How many events are kept for watches before the oldest are forgotten, as a compaction would.
const LOG_LIMIT: usize = 65_536;

/// What a transaction did, and what a durable store must write before it may say so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The answer to the client.
    pub outcome: TxnOutcome,
    /// What changed, in key order, all at [`TxnOutcome::revision`]; empty when nothing did.
    pub changes: Vec<Change>,
}

/// The revision that a watch asked for is no longer in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("revisions before {at} have been compacted")]
pub struct Compacted {
    /// The oldest revision that can be watched from.
    pub at: Revision,
}

/// A key-value store in memory.
#[derive(Clone, Debug)]
pub struct Memory {
    revision: Revision,
    compacted: Revision,
    entries: BTreeMap<String, KeyValue>,
    log: VecDeque<Change>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store, at revision 1 as etcd begins.
    #[must_use]
    pub fn new() -> Self {
        Self { revision: 1, compacted: 0, entries: BTreeMap::new(), log: VecDeque::new() }
    }

    /// A store with this content. Its history before `revision` counts as compacted.
    #[must_use]
    pub fn restore(kvs: Vec<KeyValue>, revision: Revision) -> Self {
        let revision = kvs.iter().map(|kv| kv.mod_revision).fold(revision.max(1), Revision::max);
        let entries = kvs.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        Self { revision, compacted: revision.saturating_add(1), entries, log: VecDeque::new() }
    }

    /// The revision of the last change.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// One key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&KeyValue> {
        self.entries.get(key)
    }

    /// Every key that starts with the prefix, in key order, as of [`revision`](Self::revision).
    pub fn list(&self, prefix: &str) -> impl Iterator<Item = &KeyValue> {
        self.entries.range(prefix.to_owned()..).map(|(_, kv)| kv).take_while(move |kv| kv.key.starts_with(prefix))
    }

    /// Carries out a transaction.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where etcd refuses too: a key written twice, too many operations, an empty key. Nothing
    /// has changed then.
    pub fn apply(&mut self, txn: &Txn) -> Result<Applied, StoreError> {
        check(txn)?;
        let succeeded = txn.when.iter().all(|c| self.holds(c));
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        let next = self.revision.saturating_add(1);
        let mut changes = BTreeMap::new();
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            results.push(match op {
                Op::Put { key, value } => {
                    let create_revision = self.entries.get(key).map_or(next, |kv| kv.create_revision);
                    let kv = KeyValue { key: key.clone(), value: value.clone(), create_revision, mod_revision: next };
                    changes.insert(key.clone(), Change::Put(kv.clone()));
                    self.entries.insert(key.clone(), kv);
                    OpResult::Put
                }
                Op::Delete(key) => match self.entries.remove(key) {
                    Some(_) => {
                        changes.insert(key.clone(), Change::Delete { key: key.clone(), mod_revision: next });
                        OpResult::Deleted(1)
                    }
                    None => OpResult::Deleted(0),
                },
                Op::Get(key) => OpResult::Got(self.entries.get(key).cloned()),
            });
        }
        let changes: Vec<Change> = changes.into_values().collect();
        if !changes.is_empty() {
            self.revision = next;
            self.log.extend(changes.iter().cloned());
            self.trim();
        }
        Ok(Applied { outcome: TxnOutcome { succeeded, revision: self.revision, results }, changes })
    }

    /// The changes under a prefix from this revision on, in order.
    ///
    /// # Errors
    /// When the log no longer reaches back that far.
    pub fn changes_since(&self, prefix: &str, from: Revision) -> Result<Vec<Change>, Compacted> {
        if from < self.compacted {
            return Err(Compacted { at: self.compacted });
        }
        let start = self.log.partition_point(|c| c.mod_revision() < from);
        Ok(self.log.range(start..).filter(|c| c.key().starts_with(prefix)).cloned().collect())
    }

    /// Forgets the log before this revision, at most up to the present one.
    pub fn compact(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision.min(self.revision));
        let keep_from = self.log.partition_point(|c| c.mod_revision() < self.compacted);
        self.log.drain(..keep_from);
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Absent(key) => !self.entries.contains_key(key),
            // etcd compares an absent key as revision 0.
            Compare::ModRevision(key, revision) => self.entries.get(key).map_or(0, |kv| kv.mod_revision) == *revision,
        }
    }

    fn trim(&mut self) {
        // Whole revisions at a time: half a transaction must never be replayed.
        while self.log.len() > LOG_LIMIT {
            let Some(oldest) = self.log.front().map(Change::mod_revision) else { return };
            if oldest == self.revision {
                return;
            }
            self.compact(oldest.saturating_add(1));
        }
    }
}

fn check(txn: &Txn) -> Result<(), StoreError> {
    if txn.when.len().max(txn.then.len()).max(txn.otherwise.len()) > MAX_TXN_OPS {
        return Err(StoreError::Refused("too many operations in txn request".to_owned()));
    }
    let compared = txn.when.iter().map(Compare::key);
    let touched = txn.then.iter().chain(&txn.otherwise).map(Op::key);
    if compared.chain(touched).any(str::is_empty) {
        return Err(StoreError::Refused("key is not provided".to_owned()));
    }
    for branch in [&txn.then, &txn.otherwise] {
        let mut written = BTreeSet::new();
        for op in branch {
            let write = matches!(op, Op::Put { .. } | Op::Delete(_));
            if write && !written.insert(op.key()) {
                return Err(StoreError::Refused("duplicate key given in txn request".to_owned()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
