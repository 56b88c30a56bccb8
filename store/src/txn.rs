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
