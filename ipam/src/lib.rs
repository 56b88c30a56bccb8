//! Pools, blocks and addresses: decides the transactions, never talks to etcd.
//!
//! [`Ipam`] is the allocator of one node. It is told what the store holds ([`Ipam::handle_fact`]), asks for transactions
//! ([`Ipam::poll_txn`]), learns their outcome ([`Ipam::handle_done`]), and answers requests for addresses
//! ([`Ipam::poll_reply`]). The data is Project Calico's, so that its tools and its nodes can share the store.
//!
//! After every `handle_*` drain `poll_txn` and `poll_reply`, read [`Ipam::blocks`] again, and ask [`Ipam::poll_timeout`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::Prefix;
use petiole_store::key::{FORGOTTEN_PREFIX, IPAM_PREFIX, Key, POOLS_PREFIX, RESERVATIONS_PREFIX};
use petiole_store::{Compare, Fact, KeyValue, Op, OpResult, Revision, StoreError, Txn, TxnOutcome, UnixNanos};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

mod block;
pub mod check;
mod claim;
mod held;
mod life;
mod plan;
mod pools;
pub mod problem;
pub mod reclaim;
mod report;
mod requests;
mod slot;
mod spare;
pub mod types;
pub mod usage;
mod view;
mod want;

pub use held::Held;
use life::Life;
use pools::Pools;
pub use problem::{Exhausted, Problem};
use reclaim::Reclaim;
use requests::{Ask, Pending};
use slot::{Slot, SlotState};
use spare::Recent;
pub use types::{
    AssignError, AssignRequest, BlockView, IpamSettings, IpamTimer, OwnedBlock, PoolSpec, PoolView, ReleaseTarget,
    Reply, RequestId, TxnId,
};
use usage::{Ending, TxnCounts};
use view::View;
use want::Want;

/// The prefixes of the store whose facts an [`Ipam`] needs.
pub const WATCHED_PREFIXES: [&str; 4] = [IPAM_PREFIX, POOLS_PREFIX, RESERVATIONS_PREFIX, FORGOTTEN_PREFIX];

/// How long a request may wait for the store or for a block.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// How long the watch has to tell of a pool that was created, before it is tried again.
const POOL_TOLD_WITHIN: Duration = Duration::from_secs(5);

/// The allocator of one node; see the [crate](self).
#[derive(Debug)]
pub struct Ipam {
    settings: IpamSettings,
    rng: ChaCha8Rng,
    now: Duration,
    wall: UnixNanos,
    view: View,
    pools: Pools,
    owned: BTreeMap<Prefix, OwnedBlock>,
    slots: BTreeMap<Slot, SlotState>,
    flights: BTreeMap<TxnId, Flight>,
    /// Transactions whose outcome is unknown, until they have been read back.
    doubts: BTreeMap<Slot, Flight>,
    life: Life,
    next_txn: u64,
    outbox: VecDeque<(TxnId, Txn)>,
    queue: VecDeque<Pending>,
    /// What was read since the last plan, for the requests in the queue.
    read: BTreeMap<String, Option<KeyValue>>,
    replies: VecDeque<(RequestId, Reply)>,
    /// Blocks of this node, with the revision that a transaction of unknown outcome was bound to: it may still be carried
    /// out until the block's revision moves on.
    fence: BTreeMap<Prefix, Revision>,
    /// Blocks that requests wait for.
    demand: BTreeSet<Want>,
    /// Blocks that are wanted and of which none is free.
    exhausted: BTreeSet<Want>,
    /// What was seen of this node's blocks lately.
    recent: Recent,
    reclaim: Reclaim,
    /// Transactions that ended.
    ended: TxnCounts,
    /// Something changed since the last plan.
    dirty: bool,
}

/// A transaction that is under way.
#[derive(Debug)]
struct Flight {
    slot: Slot,
    txn: Txn,
    /// Reads back what an earlier one did.
    is_read_back: bool,
    /// The requests that it fulfils, each with its answer.
    requests: Vec<(Pending, Vec<IpAddr>)>,
}

