//! The routes learned, and which of them are used.
//!
//! | file | what |
//! |---|---|
//! | `table` | every prefix of a family once, with all paths to it: Adj-RIB-In and Loc-RIB in one |
//! | `index`, `slab` | the seeded hash index under it, and where the entries lie |
//! | `attrs` | attribute sets, each held once |
//! | `decision`, `reason` | which paths are used, and why the others are not |
//! | `learned` | the above for one family: changes in, batches out |
//! | `adj_out` | what each peer was told; knows nothing of all the others |

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use serde::Serialize;

use crate::config::PeerId;
use crate::shared::shared;
use crate::wire::nlri::{Bits, Bits6};
use crate::wire::{Attributes, NlriField};

use attrs::AttrStore;
use index::Seed;
use learned::{Learned, Shared};
use sources::Sources;

mod adj_in;
mod adj_out;
mod attrs;
mod decision;
mod index;
mod learned;
mod reason;
mod slab;
mod sources;
mod table;

pub(crate) use adj_in::{AdjIn, KeptPaths};
pub(crate) use adj_out::{AdjOut, Flush, OutContext};
pub(crate) use attrs::{AttrId, LLGR_STALE};
pub(crate) use learned::PathOut;
pub use reason::Reason;
pub(crate) use table::SourceId;

/// A batch of changes of the routes in use, for the forwarding table. A prefix occurs once per batch; the newest wins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RouteChanges {
    /// `None`: no learned route is used for this prefix any more, or one of our own has taken its place.
    pub changes: Vec<(Prefix, Option<LocRoute>)>,
}

/// The learned route in use for a prefix. Our own prefixes are never among them: the node knows what it originates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LocRoute {
    /// The equal paths (ECMP), sorted; at least one. Shared between prefixes that go the same way.
    #[serde(serialize_with = "shared")]
    pub next_hops: Arc<[NextHop]>,
    /// The best of them.
    pub best: PathInfo,
}

/// One way out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct NextHop {
    /// Learned from.
    pub peer: PeerId,
    /// The next hop of the path; the node checks that it is on the uplink of this peer.
    pub addr: IpAddr,
}

/// The path behind a route in use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PathInfo {
    /// Learned from.
    pub peer: PeerId,
    /// Its attributes, shared between all routes that have the same.
    #[serde(serialize_with = "shared")]
    pub attributes: Arc<Attributes>,
}

/// The most changes one batch carries.
const BATCH: usize = 1024;

/// All learned routes.
pub(crate) struct Rib {
    attrs: AttrStore,
    sources: Sources,
    v4: Learned<u32>,
    v6: Learned<Bits6>,
}

