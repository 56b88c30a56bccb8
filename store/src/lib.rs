//! The typed etcd keyspace: keys, values, transactions and watches as data.
//!
//! Nothing here talks to a store. [`Txn`] says what a transaction is, [`Watch`] turns a list and a stream of
//! events into facts that are never half true, [`Memory`] is a store that keeps its promises in memory (the
//! embedded store and every simulation run on it), and [`filter`] reads the BIRD statements that operators keep in it.

pub mod filter;
pub mod key;
pub mod memory;
pub mod time;
pub mod txn;
pub mod value;
pub mod watch;

pub use key::{Key, KeyError, Owner};
pub use memory::{Applied, Memory};
pub use txn::{Change, Compare, KeyValue, Op, OpResult, Revision, StoreError, Txn, TxnOutcome};
pub use watch::{Fact, Watch, WatchAction, WatchEnd, WatchEvent, WatchId, WatchPhase, WatchState};

/// Nanoseconds since the Unix epoch.
pub type UnixNanos = u64;