impl Ipam {
    /// An allocator that knows nothing yet; the seed is for jitter and for the identifiers of what it creates.
    #[must_use]
    pub fn new(settings: IpamSettings, seed: [u8; 32], now: Duration) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let mut view = View::new(settings.node.clone());
        view.own_reserved.clone_from(&settings.reserved);
        Self {
            life: Life::new(&settings.node, &mut rng),
            rng,
            now,
            wall: 0,
            view,
            pools: Pools::of(&BTreeMap::new(), &settings),
            settings,
            owned: BTreeMap::new(),
            slots: BTreeMap::new(),
            flights: BTreeMap::new(),
            doubts: BTreeMap::new(),
            next_txn: 0,
            outbox: VecDeque::new(),
            queue: VecDeque::new(),
            read: BTreeMap::new(),
            replies: VecDeque::new(),
            fence: BTreeMap::new(),
            demand: BTreeSet::new(),
            exhausted: BTreeSet::new(),
            recent: Recent::default(),
            reclaim: Reclaim::default(),
            ended: TxnCounts::new(),
            dirty: false,
        }
    }

    /// Tells which addresses are the node's own, before anything else: they are written down with the beginning of this life,
    /// for whoever is told to [`forget`](reclaim::forget) the node.
    #[must_use]
    pub fn with_addresses(mut self, addresses: &[Prefix]) -> Self {
        self.life.name_addresses(addresses);
        self
    }

    /// Goes on with the blocks that this node owned when it last saw the store, with the revision of each, until the store
    /// is in sync. Only for the same boot of the same node.
    pub fn restore(&mut self, saved: &BTreeMap<Prefix, Revision>) {
        for (cidr, mod_revision) in saved {
            self.owned.entry(*cidr).or_insert(OwnedBlock {
                cidr: *cidr,
                mod_revision: *mod_revision,
                used: 0,
                free: 0,
                confirmed: false,
                is_exported: true,
            });
        }
    }

    /// Takes in a fact about one of [`WATCHED_PREFIXES`]; facts about other keys are ignored.
    pub fn handle_fact(&mut self, fact: &Fact, now: Duration, wall: UnixNanos) {
        self.turn(now, wall);
        self.view.fact(fact);
        match fact {
            Fact::Put(KeyValue { key, .. }) | Fact::Deleted { key, .. } => {
                if key.starts_with(POOLS_PREFIX) {
                    self.pools = Pools::of(&self.view.pools, &self.settings);
                }
                if matters_for_ownership(key) {
                    self.update_owned();
                }
            }
            Fact::InSync { .. } | Fact::Lost { .. } => self.update_owned(),
            Fact::Reset { .. } => {
                self.life.end();
                self.update_owned();
            }
        }
    }

    /// Takes in the outcome of a transaction.
    pub fn handle_done(&mut self, id: TxnId, result: Result<TxnOutcome, StoreError>, now: Duration, wall: UnixNanos) {
        self.turn(now, wall);
        let Some(flight) = self.flights.remove(&id) else { return };
        let part = self.part();
        self.count(flight.slot, ending(&result));
        let state = self.slots.entry(flight.slot).or_default();
        state.busy = false;
        match result {
            Err(StoreError::Refused(error)) => {
                state.error = Some(error);
                state.back_off(now, part);
                self.requeue(flight.requests, false);
            }
            Err(StoreError::Unknown(error)) => {
                state.error = Some(error);
                state.back_off(now, part);
                if flight.slot == Slot::Requests {
                    self.fence.extend(flight.txn.when.iter().filter_map(guarded_block));
                }
                if !flight.is_read_back {
                    self.doubts.insert(flight.slot, flight);
                }
            }
            Ok(outcome) => {
                if outcome.succeeded {
                    state.succeeded();
                } else {
                    state.conflicted(flight.txn.clone(), now, part);
                }
                if matches!(flight.slot, Slot::Pool(_)) {
                    // Created, or another node was first: the watch tells what the pool is now.
                    state.not_before = now + POOL_TOLD_WITHIN;
                }
                self.learn(flight.slot, &flight.txn, &outcome);
                if flight.is_read_back {
                    if let Some(doubt) = self.doubts.remove(&flight.slot) {
                        if was_carried_out(&doubt.txn, &flight.txn, &outcome) {
                            self.answer(doubt.requests);
                        } else {
                            self.requeue(doubt.requests, true);
                        }
                    }
                } else if outcome.succeeded {
                    self.answer(flight.requests);
                } else {
                    self.requeue(flight.requests, false);
                }
            }
        }
    }

    /// Asks for addresses; the answer comes from [`poll_reply`](Self::poll_reply).
    pub fn handle_assign(&mut self, id: RequestId, request: AssignRequest, now: Duration, wall: UnixNanos) {
        self.ask(id, Ask::Assign(request), now, wall);
    }

    /// Gives addresses back; the answer, the addresses that were held, comes from [`poll_reply`](Self::poll_reply).
    /// What is not held is no error: the answer is then empty.
    pub fn handle_release(&mut self, id: RequestId, target: ReleaseTarget, now: Duration, wall: UnixNanos) {
        self.ask(id, Ask::Release(target), now, wall);
    }

    /// Acts on timers that are due.
    pub fn handle_timeout(&mut self, now: Duration, wall: UnixNanos) {
        self.turn(now, wall);
        let (late, waiting): (VecDeque<Pending>, _) =
            std::mem::take(&mut self.queue).into_iter().partition(|p| p.deadline <= now);
        self.queue = waiting;
        // What the store says is wrong, where it says anything.
        let said = [Slot::Requests, Slot::Life].iter().find_map(|slot| self.slots.get(slot)?.error.clone());
        for pending in late {
            let said = said.as_ref().map_or_else(String::new, |said| format!(", the last was: {said}"));
            let away = || AssignError::StoreAway(format!("no success within 10 s{said}"));
            self.replies.push_back((pending.id, Err(pending.waits_for.unwrap_or_else(away))));
        }
        for doubt in self.doubts.values_mut() {
            let (late, waiting): (Vec<_>, _) =
                std::mem::take(&mut doubt.requests).into_iter().partition(|(p, _)| p.deadline <= now);
            doubt.requests = waiting;
            let away = || AssignError::StoreAway("whether it was done is not known yet".to_owned());
            self.replies.extend(late.into_iter().map(|(pending, _)| (pending.id, Err(away()))));
        }
    }

    /// The next transaction to carry out. Several may be under way at once; each must be answered by
    /// [`handle_done`](Self::handle_done).
    pub fn poll_txn(&mut self) -> Option<(TxnId, Txn)> {
        // Planned here and not in the handlers, so that facts and outcomes of one moment are seen together.
        if std::mem::take(&mut self.dirty) {
            self.plan();
        }
        self.outbox.pop_front()
    }

    /// Whether requests wait.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next answered request.
    pub fn poll_reply(&mut self) -> Option<(RequestId, Reply)> {
        self.replies.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Duration, IpamTimer)> {
        let retries = self.slots.values().filter(|s| !s.busy && s.not_before > self.now);
        let retries = retries.map(|s| (s.not_before, IpamTimer::Retry));
        let reclaims = self.reclaim_due().map(|at| (at, IpamTimer::Reclaim));
        let returns = self.recent.due().filter(|at| *at > self.now).map(|at| (at, IpamTimer::Return));
        let in_doubt = self.doubts.values().flat_map(|d| d.requests.iter().map(|(pending, _)| pending));
        let deadlines = self.queue.iter().chain(in_doubt).map(|p| (p.deadline, IpamTimer::RequestPatience));
        retries.chain(returns).chain(reclaims).chain(deadlines).min()
    }

    /// The blocks that this node may announce: those whose value names it and whose affinity is confirmed, and, until the
    /// store is in sync, those of the last known good state.
    #[must_use]
    pub const fn blocks(&self) -> &BTreeMap<Prefix, OwnedBlock> {
        &self.owned
    }

    /// The blocks, of this node or lent to it, that are not to be announced, nor any part of them.
    #[must_use]
    pub fn unexported(&self) -> BTreeSet<Prefix> {
        let lent = self.view.kept().map(|(cidr, ..)| cidr).filter(|cidr| !self.view.is_exported(*cidr));
        lent.chain(self.owned.values().filter(|b| !b.is_exported).map(|b| b.cidr)).collect()
    }

    /// The addresses that this node holds in blocks that are not its own, with the block of each. Each is to be announced as a
    /// host route of its own, which the announcement of the block does not outdo.
    #[must_use]
    pub fn borrowed(&self) -> BTreeMap<IpAddr, Prefix> {
        let others = self.view.kept().filter(|(cidr, ..)| !self.view.is_mine(*cidr));
        let here = others.flat_map(|(cidr, _, block)| {
            let held = block.live().filter(|(_, a)| self.view.is_held_here(a));
            held.filter_map(move |(o, _)| Some((block.address(o)?, cidr)))
        });
        here.collect()
    }

    fn turn(&mut self, now: Duration, wall: UnixNanos) {
        self.now = now;
        self.wall = wall;
        self.dirty = true;
    }

    fn ask(&mut self, id: RequestId, ask: Ask, now: Duration, wall: UnixNanos) {
        self.turn(now, wall);
        let deadline = now + REQUEST_PATIENCE;
        self.queue.push_back(Pending { id, ask, deadline, attempted: Vec::new(), waits_for: None });
    }

    fn answer(&mut self, requests: Vec<(Pending, Vec<IpAddr>)>) {
        self.replies.extend(requests.into_iter().map(|(pending, reply)| (pending.id, Ok(reply))));
    }

    /// Puts requests back to where they came from.
    fn requeue(&mut self, requests: Vec<(Pending, Vec<IpAddr>)>, in_doubt: bool) {
        for (mut pending, reply) in requests.into_iter().rev() {
            if in_doubt && matches!(pending.ask, Ask::Release(_)) {
                pending.attempted = reply;
            }
            self.queue.push_front(pending);
        }
    }

    /// What a transaction wrote or found is known at once; the watch may tell it later.
    fn learn(&mut self, slot: Slot, txn: &Txn, outcome: &TxnOutcome) {
        let at = outcome.revision;
        self.life.learn(txn, outcome);
        let ops = if outcome.succeeded { &txn.then } else { &txn.otherwise };
        for (op, result) in ops.iter().zip(&outcome.results) {
            match (op, result) {
                _ if self.life.is_key(op.key()) => {}
                (Op::Put { key, value }, OpResult::Put) => {
                    let (key, value) = (key.clone(), value.clone());
                    let kv = KeyValue { key, value, create_revision: at, mod_revision: at };
                    self.view.learn(&kv.key, Some(&kv), at);
                }
                (Op::Delete(key), OpResult::Deleted(_)) => self.view.learn(key, None, at),
                (Op::Get(key), OpResult::Got(found)) => {
                    self.view.learn(key, found.as_ref(), at);
                    if slot == Slot::Requests {
                        self.read.insert(key.clone(), found.clone());
                    } else if slot == Slot::Reclaim {
                        self.reclaim.read.insert(key.clone(), found.clone());
                    }
                }
                // The driver mixed up its answers; the watch will tell.
                _ => {}
            }
        }
        self.update_owned();
    }

    /// Recomputes which blocks may be announced.
    fn update_owned(&mut self) {
        let freed = std::mem::take(&mut self.view.freed);
        if !freed.is_empty() {
            self.recent.note(freed, self.now);
        }
        let before = std::mem::take(&mut self.owned);
        for (cidr, entry) in self.view.mine().filter(|(cidr, _)| !self.recent.is_leaving(*cidr)) {
            let confirmed = self.view.my_affinity(cidr).is_some_and(|a| plan::is_confirmed(&a.value));
            let was_owned = before.get(&cidr).is_some_and(|o| o.confirmed);
            // A block that names this node cannot become another's before its value changes. So an affinity that is being
            // taken away does not end an announcement: the repair, or the block's next value, decides.
            // Until then an agent before this one may still be giving it back.
            let is_surely_ours = before.contains_key(&cidr) || self.is_known_in_this_life(cidr, entry.mod_revision);
            if (confirmed && is_surely_ours) || (was_owned && self.settings.want_block) {
                let (mod_revision, used, free) = (entry.mod_revision, entry.used, entry.free);
                let is_exported = self.view.is_exported(cidr);
                self.owned.insert(cidr, OwnedBlock { cidr, mod_revision, used, free, confirmed: true, is_exported });
            }
        }
        for (cidr, block) in before {
            let is_unread = self.view.blocks.get(&cidr).is_some_and(|b| !b.readable && b.owner.is_none());
            if !block.confirmed && (!self.view.was_in_sync || is_unread) {
                self.owned.entry(cidr).or_insert(block);
            }
        }
    }

    fn part(&mut self) -> f64 {
        f64::from(self.rng.next_u32()) / f64::from(u32::MAX)
    }
}

