//! Nodes on one store, with an interleaving that a seed decides.

use std::collections::BTreeMap;

use petiole_store::memory::Compacted;
use petiole_store::value::{Block, Handle, Value};
use petiole_store::watch::{Watch, WatchAction, WatchEnd, WatchEvent, WatchId};
use petiole_store::{Change, Memory};

use super::*;

mod bound;
mod faults;

pub(super) struct Node {
    pub(super) name: String,
    pub(super) ipam: Ipam,
    /// What its wall clock is ahead, in nanoseconds.
    ahead: i64,
    watch: Watch,
    alive: bool,
    /// Live watches: prefix and the next revision to send.
    streams: BTreeMap<WatchId, (String, Revision)>,
    /// Lists, watches and transactions on their way to the store.
    asked: Vec<Asked>,
    /// Outcomes on their way back.
    answers: Vec<(TxnId, Result<TxnOutcome, StoreError>)>,
    pub(super) replies: Vec<(RequestId, Reply)>,
    asks: BTreeMap<RequestId, Ask>,
}

enum Asked {
    Watch(WatchAction),
    Txn(TxnId, Txn),
}

pub(super) struct World {
    pub(super) store: Memory,
    nodes: Vec<Node>,
    rng: ChaCha8Rng,
    now: Duration,
    pub(super) txns: usize,
    /// Of 256: how often a transaction's answer is lost, before and after it is carried out.
    pub(super) lose: u8,
    /// Whether every answer is held against the store in the moment in which it is given.
    strict: bool,
    /// Transactions that were given up as lost, and are carried out later.
    late: Vec<Txn>,
    /// What agents that died were asked, for as long as something may come late of it.
    unanswered: Vec<Ask>,
    /// How often what happened.
    pub(super) tally: BTreeMap<&'static str, u64>,
    /// Who owned what at any revision, to see that nothing was ever owned by two.
    owners: BTreeMap<Prefix, (Revision, String)>,
}

impl World {
    pub(super) fn new(seed: u8) -> Self {
        Self {
            store: Memory::new(),
            nodes: Vec::new(),
            rng: ChaCha8Rng::from_seed([seed; 32]),
            now: Duration::ZERO,
            txns: 0,
            lose: 0,
            strict: false,
            late: Vec::new(),
            unanswered: Vec::new(),
            tally: BTreeMap::new(),
            owners: BTreeMap::new(),
        }
    }

