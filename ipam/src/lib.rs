//! Pools, blocks and addresses: decides the transactions, never talks to etcd.
//!
//! [`Ipam`] is the allocator of one node. It is told what the store holds ([`Ipam::handle_fact`]), asks for transactions
//! ([`Ipam::poll_txn`]), learns their outcome ([`Ipam::handle_done`]), and answers requests for addresses
//! ([`Ipam::poll_reply`]). The data is Project Calico's, so that its tools and its nodes can share the store.
//!
//! After every `handle_*` drain `poll_txn` and `poll_reply`, read [`Ipam::blocks`] again, and ask [`Ipam::poll_timeout`].

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_prefix::Prefix;
use petiole_store::{Fact, Revision, StoreError, Txn, TxnOutcome, UnixNanos};

pub mod problem;
pub mod types;

pub use problem::Problem;
pub use types::{
    AssignError, AssignRequest, BlockView, IpamSettings, IpamTimer, OwnedBlock, PoolSpec, PoolView, ReleaseTarget,
    Reply, RequestId, TxnId,
};

/// The prefixes of the store whose facts an [`Ipam`] needs.
pub const WATCHED_PREFIXES: [&str; 3] = [
    "/calico/ipam/v2/",
    "/calico/resources/v3/projectcalico.org/ippools/",
    "/calico/resources/v3/projectcalico.org/ipreservations/",
];

/// The allocator of one node; see the [crate](self).
#[derive(Debug)]
pub struct Ipam {
    settings: IpamSettings,
    owned: BTreeMap<Prefix, OwnedBlock>,
}

impl Ipam {
    /// An allocator that knows nothing yet; the seed is for jitter and for the identifiers of what it creates.
    #[must_use]
    pub fn new(settings: IpamSettings, seed: [u8; 32], now: Duration) -> Self {
        let _ = (seed, now);
        Self { settings, owned: BTreeMap::new() }
    }

    /// Goes on with the blocks that this node owned when it last saw the store, with the revision of each, until the store
    /// is in sync. Only for the same boot of the same node.
    pub fn restore(&mut self, saved: &BTreeMap<Prefix, Revision>) {
        let _ = saved;
    }

    /// Takes in a fact about one of [`WATCHED_PREFIXES`]; facts about other keys are ignored.
    pub fn handle_fact(&mut self, fact: &Fact, now: Duration, wall: UnixNanos) {
        let _ = (fact, now, wall);
    }

    /// Takes in the outcome of a transaction.
    pub fn handle_done(&mut self, id: TxnId, result: Result<TxnOutcome, StoreError>, now: Duration, wall: UnixNanos) {
        let _ = (id, result, now, wall);
    }

    /// Asks for addresses; the answer comes from [`poll_reply`](Self::poll_reply).
    pub fn handle_assign(&mut self, id: RequestId, request: AssignRequest, now: Duration, wall: UnixNanos) {
        let _ = (id, request, now, wall);
    }

    /// Gives addresses back; the answer, the addresses that were held, comes from [`poll_reply`](Self::poll_reply).
    /// What is not held is no error: the answer is then empty.
    pub fn handle_release(&mut self, id: RequestId, target: ReleaseTarget, now: Duration, wall: UnixNanos) {
        let _ = (id, target, now, wall);
    }

    /// Acts on timers that are due.
    pub fn handle_timeout(&mut self, now: Duration, wall: UnixNanos) {
        let _ = (now, wall);
    }

    /// The next transaction to carry out. Several may be under way at once; each must be answered by
    /// [`handle_done`](Self::handle_done).
    pub fn poll_txn(&mut self) -> Option<(TxnId, Txn)> {
        None
    }

    /// The next answered request.
    pub fn poll_reply(&mut self) -> Option<(RequestId, Reply)> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Duration, IpamTimer)> {
        None
    }

    /// The blocks that this node may announce: those whose value names it and whose affinity is confirmed, and, until the
    /// store is in sync, those of the last known good state.
    #[must_use]
    pub const fn blocks(&self) -> &BTreeMap<Prefix, OwnedBlock> {
        &self.owned
    }

    /// Every block in the store, in order.
    #[must_use]
    pub fn all_blocks(&self) -> Vec<BlockView> {
        Vec::new()
    }

    /// Every pool in the store, in order of its range.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolView> {
        Vec::new()
    }

    /// What stands in the way at the moment, for `status`; empty when all is well.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let _ = &self.settings;
        Vec::new()
    }
}