const fn ending(result: &Result<TxnOutcome, StoreError>) -> Ending {
    match result {
        Ok(outcome) if outcome.succeeded => Ending::Done,
        Ok(_) => Ending::Conflict,
        Err(StoreError::Refused(_)) => Ending::Refused,
        Err(StoreError::Unknown(_)) => Ending::Unknown,
    }
}

/// The block that a condition binds a transaction to, and the revision.
fn guarded_block(condition: &Compare) -> Option<(Prefix, Revision)> {
    match condition {
        Compare::ModRevision(key, revision) => match Key::parse(key) {
            Ok(Key::Block(cidr)) => Some((cidr, *revision)),
            _ => None,
        },
        Compare::Absent(_) => None,
    }
}

/// Whether what was read back is what the transaction wrote: every value, all at one revision that none of its conditions
/// named. Where another has written since, it cannot be told, and the requests are looked at anew.
fn was_carried_out(doubt: &Txn, read: &Txn, outcome: &TxnOutcome) -> bool {
    let found = |key: &str| {
        read.then.iter().zip(&outcome.results).find_map(|(op, result)| match result {
            OpResult::Got(Some(kv)) if op.key() == key => Some(kv),
            _ => None,
        })
    };
    let is_before = |revision| doubt.when.iter().any(|c| matches!(c, Compare::ModRevision(_, r) if *r == revision));
    let mut written = None;
    for op in &doubt.then {
        match op {
            Op::Put { key, value } => {
                let Some(kv) = found(key).filter(|kv| kv.value == *value && !is_before(kv.mod_revision)) else {
                    return false;
                };
                if *written.get_or_insert(kv.mod_revision) != kv.mod_revision {
                    return false;
                }
            }
            Op::Delete(key) if found(key).is_some() => return false,
            Op::Delete(_) | Op::Get(_) => {}
        }
    }
    written.is_some()
}

fn matters_for_ownership(key: &str) -> bool {
    matches!(Key::parse(key), Ok(Key::Block(_) | Key::Affinity { .. } | Key::Pool(_)))
}

#[cfg(test)]
mod tests;
