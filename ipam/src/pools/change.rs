//! What may change of the settings while the allocator runs: which pools are this node's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use petiole_prefix::Prefix;
use petiole_store::UnixNanos;

use super::Pools;
use crate::Ipam;
use crate::types::PoolSpec;

impl Ipam {
    /// Changes what the node selectors of pools are held against. Blocks that are owned stay so, whatever selects them now.
    pub fn set_labels(&mut self, labels: BTreeMap<String, String>, now: Duration, wall: UnixNanos) {
        if self.settings.labels != labels {
            self.turn(now, wall);
            self.settings.labels = labels;
            self.pools = Pools::of(&self.view.pools, &self.settings);
        }
    }

    /// Changes which ranges are not for pods. Nothing is assigned from a pool that overlaps one; what it gave before stays.
    pub fn set_taken(&mut self, taken: BTreeMap<Prefix, String>, now: Duration, wall: UnixNanos) {
        if self.settings.taken != taken {
            self.turn(now, wall);
            self.settings.taken = taken;
            self.pools = Pools::of(&self.view.pools, &self.settings);
        }
    }

    /// Changes the ranges that a Node object names for this node: a pool of each is created, and others are not claimed from any
    /// more. What they gave stays until it is released.
    pub fn set_ranges(&mut self, ranges: &BTreeSet<Prefix>, now: Duration, wall: UnixNanos) {
        let pools: Vec<PoolSpec> = ranges.iter().map(|range| PoolSpec::of_range(*range)).collect();
        if self.settings.pools != pools {
            self.turn(now, wall);
            self.settings.pools = pools;
            self.pools = Pools::of(&self.view.pools, &self.settings);
        }
    }
}
