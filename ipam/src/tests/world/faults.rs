//! What goes wrong: crashes, restarts, and what a store that is looked at from outside must never show.

use super::*;

impl World {
    /// A world whose every decision follows from this seed.
    pub(in crate::tests) fn seeded(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self { rng: ChaCha8Rng::from_seed(bytes), strict: true, ..Self::new(0) }
    }

    /// The agent dies and starts again, knowing nothing. What it had sent may still be carried out; the handles of the
    /// requests that it had not answered are returned.
    pub(in crate::tests) fn crash(&mut self, n: usize) -> Vec<String> {
        let asked = std::mem::take(&mut self.nodes[n].asked);
        for asked in asked {
            if let Asked::Txn(_, txn) = asked
                && (self.dice() < 128 || !self.strict)
            {
                self.late.push(txn);
            }
        }
        let node = &mut self.nodes[n];
        let answered: BTreeSet<RequestId> = node.replies.iter().map(|(id, _)| *id).collect();
        let unanswered = node.asks.iter().filter(|(id, _)| !answered.contains(id));
        let handles = unanswered.filter_map(|(_, ask)| handle_of(ask)).collect();
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let settings = node.ipam.settings.clone();
        node.ipam = Ipam::new(settings, seed, self.now);
        node.watch = Watch::new(WATCHED_PREFIXES.iter().map(|p| (*p).to_owned()).collect(), seed, self.now);
        node.alive = true;
        node.streams.clear();
        node.answers.clear();
        let unanswered = std::mem::take(&mut node.asks).into_values();
        if self.late.is_empty() {
            self.unanswered.clear();
        }
        self.unanswered.extend(unanswered);
        node.replies.clear();
        self.drain(n);
        handles
    }

    /// The agent goes away for good.
    pub(in crate::tests) fn remove(&mut self, n: usize) -> Vec<String> {
        let handles = self.crash(n);
        self.nodes[n].asked.clear();
        self.nodes[n].alive = false;
        handles
    }

    pub(in crate::tests) fn is_alive(&self, n: usize) -> bool {
        self.nodes[n].alive
    }

    /// The answers since they were last taken, with what was asked.
    pub(in crate::tests) fn answers(&mut self, n: usize) -> Vec<(Ask, Reply)> {
        let node = &mut self.nodes[n];
        let replies = std::mem::take(&mut node.replies);
        replies.into_iter().filter_map(|(id, reply)| Some((node.asks.remove(&id)?, reply))).collect()
    }

    /// What is answered is in the store, unless it was asked to be released since.
    pub(super) fn is_committed(&self, n: usize, id: RequestId, reply: &Reply) -> bool {
        let (Some(Ask::Assign(request)), Ok(addresses)) = (self.nodes[n].asks.get(&id), reply) else { return true };
        let is_release = |ask: &Ask| matches!(ask, Ask::Release(ReleaseTarget::Handle(h)) if *h == request.handle);
        let blocks = self.store.list("/calico/ipam/v2/assignment/");
        let blocks = blocks.filter_map(|kv| Block::decode(&kv.key, &kv.value).ok());
        let held: Vec<IpAddr> = blocks.flat_map(|b| b.held_by(&request.handle)).collect();
        self.nodes.iter().flat_map(|n| n.asks.values()).any(is_release) || addresses.iter().all(|a| held.contains(a))
    }

    /// A number below this, by the seed.
    pub(in crate::tests) fn below(&mut self, end: usize) -> usize {
        self.rng.next_u32() as usize % end.max(1)
    }

    /// Lets a transaction of somebody else happen.
    pub(in crate::tests) fn transact(&mut self, txn: &Txn) -> TxnOutcome {
        self.apply(txn).unwrap()
    }

    /// Lets one thing happen; nothing comes late.
    pub(in crate::tests) fn prompt(&mut self) {
        let late = std::mem::take(&mut self.late);
        self.some(1);
        self.late = late;
    }

    /// Lets time pass in which nothing else happens.
    pub(in crate::tests) fn wait(&mut self, time: Duration) {
        self.tick(self.now + time);
    }

    /// The wall clock of a node is set, by up to an hour and by a few seconds, either way.
    pub(in crate::tests) fn step_clock(&mut self, n: usize) {
        let seconds = [3600, -3600, 90, -90, 15, -15, 0][self.below(7)];
        self.nodes[n].ahead = seconds * 1_000_000_000;
        *self.tally.entry("clocks set").or_default() += 1;
    }

    /// Whether a transaction is on its way to the store.
    pub(in crate::tests) fn is_sending(&self, n: usize) -> bool {
        self.nodes[n].asked.iter().any(|asked| matches!(asked, Asked::Txn(..)))
    }

    /// Whether a claim is on its way to the store.
    pub(in crate::tests) fn is_claiming(&self, n: usize) -> bool {
        let is_affinity = |op: &Op| op.key().starts_with("/calico/ipam/v2/host/");
        self.nodes[n].asked.iter().any(|a| matches!(a, Asked::Txn(_, txn) if txn.then.iter().any(is_affinity)))
    }

    /// Carries out all that was sent and never answered and writes this key.
    pub(in crate::tests) fn be_punctual_with(&mut self, key: &str) {
        for txn in std::mem::take(&mut self.late) {
            if txn.then.iter().any(|op| op.key() == key) {
                self.apply(&txn).unwrap();
            } else {
                self.late.push(txn);
            }
        }
    }

