//! What to do next, from what is known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use petiole_prefix::{Family, Prefix};
use petiole_store::key::{Key, Owner};
use petiole_store::time::rfc3339;
use petiole_store::value::{Affinity, AffinityState, Block, Pool, Value};
use petiole_store::{Compare, Txn};
use rand_core::Rng;

use crate::claim::{Candidate, candidates};
use crate::requests::{Batch, Planned};
use crate::slot::Slot;
use crate::want::{Scope, Want};
use crate::{AssignError, Flight, Ipam, TxnId, block, pools};

/// How many keys are read along with a batch.
const MAX_READS: usize = 32;

/// How many requests one transaction carries: each touches one handle, and etcd allows 128 operations.
const MAX_BATCH: usize = 64;

pub(crate) fn is_confirmed(affinity: &Affinity) -> bool {
    affinity.state == AffinityState::Confirmed
}

impl Ipam {
    pub(crate) fn plan(&mut self) {
        if !self.view.in_sync {
            return;
        }
        self.read_back();
        self.create_pools();
        if self.is_forgotten() {
            self.take_note_away();
            return;
        }
        if !self.life.is_lived() {
            // A claim begins it along the way.
            self.plan_claims();
            self.begin_life();
            // What a forgotten node held is freed by the operator's word, which no life of this node has to bear out.
            self.plan_reclaims();
            return;
        }
        self.make_sure();
        // Requests may find that another block is wanted, and a claim that there is none, which answers the requests.
        for _ in 0..2 {
            self.plan_claims();
            self.plan_repairs();
            self.plan_returns();
            self.plan_reclaims();
            if !self.plan_requests() {
                break;
            }
        }
    }

    /// Reads what a transaction with an unknown outcome was to write, before anything is decided about it.
    fn read_back(&mut self) {
        let slots: Vec<Slot> = self.doubts.keys().copied().collect();
        for slot in slots {
            let (Some(doubt), Some(state)) = (self.doubts.get(&slot), self.slots.get(&slot)) else { continue };
            if !state.is_ready(self.now) {
                continue;
            }
            let txn = doubt.txn.then.iter().fold(Txn::new(), |txn, op| txn.get(op.key()));
            self.send(Flight { slot, txn, is_read_back: true, requests: Vec::new() });
        }
    }

    fn create_pools(&mut self) {
        for spec in self.pools.missing.clone() {
            let slot = Slot::Pool(spec.cidr);
            if !self.is_ready(slot) {
                continue;
            }
            let name = pools::name_for(spec.cidr);
            // A resource of that name with another range is somebody's decision; the overlap check speaks up if it matters.
            let mut pool = Pool::new(&name, spec.cidr, spec.block_size, self.uuid(), rfc3339(self.wall));
            if let Some(selector) = self.settings.selectors.get(&spec.cidr) {
                pool.spec.node_selector.clone_from(selector);
            }
            let key = Key::Pool(name);
            self.submit(slot, Txn::new().absent(&key).put(&key, pool.encode()));
        }
    }

    /// How many blocks of usable pools this node has.
    pub(crate) fn held(&self, family: Family) -> usize {
        self.view.mine().filter(|(c, _)| c.family() == family && self.pools.containing(*c).is_some()).count()
    }

    /// Why this node may not claim a block of this family.
    pub(crate) fn forbidden(&self, family: Family) -> Option<String> {
        let config = &self.view.config;
        if !config.auto_allocate_blocks {
            return Some("auto_allocate_blocks is false in /calico/ipam/v2/config".to_owned());
        }
        let (held, max) = (self.view.mine().filter(|(c, _)| c.family() == family).count(), config.max_blocks());
        (held as u64 >= max).then(|| {
            format!("this node has {held} {family} blocks, and maxBlocksPerHost in /calico/ipam/v2/config allows {max}")
        })
    }