    pub(super) fn worker(&mut self, name: &str, pools: &[PoolSpec]) -> usize {
        let settings =
            IpamSettings { node: name.to_owned(), want_block: true, pools: pools.to_vec(), ..IpamSettings::default() };
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(self.nodes.len() as u64).to_le_bytes());
        let prefixes = WATCHED_PREFIXES.iter().map(|p| (*p).to_owned()).collect();
        self.nodes.push(Node {
            name: name.to_owned(),
            ipam: Ipam::new(settings, seed, self.now),
            ahead: 0,
            watch: Watch::new(prefixes, seed, self.now),
            alive: true,
            streams: BTreeMap::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            replies: Vec::new(),
            asks: BTreeMap::new(),
        });
        self.drain(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    pub(super) fn node(&self, n: usize) -> &Node {
        &self.nodes[n]
    }

    pub(super) fn node_mut(&mut self, n: usize) -> &mut Node {
        &mut self.nodes[n]
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    pub(super) fn kill(&mut self, n: usize) {
        self.nodes[n].alive = false;
    }

    pub(super) fn ask(&mut self, n: usize, id: u64, ask: Ask) {
        let (now, wall) = (self.now, self.wall_of(n));
        self.nodes[n].asks.insert(RequestId(id), ask.clone());
        let ipam = &mut self.nodes[n].ipam;
        match ask {
            Ask::Assign(request) => ipam.handle_assign(RequestId(id), request, now, wall),
            Ask::Release(target) => ipam.handle_release(RequestId(id), target, now, wall),
        }
        self.drain(n);
    }

    pub(super) fn take_reply(&mut self, n: usize) -> (RequestId, Reply) {
        self.nodes[n].replies.remove(0)
    }

    pub(super) fn wall(&self) -> UnixNanos {
        1_795_360_224_000_000_000 + u64::try_from(self.now.as_nanos()).unwrap()
    }

    /// The same, by the clock of a node.
    pub(super) fn wall_of(&self, n: usize) -> UnixNanos {
        self.wall().saturating_add_signed(self.nodes[n].ahead)
    }

    pub(super) fn put(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.apply(&Txn::new().put(key, value)).unwrap();
    }

    /// Tells a node something that its watch did not say.
    pub(super) fn fact(&mut self, n: usize, fact: &Fact) {
        let (now, wall) = (self.now, self.wall_of(n));
        self.nodes[n].ipam.handle_fact(fact, now, wall);
        self.drain(n);
    }

    /// Puts a backup in the place of the store.
    pub(super) fn restore(&mut self, backup: Memory) {
        self.store = backup;
        self.owners.clear();
    }

    pub(super) fn end_streams(&mut self, n: usize, reason: &WatchEnd) {
        for id in std::mem::take(&mut self.nodes[n].streams).into_keys() {
            let reason = reason.clone();
            self.nodes[n].watch.handle_event(WatchEvent::Ended { id, reason }, self.now);
        }
        self.drain(n);
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.apply(&Txn::new().delete(key)).unwrap();
    }

    fn apply(&mut self, txn: &Txn) -> Result<TxnOutcome, StoreError> {
        let before = self.touched(txn);
        let applied = self.store.apply(txn)?;
        for change in &applied.changes {
            let Ok(Key::Block(cidr)) = Key::parse(change.key()) else { continue };
            self.count(before.get(&cidr), change);
            match change {
                Change::Delete { .. } => {
                    self.owners.remove(&cidr);
                }
                Change::Put(kv) => {
                    let Ok(block) = Block::decode(&kv.key, &kv.value) else { continue };
                    self.watch_holders(before.get(&cidr), &block);
                    let Some(owner) = block.owner() else {
                        self.owners.remove(&cidr);
                        continue;
                    };
                    let owner = owner.to_string();
                    if let Some((_, before)) = self.owners.insert(cidr, (kv.mod_revision, owner.clone())) {
                        assert_eq!(before, owner, "{cidr} changed hands at revision {}", kv.mod_revision);
                    }
                }
            }
        }
        Ok(applied.outcome)
    }

    /// Lets some things happen, in an order that the seed decides.
    pub(super) fn some(&mut self, steps: usize) {
        for _ in 0..steps {
            let ready: Vec<usize> = (0..self.nodes.len()).filter(|n| self.has_work(*n)).collect();
            match self.pick(&ready) {
                Some(n) => self.step(n),
                None => match self.next_timer() {
                    Some(next) => self.tick(next),
                    None => return,
                },
            }
        }
    }

    /// Runs until nothing is on its way and no timer is due within the next minute of retries.
    pub(super) fn run(&mut self) {
        for _ in 0..300_000 {
            let ready: Vec<usize> = (0..self.nodes.len()).filter(|n| self.has_work(*n)).collect();
            if let Some(n) = self.pick(&ready) {
                self.step(n);
                continue;
            }
            if self.dice() < 64 && self.be_late() {
                continue;
            }
            match self.next_timer() {
                Some(next) => self.tick(next),
                None if self.be_late() => {}
                None => return,
            }
        }
        panic!("no quiescence");
    }

    /// The next timer, those left out that only matter to a store that drops events.
    fn next_timer(&self) -> Option<Duration> {
        let timers = self.nodes.iter().filter(|n| n.alive).flat_map(|n| {
            [n.ipam.poll_timeout().map(|t| t.0), n.watch.poll_timeout().map(|t| t.0)].into_iter().flatten()
        });
        timers.min().filter(|next| *next < self.now + Duration::from_secs(60))
    }

    /// Lets time pass, whatever happens in it.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.run();
            let timers = self.nodes.iter().filter(|n| n.alive).flat_map(|n| {
                [n.ipam.poll_timeout().map(|t| t.0), n.watch.poll_timeout().map(|t| t.0)].into_iter().flatten()
            });
            match timers.min().filter(|at| *at <= end) {
                Some(at) => self.tick(at),
                None => break,
            }
        }
        self.tick(end);
        self.run();
    }

