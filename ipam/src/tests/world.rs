//! Nodes on one store, with an interleaving that a seed decides.

use std::collections::BTreeMap;

use petiole_store::value::{Block, Handle, Value};
use petiole_store::watch::{Watch, WatchAction, WatchEnd, WatchEvent, WatchId};
use petiole_store::{Change, Memory};

use super::*;

pub(super) struct Node {
    pub(super) name: String,
    pub(super) ipam: Ipam,
    watch: Watch,
    alive: bool,
    /// Live watches: prefix and the next revision to send.
    streams: BTreeMap<WatchId, (String, Revision)>,
    /// Lists, watches and transactions on their way to the store.
    asked: Vec<Asked>,
    /// Outcomes on their way back.
    answers: Vec<(TxnId, Result<TxnOutcome, StoreError>)>,
    pub(super) replies: Vec<(RequestId, Reply)>,
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
            owners: BTreeMap::new(),
        }
    }

    pub(super) fn worker(&mut self, name: &str, pools: &[PoolSpec]) -> usize {
        let settings = IpamSettings { node: name.to_owned(), want_block: true, pools: pools.to_vec() };
        let seed = [self.nodes.len() as u8; 32];
        let prefixes = WATCHED_PREFIXES.iter().map(|p| (*p).to_owned()).collect();
        self.nodes.push(Node {
            name: name.to_owned(),
            ipam: Ipam::new(settings, seed, self.now),
            watch: Watch::new(prefixes, seed, self.now),
            alive: true,
            streams: BTreeMap::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            replies: Vec::new(),
        });
        self.nodes.len() - 1
    }

    pub(super) fn node(&self, n: usize) -> &Node {
        &self.nodes[n]
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    pub(super) fn kill(&mut self, n: usize) {
        self.nodes[n].alive = false;
    }

    pub(super) fn ask(&mut self, n: usize, id: u64, ask: Ask) {
        let (now, wall) = (self.now, self.wall());
        let ipam = &mut self.nodes[n].ipam;
        match ask {
            Ask::Assign(request) => ipam.handle_assign(RequestId(id), request, now, wall),
            Ask::Release(target) => ipam.handle_release(RequestId(id), target, now, wall),
        }
    }

    pub(super) fn wall(&self) -> UnixNanos {
        1_795_360_224_000_000_000 + u64::try_from(self.now.as_nanos()).unwrap()
    }

    pub(super) fn put(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.apply(&Txn::new().put(key, value)).unwrap();
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.apply(&Txn::new().delete(key)).unwrap();
    }

    fn apply(&mut self, txn: &Txn) -> Result<TxnOutcome, StoreError> {
        let applied = self.store.apply(txn)?;
        for change in &applied.changes {
            let Ok(Key::Block(cidr)) = Key::parse(change.key()) else { continue };
            match change {
                Change::Delete { .. } => {
                    self.owners.remove(&cidr);
                }
                Change::Put(kv) => {
                    let Ok(block) = Block::decode(&kv.key, &kv.value) else { continue };
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

    /// Runs until nothing is on its way and no timer is due within the next minute of retries.
    pub(super) fn run(&mut self) {
        for _ in 0..2_000_000 {
            for n in 0..self.nodes.len() {
                self.drain(n);
            }
            let ready: Vec<usize> = (0..self.nodes.len()).filter(|n| self.has_work(*n)).collect();
            if let Some(n) = self.pick(&ready) {
                self.step(n);
                continue;
            }
            let timers = self.nodes.iter().filter(|n| n.alive).flat_map(|n| {
                [n.ipam.poll_timeout().map(|t| t.0), n.watch.poll_timeout().map(|t| t.0)].into_iter().flatten()
            });
            match timers.min() {
                Some(next) if next < self.now + Duration::from_secs(60) => self.tick(next),
                _ => return,
            }
        }
        panic!("no quiescence");
    }

    fn tick(&mut self, next: Duration) {
        self.now = self.now.max(next);
        let (now, wall) = (self.now, self.wall());
        for node in self.nodes.iter_mut().filter(|n| n.alive) {
            node.ipam.handle_timeout(now, wall);
            node.watch.handle_timeout(now);
        }
    }

    fn drain(&mut self, n: usize) {
        let (now, wall) = (self.now, self.wall());
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
            node.asked.push(Asked::Txn(id, txn));
        }
        while let Some(reply) = node.ipam.poll_reply() {
            node.replies.push(reply);
        }
    }

    fn has_work(&self, n: usize) -> bool {
        let node = &self.nodes[n];
        let lags =
            |(prefix, from): &(String, Revision)| self.store.changes_since(prefix, *from).is_ok_and(|c| !c.is_empty());
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
        let kind = self.dice() % 3;
        if kind == 0 && !self.nodes[n].asked.is_empty() {
            let at = self.rng.next_u32() as usize % self.nodes[n].asked.len();
            let asked = self.nodes[n].asked.remove(at);
            self.serve(n, asked);
        } else if kind == 1 && !self.nodes[n].answers.is_empty() {
            let (id, result) = self.nodes[n].answers.remove(0);
            let (now, wall) = (self.now, self.wall());
            self.nodes[n].ipam.handle_done(id, result, now, wall);
        } else {
            self.stream(n);
        }
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
            let Ok(changes) = self.store.changes_since(&prefix, from) else { continue };
            let Some(first) = changes.first().map(Change::mod_revision) else { continue };
            let changes: Vec<Change> = changes.into_iter().take_while(|c| c.mod_revision() == first).collect();
            let revision = self.store.revision();
            self.nodes[n].streams.insert(id, (prefix, first + 1));
            self.nodes[n].watch.handle_event(WatchEvent::Changes { id, revision, changes }, now);
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
            let affinities: Vec<String> = self.store.list(&prefix).map(|kv| kv.key.clone()).collect();
            let wanted: Vec<String> = mine.iter().map(|c| Key::host_affinity(&node.name, *c).to_string()).collect();
            assert_eq!(affinities, wanted, "affinities of {} agree with blocks", node.name);
        }
    }

    pub(super) fn blocks(&self) -> BTreeMap<Prefix, Block> {
        let blocks = self.store.list("/calico/ipam/v2/assignment/");
        blocks.map(|kv| (Block::decode(&kv.key, &kv.value).unwrap(), kv)).map(|(b, _)| (b.cidr, b)).collect()
    }
}
