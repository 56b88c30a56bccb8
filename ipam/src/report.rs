//! What an operator sees: blocks, pools and problems.

use std::net::IpAddr;

use petiole_prefix::Family;
use petiole_store::key::{Key, Owner};

use crate::slot::Slot;
use crate::want::Want;
use crate::{BlockView, Exhausted, Ipam, PoolView, Problem};

/// A failure is a problem once it has happened so often in a row.
const FAILURES_TO_REPORT: u32 = 3;

impl Ipam {
    /// Every block in the store, in order.
    #[must_use]
    pub fn all_blocks(&self) -> Vec<BlockView> {
        let blocks = self.view.blocks.iter().map(|(cidr, b)| BlockView {
            cidr: *cidr,
            owner: b.owner.as_ref().map(|o| match o {
                Owner::Host(name) => name.clone(),
                Owner::Virtual(_) => o.to_string(),
            }),
            borrowers: b.borrowers.iter().cloned().collect(),
            used: b.used,
            free: b.free,
            mod_revision: b.mod_revision,
        });
        blocks.collect()
    }

    /// Every pool in the store, in order of its range.
    #[must_use]
    pub fn pools(&self) -> Vec<PoolView> {
        let view = |(name, pool): (&String, &petiole_store::value::Pool)| {
            let cidr = pool.spec.cidr;
            let claimed = self.view.blocks.range(cidr..).take_while(|(b, _)| cidr.contains(b)).count();
            PoolView {
                name: name.clone(),
                cidr,
                block_size: pool.block_size(),
                blocks: u64::try_from(cidr.subnet_count(pool.block_size())).unwrap_or(u64::MAX),
                claimed: claimed as u64,
                refused: self.pools.refused.get(name).cloned(),
            }
        };
        let mut pools: Vec<PoolView> = self.view.pools.iter().map(view).collect();
        pools.sort_by_key(|p| p.cidr);
        pools
    }

    /// What decides over an address, whoever holds it: its pool, whether that may be used, and what keeps it back.
    #[must_use]
    pub fn notes_on(&self, addr: IpAddr) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, pool) in self.view.pools.iter().filter(|(_, p)| p.spec.cidr.contains_addr(addr)) {
            let refused = self.pools.refused.get(name);
            let refused =
                refused.map_or_else(String::new, |why| format!("; nothing new is assigned from it here: {why}"));
            notes.push(format!("it lies in pool {name} ({}){refused}", pool.spec.cidr));
        }
        if notes.is_empty() {
            notes.push("it lies in no IP pool of the store".to_owned());
        }
        for (name, ranges) in &self.view.reservations {
            for range in ranges.iter().filter(|r| r.contains_addr(addr)) {
                notes.push(format!("IPReservation {name} keeps {range} back: only who names the address gets it"));
            }
        }
        for range in self.view.own_reserved.iter().filter(|r| r.contains_addr(addr)) {
            notes.push(format!("[ipam] reserved of this node keeps {range} back: only who names the address gets it"));
        }
        notes
    }

    /// What stands in the way at the moment, for `status`; empty when all is well.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.pools.problems.clone();
        let garbage = self.view.garbage.iter();
        problems.extend(garbage.map(|(key, error)| Problem::Garbage { key: key.clone(), error: error.clone() }));
        for (slot, state) in &self.slots {
            if let (Some(error), FAILURES_TO_REPORT..) = (&state.error, state.failures) {
                problems.push(Problem::TxnRefused { what: slot.purpose(), error: error.clone() });
            }
        }
        problems.extend(
            self.forgotten_but_alive()
                .map(|node| Problem::ForgottenAlive { node: node.clone(), key: Key::forgotten(node).to_string() }),
        );
        if self.settings.want_block && self.view.was_in_sync {
            self.claim_problems(&mut problems);
        }
        problems.sort();
        problems.dedup();
        problems
    }

    fn claim_problems(&self, problems: &mut Vec<Problem>) {
        if self.view.pools.is_empty() && self.pools.missing.is_empty() {
            problems.push(Problem::NoPool);
        } else if self.pools.usable.is_empty() && self.pools.missing.is_empty() {
            let families =
                Family::BOTH.into_iter().filter(|f| self.view.pools.values().any(|p| p.spec.cidr.family() == *f));
            let why: Vec<String> = families.map(|family| self.pools.why_none(family, &self.view.pools)).collect();
            problems.push(Problem::NoPoolForNode { why: why.join("; ") });
        }
        for family in Family::BOTH {
            if self.exhausted.contains(&Want::any(family)) {
                let tried = self.pools.of_family(family).map(|p| Exhausted {
                    name: p.name.clone(),
                    cidr: p.cidr,
                    blocks: u64::try_from(p.count()).unwrap_or(u64::MAX),
                });
                problems.push(Problem::PoolExhausted { family, pools: tried.collect() });
            }
            let is_wanted = self.held(family) == 0 && self.pools.of_family(family).next().is_some();
            if let (true, Some(why)) = (is_wanted, self.forbidden(family)) {
                problems.push(Problem::ClaimsForbidden { why });
            }
        }
        for (cidr, _) in self.view.mine() {
            for (owner, _) in self.view.affinities_to(cidr) {
                if !owner.is_host(&self.settings.node) {
                    let key = Key::Affinity { owner: owner.clone(), block: cidr }.to_string();
                    let other = match owner {
                        Owner::Host(name) => name.clone(),
                        Owner::Virtual(_) => owner.to_string(),
                    };
                    problems.push(Problem::OtherClaim { cidr, other, key });
                }
            }
        }
    }

    /// Whether a claim or a repair is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.flights.values().any(|f| matches!(f.slot, Slot::Claim(_) | Slot::Repair(_) | Slot::Return(_)))
    }
}