    fn tick(&mut self, next: Duration) {
        self.now = self.now.max(next);
        let (now, wall) = (self.now, self.wall());
        for node in self.nodes.iter_mut().filter(|n| n.alive) {
            node.ipam.handle_timeout(now, wall.saturating_add_signed(node.ahead));
            node.watch.handle_timeout(now);
        }
        for n in 0..self.nodes.len() {
            self.drain(n);
        }
    }

    fn drain(&mut self, n: usize) {
        let (now, wall) = (self.now, self.wall_of(n));
        let node = &mut self.nodes[n];
        while let Some(fact) = node.watch.poll_fact() {
            node.ipam.handle_fact(&fact, now, wall);
        }
        while let Some(action) = node.watch.poll_action() {
            match action {
                WatchAction::Cancel { id } => {
                    node.streams.remove(&id);
                }
                other => node.asked.push(Asked::Watch(other)),
            }
        }
        while let Some((id, txn)) = node.ipam.poll_txn() {
            bound::assert_bound(&node.name, &txn);
            node.asked.push(Asked::Txn(id, txn));
        }
        let mut replies = Vec::new();
        while let Some(reply) = node.ipam.poll_reply() {
            replies.push(reply);
        }
        for (id, reply) in replies {
            if self.strict {
                assert!(self.is_committed(n, id, &reply), "answered before it was committed");
            }
            self.nodes[n].replies.push((id, reply));
        }
    }

    fn has_work(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let lags = |(_, from): &(String, Revision)| *from <= self.store.revision();
        node.alive && (!node.asked.is_empty() || !node.answers.is_empty() || node.streams.values().any(lags))
    }

    fn pick(&mut self, from: &[usize]) -> Option<usize> {
        let at = (self.rng.next_u32() as usize).checked_rem(from.len())?;
        from.get(at).copied()
    }

    fn dice(&mut self) -> u8 {
        self.rng.next_u32() as u8
    }

    /// One thing happens between a node and the store.
    fn step(&mut self, n: usize) {
        if self.dice() < 8 {
            self.be_late();
        }
        let kind = self.dice() % 3;
        if kind == 0 && !self.nodes[n].asked.is_empty() {
            let at = self.rng.next_u32() as usize % self.nodes[n].asked.len();
            let asked = self.nodes[n].asked.remove(at);
            self.serve(n, asked);
        } else if kind == 1 && !self.nodes[n].answers.is_empty() {
            let (id, result) = self.nodes[n].answers.remove(0);
            let (now, wall) = (self.now, self.wall_of(n));
            self.nodes[n].ipam.handle_done(id, result, now, wall);
        } else {
            self.stream(n);
        }
        self.drain(n);
    }

    /// A transaction that was given up is carried out after all; nobody hears of it. `false` when there is none.
    fn be_late(&mut self) -> bool {
        let Some(at) = (self.rng.next_u32() as usize).checked_rem(self.late.len()) else { return false };
        let txn = self.late.remove(at);
        let is_done = self.apply(&txn).unwrap().succeeded;
        *self.tally.entry(if is_done { "late and carried out" } else { "late and in vain" }).or_default() += 1;
        true
    }