    fn plan_claims(&mut self) {
        if !self.settings.want_block {
            return;
        }
        for family in Family::BOTH {
            let mut wants: Vec<Want> = self.demand.iter().filter(|w| w.family == family).cloned().collect();
            let any = Want::any(family);
            if self.held(family) == 0 && self.pools.of_family(family).next().is_some() && !wants.contains(&any) {
                wants.push(any.clone());
            }
            if self.forbidden(family).is_some() {
                wants.clear();
            } else if wants.is_empty() && self.held(family) > 0 && self.wants_spare(family) {
                wants.push(any);
            }
            self.exhausted.retain(|w| w.family != family || wants.contains(w));
            if wants.is_empty() || !self.is_ready(Slot::Claim(family)) || self.is_life_beginning() {
                continue;
            }
            for want in wants {
                let candidates = candidates(&self.view, &self.pools, &want, &self.settings.node);
                if let Some(txn) = self.claim(&candidates) {
                    self.exhausted.remove(&want);
                    self.submit(Slot::Claim(family), txn);
                    break;
                }
                self.exhausted.insert(want);
            }
        }
    }

    /// The transaction that claims the first candidate, and learns about the next ones if that fails.
    fn claim(&self, candidates: &[Candidate]) -> Option<Txn> {
        let (first, next) = candidates.split_first()?;
        let owner = Owner::Host(self.settings.node.clone());
        let cidr = first.cidr();
        let key = Key::Block(cidr);
        let (txn, value) = match first {
            Candidate::New(_) => (Txn::new().absent(&key), Block::new(cidr, owner, self.wall)?),
            Candidate::Ownerless(_) => {
                let entry = self.view.blocks.get(&cidr)?;
                let mut value = entry.full.clone()?;
                block::take_over(&mut value, owner, rfc3339(self.wall));
                (Txn::new().unchanged(&key, entry.mod_revision), value)
            }
        };
        let txn = self.with_affinity(txn, cidr).put(&key, value.encode());
        let txn = self.confirm_affinity(txn.otherwise_get(&key), cidr);
        Some(next.iter().fold(txn, |txn, c| txn.otherwise_get(Key::Block(c.cidr()))))
    }

    /// Only if this node's affinity is as it is known.
    pub(crate) fn with_affinity(&self, txn: Txn, cidr: Prefix) -> Txn {
        let key = Key::host_affinity(&self.settings.node, cidr);
        match self.view.my_affinity(cidr) {
            Some(at) => txn.unchanged(&key, at.mod_revision),
            None => txn.absent(&key),
        }
    }

    fn confirm_affinity(&self, txn: Txn, cidr: Prefix) -> Txn {
        let key = Key::host_affinity(&self.settings.node, cidr);
        let mut affinity = self.view.my_affinity(cidr).map_or_else(Affinity::confirmed, |at| at.value.clone());
        affinity.state = AffinityState::Confirmed;
        txn.put(&key, affinity.encode()).otherwise_get(&key)
    }

    /// Makes blocks and affinities of this node agree; the block's value is the truth.
    fn plan_repairs(&mut self) {
        if !self.settings.want_block {
            return;
        }
        let mut repairs: BTreeMap<Prefix, Txn> = BTreeMap::new();
        for (cidr, entry) in self.view.mine() {
            let Some(value) = &entry.full else { continue };
            if self.view.my_affinity(cidr).is_some_and(|a| is_confirmed(&a.value)) {
                continue;
            }
            // The block is written again, unchanged, so that whoever is giving it back sees that it is not his to give.
            let key = Key::Block(cidr);
            let txn = self.with_affinity(Txn::new().unchanged(&key, entry.mod_revision), cidr);
            let txn = self.confirm_affinity(txn.put(&key, value.encode()).otherwise_get(&key), cidr);
            repairs.insert(cidr, txn);
        }
        for (cidr, at) in self.view.my_affinities() {
            let key = Key::Block(cidr);
            let txn = match self.view.blocks.get(&cidr) {
                Some(entry) if !entry.readable || self.view.is_mine(cidr) => continue,
                Some(entry) => Txn::new().unchanged(&key, entry.mod_revision),
                // A claim may be about to complete it.
                None if self.held(cidr.family()) == 0 && self.pools.containing(cidr).is_some() => continue,
                None => Txn::new().absent(&key),
            };
            let affinity = Key::host_affinity(&self.settings.node, cidr);
            let txn = txn.unchanged(&affinity, at.mod_revision).delete(&affinity);
            repairs.insert(cidr, txn.otherwise_get(&key).otherwise_get(&affinity));
        }
        for (cidr, txn) in repairs {
            let key = Key::Block(cidr).to_string();
            let is_under_way =
                self.flights.values().chain(self.doubts.values()).any(|f| f.txn.when.iter().any(|c| c.key() == key));
            if !is_under_way && self.is_ready(Slot::Repair(cidr)) {
                self.submit(Slot::Repair(cidr), txn);
            }
        }
    }