impl Rib {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        let seed = Seed::new(seed[0], seed[1]);
        Self {
            attrs: AttrStore::new(seed),
            sources: Sources::default(),
            v4: Learned::new(seed),
            v6: Learned::new(seed),
        }
    }

    /// A new session's place; `None` when there are too many that still have paths.
    pub(crate) fn open(&mut self, peer: PeerId, router_id: Ipv4Addr) -> Option<SourceId> {
        self.sources.open(peer, router_id)
    }

    /// Ends a session. Its paths go with the following calls of [`sweep`](Self::sweep).
    pub(crate) fn close(&mut self, source: SourceId) {
        self.sources.close(source);
        if self.sources.any_dead() {
            self.v4.start_sweep();
            self.v6.start_sweep();
        }
    }

    /// Ends a session, whose paths are kept until it is [`close`](Self::close)d.
    pub(crate) fn keep(&mut self, source: SourceId, now: Duration) {
        self.sources.keep(source, now);
    }

    /// What is kept of a session is used only where there is nothing else from now on, by and by.
    pub(crate) fn age(&mut self, source: SourceId) {
        self.sources.age(source);
        self.v4.start_aging();
        self.v6.start_aging();
    }

    /// Names an attribute set and holds it for the caller.
    pub(crate) fn intern(&mut self, attributes: Attributes) -> AttrId {
        self.attrs.intern(attributes)
    }

    /// Gives back what [`intern`](Self::intern) held.
    pub(crate) fn release(&mut self, id: AttrId) {
        self.attrs.release(id);
    }

    /// Takes in announced prefixes; `verdict` is what the import policy says of their attributes.
    pub(crate) fn announce(&mut self, source: SourceId, field: &NlriField<'_>, id: AttrId, verdict: Option<Reason>) {
        let Self { attrs, sources, v4, v6 } = self;
        let mut shared = Shared { attrs, sources };
        match field.family() {
            Family::V4 => v4.announce(&mut shared, source, field.keys(), id, verdict),
            Family::V6 => v6.announce(&mut shared, source, field.keys(), id, verdict),
        }
    }

    /// Takes out withdrawn prefixes.
    pub(crate) fn withdraw(&mut self, source: SourceId, field: &NlriField<'_>) {
        let Self { attrs, sources, v4, v6 } = self;
        let mut shared = Shared { attrs, sources };
        match field.family() {
            Family::V4 => v4.withdraw(&mut shared, source, field.keys()),
            Family::V6 => v6.withdraw(&mut shared, source, field.keys()),
        }
    }

    /// Replaces the set of our own prefixes, which beat learned ones.
    pub(crate) fn set_local<'a>(&mut self, prefixes: impl Iterator<Item = &'a Prefix> + Clone) {
        fn keys<'a, K: Bits>(prefixes: impl Iterator<Item = &'a Prefix>) -> BTreeSet<(K, u8)> {
            prefixes.filter_map(|p| Some((K::of(p.addr())?, p.len()))).collect()
        }
        let Self { attrs, sources, v4, v6 } = self;
        let mut shared = Shared { attrs, sources };
        v4.set_local(&mut shared, keys(prefixes.clone()));
        v6.set_local(&mut shared, keys(prefixes));
    }

    /// Looks for paths of ended sessions, within the budget.
    pub(crate) fn sweep(&mut self, budget: &mut usize) {
        let Self { attrs, sources, v4, v6 } = self;
        let mut shared = Shared { attrs, sources };
        v4.sweep(&mut shared, budget);
        v6.sweep(&mut shared, budget);
    }

    /// Whether [`sweep`](Self::sweep) has more to do.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.v4.is_sweeping() || self.v6.is_sweeping()
    }

    /// The next batch of changed routes.
    pub(crate) fn changes(&mut self) -> Option<RouteChanges> {
        let mut changes = Vec::new();
        self.v4.drain(&self.attrs, &self.sources, BATCH, &mut changes);
        self.v6.drain(&self.attrs, &self.sources, BATCH, &mut changes);
        (!changes.is_empty()).then_some(RouteChanges { changes })
    }

    /// The route in use for exactly this prefix.
    pub(crate) fn lookup(&self, prefix: Prefix) -> Option<LocRoute> {
        match prefix.family() {
            Family::V4 => self.v4.lookup(&self.attrs, &self.sources, prefix),
            Family::V6 => self.v6.lookup(&self.attrs, &self.sources, prefix),
        }
    }

    /// The route in use with the longest prefix that holds this address.
    pub(crate) fn best_match(&self, addr: IpAddr) -> Option<(Prefix, LocRoute)> {
        match Family::of(addr) {
            Family::V4 => self.v4.best_match(&self.attrs, &self.sources, addr),
            Family::V6 => self.v6.best_match(&self.attrs, &self.sources, addr),
        }
    }

    /// All paths to one prefix, or to all.
    pub(crate) fn paths(&self, prefix: Option<Prefix>) -> impl Iterator<Item = PathOut<'_>> {
        let v4 = self.v4.paths(&self.attrs, &self.sources, prefix);
        v4.chain(self.v6.paths(&self.attrs, &self.sources, prefix))
    }

    /// How many paths of a family a source has given.
    pub(crate) fn family_count(&self, source: SourceId, family: Family) -> u64 {
        self.sources.get(source).map_or(0, |s| s.paths[family as usize])
    }

    /// Sizes, for the operator: prefixes of each family, attribute sets.
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.v4.len(), self.v6.len(), self.attrs.len())
    }
}

#[cfg(test)]
mod tests;