    fn serve(&mut self, n: usize, asked: Asked) {
        let now = self.now;
        match asked {
            Asked::Watch(WatchAction::List { id, prefix }) => {
                let kvs = self.store.list(&prefix).cloned().collect();
                let revision = self.store.revision();
                self.nodes[n].watch.handle_event(WatchEvent::Listed { id, revision, kvs }, now);
            }
            Asked::Watch(WatchAction::Watch { id, prefix, from }) => {
                self.nodes[n].streams.insert(id, (prefix, from));
                let revision = self.store.revision();
                self.nodes[n].watch.handle_event(WatchEvent::Started { id, revision }, now);
            }
            Asked::Watch(WatchAction::Cancel { .. }) => {}
            Asked::Txn(id, txn) => {
                self.txns += 1;
                let lost = self.dice() < self.lose;
                let before = lost && self.dice() < 128;
                if before && self.dice() < 128 {
                    self.late.push(txn.clone());
                }
                let result = if before { None } else { Some(self.apply(&txn)) };
                let answer = match result {
                    Some(result) if !lost => result,
                    _ => Err(StoreError::Unknown("the answer was lost".to_owned())),
                };
                self.nodes[n].answers.push((id, answer));
            }
        }
    }

    /// One watch delivers some of what it lags behind, or breaks.
    fn stream(&mut self, n: usize) {
        let now = self.now;
        let ids: Vec<WatchId> = self.nodes[n].streams.keys().copied().collect();
        let breaks = self.dice() < self.lose / 8;
        for id in ids {
            let (prefix, from) = self.nodes[n].streams[&id].clone();
            if breaks {
                self.nodes[n].streams.remove(&id);
                let reason = WatchEnd::Disconnected("broken".to_owned());
                self.nodes[n].watch.handle_event(WatchEvent::Ended { id, reason }, now);
                continue;
            }
            let changes = match self.store.changes_since(&prefix, from) {
                Ok(changes) => changes,
                Err(Compacted { at }) => {
                    self.nodes[n].streams.remove(&id);
                    let reason = WatchEnd::Compacted { at };
                    self.nodes[n].watch.handle_event(WatchEvent::Ended { id, reason }, now);
                    continue;
                }
            };
            let revision = self.store.revision();
            let Some(first) = changes.first().map(Change::mod_revision) else {
                self.nodes[n].streams.insert(id, (prefix, revision + 1));
                continue;
            };
            let changes: Vec<Change> = changes.into_iter().take_while(|c| c.mod_revision() == first).collect();
            self.nodes[n].streams.insert(id, (prefix, first + 1));
            self.nodes[n].watch.handle_event(WatchEvent::Changes { id, revision, changes }, now);
        }
    }

    /// Every request was answered, and each handle holds what its last answers said.
    pub(super) fn check_replies(&self) {
        let blocks = self.blocks();
        for node in &self.nodes {
            assert_eq!(node.replies.len(), node.asks.len(), "{} answered all", node.name);
            let mut holds: BTreeMap<&str, BTreeMap<Family, Option<IpAddr>>> = BTreeMap::new();
            let mut unsure: BTreeSet<&str> = BTreeSet::new();
            // Requests about one handle are answered in their order.
            for (id, reply) in &node.replies {
                let pending = &node.asks[id];
                match (pending, reply) {
                    (Ask::Assign(request), Ok(addresses)) => {
                        assert_eq!(addresses.len(), request.families.len());
                        let held = holds.entry(&request.handle).or_default();
                        for addr in addresses {
                            let before = held.insert(Family::of(*addr), Some(*addr)).flatten();
                            assert!(
                                before.is_none_or(|b| b == *addr),
                                "{} held {before:?} and got {addr}",
                                request.handle
                            );
                        }
                    }
                    (Ask::Release(ReleaseTarget::Handle(handle)), Ok(addresses)) => {
                        let held = holds.remove(handle.as_str()).unwrap_or_default();
                        if !unsure.remove(handle.as_str()) {
                            // It may give back more: what a transaction that came late had given to a later request of the
                            // same handle, which is not answered yet and then gets an address anew.
                            let back: BTreeSet<IpAddr> = addresses.iter().copied().collect();
                            let held: BTreeSet<IpAddr> = held.into_values().flatten().collect();
                            assert!(back.is_superset(&held), "{handle} held {held:?} and gave back {back:?}");
                        }
                    }
                    (Ask::Release(ReleaseTarget::Address(_)), Ok(_)) => {}
                    // The request was given up: what it was to do may have been done.
                    (
                        Ask::Assign(AssignRequest { handle, .. }) | Ask::Release(ReleaseTarget::Handle(handle)),
                        Err(_),
                    ) => {
                        unsure.insert(handle);
                        holds.remove(handle.as_str());
                    }
                    (Ask::Release(ReleaseTarget::Address(_)), Err(_)) => {}
                }
            }
            for (handle, held) in holds {
                let held: BTreeSet<IpAddr> = held.into_values().flatten().collect();
                let stored: BTreeSet<IpAddr> = blocks.values().flat_map(|b| b.held_by(handle)).collect();
                if unsure.contains(handle) {
                    assert!(stored.is_superset(&held), "{handle} holds {held:?}, the store says {stored:?}");
                } else {
                    assert_eq!(stored, held, "{handle}");
                }
            }
        }
    }