    /// The store stops and starts: watches end, and what was on its way to it is refused, or lost before or after it is done.
    pub(in crate::tests) fn restart_store(&mut self) {
        for n in 0..self.nodes.len() {
            for asked in std::mem::take(&mut self.nodes[n].asked) {
                let Asked::Txn(id, txn) = asked else {
                    self.nodes[n].asked.push(asked);
                    continue;
                };
                let error = match self.dice() % 4 {
                    0 => StoreError::Refused("no leader".to_owned()),
                    what => {
                        if what == 1 {
                            self.apply(&txn).unwrap();
                        } else if what == 2 {
                            self.late.push(txn);
                        }
                        StoreError::Unknown("the store is away".to_owned())
                    }
                };
                self.nodes[n].answers.push((id, Err(error)));
            }
            self.end_streams(n, &WatchEnd::Disconnected("the store is away".to_owned()));
        }
    }

    /// Tells everybody what BGP says of forgotten nodes: a block that is announced by somebody is there.
    pub(in crate::tests) fn hear_of_forgotten(&mut self) {
        let alive = self.nodes.iter().filter(|n| n.alive);
        let present: BTreeSet<Prefix> = alive.flat_map(|n| n.ipam.blocks().keys().copied()).collect();
        let now = self.now;
        for n in 0..self.nodes.len() {
            if self.nodes[n].alive {
                let wall = self.wall_of(n);
                self.nodes[n].ipam.handle_reachable(Some(&present), now, wall);
                self.drain(n);
            }
        }
    }

    /// No two nodes announce one address.
    pub(in crate::tests) fn check_announcements(&self) {
        let mut announced: BTreeMap<Prefix, &str> = BTreeMap::new();
        for node in self.nodes.iter().filter(|n| n.alive) {
            for cidr in node.ipam.blocks().keys() {
                let other = announced.insert(*cidr, &node.name);
                assert!(other.is_none(), "{cidr} is announced by {} and {other:?}", node.name);
            }
        }
    }

    /// Takes note of what happens to blocks, so that a run can say what it has seen.
    pub(super) fn count(&mut self, before: Option<&Block>, change: &Change) {
        let is_here = |owner: Option<petiole_store::Owner>| {
            owner.is_some_and(|o| self.nodes.iter().any(|n| n.alive && o.is_host(&n.name)))
        };
        let after = match change {
            Change::Delete { .. } => None,
            Change::Put(kv) => Block::decode(&kv.key, &kv.value).ok(),
        };
        let what = match (before, after) {
            (None, _) => "claimed",
            (Some(before), None) if is_here(before.owner()) => "given back",
            (Some(_), None) => "reclaimed and deleted",
            (Some(before), Some(after)) if before.owner() != after.owner() => {
                if after.owner().is_none() {
                    "reclaimed and left ownerless"
                } else {
                    "taken over without an owner"
                }
            }
            (Some(before), Some(after)) => {
                let lent = |b: &Block| {
                    let owner = b.owner();
                    let is_others = |node: &str| !owner.as_ref().is_some_and(|o| o.is_host(node));
                    b.live().filter(|(_, a)| view::node_of(a).is_some_and(is_others)).count()
                };
                if lent(&after) <= lent(before) {
                    return;
                }
                "borrowed from"
            }
        };
        *self.tally.entry(what).or_default() += 1;
    }

    /// Carries out all that was sent and never answered.
    pub(in crate::tests) fn be_punctual(&mut self) {
        while self.be_late() {}
    }

    /// No address passes from one holder to another without having been free, and no two blocks share one.
    pub(super) fn watch_holders(&self, before: Option<&Block>, after: &Block) {
        for (cidr, _) in self.owners.range(..).filter(|(c, _)| c.overlaps(&after.cidr)) {
            assert_eq!(*cidr, after.cidr, "two blocks share addresses");
        }
        let Some(before) = before else { return };
        assert!(after.sequence_number >= before.sequence_number, "{} went back", after.cidr);
        for (ordinal, old) in before.live() {
            let Some(new) = after.attribute(ordinal).filter(|a| !a.is_tombstone()) else { continue };
            // Given back and assigned again by one transaction, at most.
            let is_back = |ask: &Ask| {
                matches!(ask, Ask::Release(ReleaseTarget::Handle(h)) if old.handle_id.get() == Some(h))
                    || matches!(ask, Ask::Release(ReleaseTarget::Address(a)) if after.address(ordinal) == Some(*a))
            };
            let mut asks = self.nodes.iter().flat_map(|n| n.asks.values()).chain(&self.unanswered);
            let is_same = old.handle_id == new.handle_id || asks.any(is_back);
            assert!(is_same, "ordinal {ordinal} of {}: {:?}, then {:?}", after.cidr, old.handle_id, new.handle_id);
        }
    }

    pub(in crate::tests) fn revision_of(&self, key: &Key) -> Option<Revision> {
        self.store.get(&key.to_string()).map(|kv| kv.mod_revision)
    }
}

fn handle_of(ask: &Ask) -> Option<String> {
    match ask {
        Ask::Assign(request) => Some(request.handle.clone()),
        Ask::Release(ReleaseTarget::Handle(handle)) => Some(handle.clone()),
        Ask::Release(ReleaseTarget::Address(_)) => None,
    }
}