    /// Answers requests, or sends what they need; `true` when the demand for blocks changed.
    fn plan_requests(&mut self) -> bool {
        let view = &self.view;
        self.fence.retain(|cidr, at| view.blocks.get(cidr).is_some_and(|b| b.readable && b.mod_revision == *at));
        if self.queue.is_empty() && self.fence.is_empty() {
            self.read.clear();
            self.demand.clear();
            return false;
        }
        if !self.is_ready(Slot::Requests) {
            return false;
        }
        let queue = std::mem::take(&mut self.queue);
        let is_known = |cidr, at| self.is_known_in_this_life(cidr, at);
        let known: BTreeSet<Prefix> =
            self.view.kept().filter(|(c, e, _)| is_known(*c, e.mod_revision)).map(|(c, ..)| c).collect();
        let batch = Batch::new(&self.view, &self.pools, &self.read, &self.recent, &self.settings.node, self.wall);
        let mut batch = batch.relying_on(known);
        let mut planned = Vec::new();
        let mut waiting = VecDeque::new();
        let mut waiting_handles: BTreeSet<String> = BTreeSet::new();
        let mut unread = BTreeSet::new();
        let mut demand = BTreeSet::new();
        for mut pending in queue {
            let must_wait = planned.len() >= MAX_BATCH || pending.handle().is_some_and(|h| waiting_handles.contains(h));
            let mut outcome = if must_wait { Planned::Read(Vec::new()) } else { batch.add(&pending) };
            if let Planned::NoAddress(want) = &outcome
                && self.may_borrow(want)
            {
                let want = want.clone();
                outcome = batch.add_borrowing(&pending);
                if matches!(outcome, Planned::Read(_)) {
                    // Until the lender is known it is still wanted, and known that there is none to claim.
                    demand.insert(want);
                }
            }
            match outcome {
                // It may rest on what is only planned so far.
                Planned::Reply(Ok(reply)) if !self.fence.is_empty() || !planned.is_empty() => {
                    planned.push((pending, reply));
                    continue;
                }
                Planned::Reply(reply) => {
                    self.replies.push_back((pending.id, reply));
                    continue;
                }
                Planned::Change(reply) => {
                    planned.push((pending, reply));
                    continue;
                }
                Planned::Read(keys) => unread.extend(keys),
                Planned::NoAddress(want) => {
                    let family = want.family;
                    if let Err(why) = self.why_no_address(&want) {
                        self.replies.push_back((pending.id, Err(AssignError::NoAddress { family, why })));
                        continue;
                    }
                    let why = "a block is being claimed; try again".to_owned();
                    pending.waits_for = Some(AssignError::NoAddress { family, why });
                    demand.insert(want);
                }
            }
            waiting_handles.extend(pending.handle().map(str::to_owned));
            waiting.push_back(pending);
        }
        // What has no answer yet may still be carried out, and an answer that rests on its not having been would be wrong.
        // So its blocks are written again, and answers wait for that.
        unread.extend(self.fence.keys().filter_map(|cidr| batch.touch(*cidr)));
        let txn = batch.into_txn().map(|txn| self.bind(txn));
        self.queue = waiting;
        // What was read is for this plan only; what is still needed is read again, all of it at one revision.
        let read = std::mem::take(&mut self.read);
        let keys: BTreeSet<String> = if unread.is_empty() {
            BTreeSet::new()
        } else {
            unread.iter().map(ToString::to_string).chain(read.into_keys()).take(MAX_READS).collect()
        };
        if !unread.is_empty() {
            // Who reads first comes back to what is known already not to be there.
            demand.extend(self.demand.intersection(&self.exhausted).cloned());
        }
        let is_changed = demand != self.demand;
        self.demand = demand;
        if txn.is_some() || !keys.is_empty() {
            let guarded: BTreeSet<&str> = txn.iter().flat_map(|t| &t.when).map(Compare::key).collect();
            let keys: Vec<&String> = keys.iter().filter(|k| !guarded.contains(k.as_str())).collect();
            let txn = txn.clone().unwrap_or_default();
            let txn = keys.into_iter().fold(txn, |txn, key| txn.get(key).otherwise_get(key));
            self.send(Flight { slot: Slot::Requests, txn, is_read_back: false, requests: planned });
        }
        is_changed
    }