    /// What must hold of the store at any time, and of the nodes when all is quiet.
    pub(super) fn check(&self) {
        let blocks = self.blocks();
        let mut counted: BTreeMap<String, BTreeMap<Prefix, u64>> = BTreeMap::new();
        for (cidr, block) in &blocks {
            for (_, attribute) in block.live() {
                let handle = attribute.handle_id.get().unwrap().clone();
                *counted.entry(handle).or_default().entry(*cidr).or_default() += 1;
            }
        }
        let handles = self.store.list("/calico/ipam/v2/handle/").map(|kv| {
            let name = kv.key.rsplit('/').next().unwrap().to_owned();
            (name, Handle::decode(&kv.key, &kv.value).unwrap().block)
        });
        assert_eq!(handles.collect::<BTreeMap<_, _>>(), counted, "handles agree with blocks");
        for node in self.nodes.iter().filter(|n| n.alive) {
            let owned: Vec<Prefix> = node.ipam.blocks().keys().copied().collect();
            let mine: Vec<Prefix> = blocks
                .iter()
                .filter(|(_, b)| b.owner().is_some_and(|o| o.is_host(&node.name)))
                .map(|(cidr, _)| *cidr)
                .collect();
            assert_eq!(owned, mine, "{} announces what it owns", node.name);
            let prefix = format!("/calico/ipam/v2/host/{}/", node.name);
            let affinities: BTreeSet<String> = self.store.list(&prefix).map(|kv| kv.key.clone()).collect();
            let wanted: BTreeSet<String> =
                mine.iter().map(|c| Key::host_affinity(&node.name, *c).to_string()).collect();
            assert_eq!(affinities, wanted, "affinities of {} agree with blocks", node.name);
        }
    }

    /// The blocks that a transaction may write, as they are.
    fn touched(&self, txn: &Txn) -> BTreeMap<Prefix, Block> {
        let keys = txn.then.iter().filter_map(|op| self.store.get(op.key()));
        keys.filter_map(|kv| Block::decode(&kv.key, &kv.value).ok()).map(|b| (b.cidr, b)).collect()
    }

    /// Key, value and revision of everything under a prefix.
    pub(super) fn keys(&self, prefix: &str) -> Vec<(String, Vec<u8>, Revision)> {
        self.store.list(prefix).map(|kv| (kv.key.clone(), kv.value.clone(), kv.mod_revision)).collect()
    }

    pub(super) const fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn blocks(&self) -> BTreeMap<Prefix, Block> {
        let blocks = self.store.list("/calico/ipam/v2/assignment/");
        blocks.map(|kv| (Block::decode(&kv.key, &kv.value).unwrap(), kv)).map(|(b, _)| (b.cidr, b)).collect()
    }
}
