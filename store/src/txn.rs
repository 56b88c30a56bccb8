//! Transactions and their outcomes, in the terms of etcd's v3 API.

use serde::{Deserialize, Serialize};

/// A store revision: a counter over the whole keyspace, never negative. 0 means "before anything".
pub type Revision = i64;

/// One key with its value, as the store holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyValue {
    /// The key; Petiole's and Calico's keys are text.
    pub key: String,
    /// The value's bytes, most often JSON.
    pub value: Vec<u8>,
    /// The revision that created the key (again, if it had been deleted).
    pub create_revision: Revision,
    /// The revision of the last write.
    pub mod_revision: Revision,
}

/// One change that a watch reports.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// The key has this value now.
    Put(KeyValue),
    /// The key is gone since this revision.
    Delete {
        /// The key.
        key: String,
        /// The revision of the deletion.
        mod_revision: Revision,
    },
}

/// A condition of a transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Compare {
    /// The key does not exist (its version is 0).
    Absent(String),
    /// The key was last written at exactly this revision.
    ModRevision(String, Revision),
}

/// An operation of a transaction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Write the value.
    Put {
        /// The key.
        key: String,
        /// The bytes to store.
        value: Vec<u8>,
    },
    /// Remove the key; absent is fine.
    Delete(String),
    /// Read the key.
    Get(String),
}

/// A transaction: all of `when` hold, then `then`, else `otherwise`; atomic either way.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Txn {
    /// The conditions, all of which must hold.
    pub when: Vec<Compare>,
    /// What is done if they hold.
    pub then: Vec<Op>,
    /// What is done if one does not: reads, so that the caller learns why.
    pub otherwise: Vec<Op>,
}

/// The result of one operation, in the order of the operations.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OpResult {
    /// A put happened.
    Put,
    /// This many keys were deleted: 0 or 1.
    Deleted(u64),
    /// What a get found.
    Got(Option<KeyValue>),
}

/// What a transaction did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TxnOutcome {
    /// Whether all conditions held.
    pub succeeded: bool,
    /// The store's revision after the transaction.
    pub revision: Revision,
    /// One result for each operation of the branch taken.
    pub results: Vec<OpResult>,
}

/// Why a request to the store has no outcome.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum StoreError {
    /// The request was surely not carried out: nothing was sent, or the store refused it.
    #[error("the store refused the request: {0}")]
    Refused(String),
    /// The request may have been carried out: read back before deciding anything.
    #[error("the store did not answer, so the outcome is unknown: {0}")]
    Unknown(String),
}

impl KeyValue {
    /// The value as text, for errors; bytes that are no UTF-8 are shown as such.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.value)
    }
}

impl Change {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    #[must_use]
    pub const fn mod_revision(&self) -> Revision {
        match self {
            Self::Put(kv) => kv.mod_revision,
            Self::Delete { mod_revision, .. } => *mod_revision,
        }
    }
}

impl Compare {
    /// The key that is compared.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::ModRevision(key, _) => key,
        }
    }
}

impl Op {
    /// The key that is read or written.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete(key) | Self::Get(key) => key,
        }
    }
}

/// A transaction reads like a sentence: `Txn::new().absent(&block).put(&block, value).otherwise_get(&block)`.
impl Txn {
    /// No condition, no operation.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if the key does not exist.
    #[must_use]
    pub fn absent(mut self, key: impl ToString) -> Self {
        self.when.push(Compare::Absent(key.to_string()));
        self
    }

    /// Only if the key was last written at exactly this revision.
    #[must_use]
    pub fn unchanged(mut self, key: impl ToString, mod_revision: Revision) -> Self {
        self.when.push(Compare::ModRevision(key.to_string(), mod_revision));
        self
    }

    /// Then write this value.
    #[must_use]
    pub fn put(mut self, key: impl ToString, value: impl Into<Vec<u8>>) -> Self {
        self.then.push(Op::Put { key: key.to_string(), value: value.into() });
        self
    }

    /// Then remove the key.
    #[must_use]
    pub fn delete(mut self, key: impl ToString) -> Self {
        self.then.push(Op::Delete(key.to_string()));
        self
    }

    /// Then read the key.
    #[must_use]
    pub fn get(mut self, key: impl ToString) -> Self {
        self.then.push(Op::Get(key.to_string()));
        self
    }

    /// Otherwise read the key, to learn what stood in the way.
    #[must_use]
    pub fn otherwise_get(mut self, key: impl ToString) -> Self {
        self.otherwise.push(Op::Get(key.to_string()));
        self
    }

    /// Whether it changes nothing whatever happens.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.then.iter().chain(&self.otherwise).all(|op| matches!(op, Op::Get(_)))
    }
}