    /// Whether a request that the node's blocks cannot fulfil, and no claim can either, may take from others' blocks.
    fn may_borrow(&self, want: &Want) -> bool {
        !self.view.config.strict_affinity
            && !matches!(want.scope, Scope::Block(_))
            && self.held(want.family) + usize::from(self.settings.want_block) > 0
            && want.pools(&self.pools).next().is_some()
            && self.why_no_address(want).is_err()
    }

    /// `Err` when waiting for a block is in vain.
    fn why_no_address(&self, want: &Want) -> Result<(), String> {
        let family = want.family;
        if !self.settings.want_block && self.held(family) == 0 {
            return Err(
                "it is not a worker and claims no blocks: give it the role worker, or ask another node".to_owned()
            );
        }
        if want.pools(&self.pools).next().is_none() {
            let why = self.pools.why_none(family, &self.view.pools);
            return Err(format!("no {family} pool can be used: {why}"));
        }
        if let Some(why) = self.forbidden(family) {
            return Err(why + self.words_of_borrowing());
        }
        if self.demand.contains(want) && self.exhausted.contains(want) {
            return Err(want.none_left() + self.words_of_borrowing());
        }
        Ok(())
    }

    pub(crate) const fn words_of_borrowing(&self) -> &'static str {
        if self.view.config.strict_affinity {
            "; strict_affinity in /calico/ipam/v2/config forbids to borrow from other nodes"
        } else {
            ""
        }
    }

    pub(crate) fn is_ready(&mut self, slot: Slot) -> bool {
        self.slots.entry(slot).or_default().is_ready(self.now) && !self.doubts.contains_key(&slot)
    }

    /// Sends a transaction unless it just failed.
    pub(crate) fn submit(&mut self, slot: Slot, txn: Txn) {
        let part = self.part();
        let txn = if matches!(slot, Slot::Pool(_) | Slot::Reclaim) { txn } else { self.bind(txn) };
        let state = self.slots.entry(slot).or_default();
        if state.last_failed.as_ref() == Some(&txn) {
            state.last_failed = None;
            state.back_off(self.now, part);
            return;
        }
        self.send(Flight { slot, txn, is_read_back: false, requests: Vec::new() });
    }

    pub(crate) fn send(&mut self, flight: Flight) {
        self.slots.entry(flight.slot).or_default().busy = true;
        self.next_txn += 1;
        let id = TxnId(self.next_txn);
        self.outbox.push_back((id, flight.txn.clone()));
        self.flights.insert(id, flight);
    }

    /// A random UUID (RFC 9562, version 4), as every resource of Calico has one.
    fn uuid(&mut self) -> String {
        let bits = (u128::from(self.rng.next_u64()) << 64) | u128::from(self.rng.next_u64());
        let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }
}
