//! How much of what this node has is in use, and how its transactions fared: for metrics and `status`.

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use petiole_store::key::Owner;
use petiole_store::value::Block;

use crate::pools::Usable;
use crate::slot::Slot;
use crate::want::Want;
use crate::{AssignError, Ipam, block};

/// Addresses of this node's blocks, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Held by somebody.
    pub used: usize,
    /// Of those, held on other nodes.
    pub lent: usize,
    /// Released, and not to be assigned yet.
    pub cooling: usize,
    /// Can be assigned to anybody.
    pub free: usize,
    /// Can be assigned to those who name them.
    pub reserved: usize,
}

/// Blocks of the store, counted by whose they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockCounts {
    /// This node's.
    pub own: usize,
    /// Other nodes'.
    pub others: usize,
    /// Nobody's, with addresses held in them or not.
    pub ownerless: usize,
    /// Whose value cannot be read, whoever owned them.
    pub unreadable: usize,
}

/// What a transaction was for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Purpose {
    /// To claim a block.
    Claim,
    /// To assign or release addresses.
    Requests,
    /// To make block and affinity agree.
    Repair,
    /// To give an empty block back.
    Return,
    /// To free what a forgotten node held.
    Reclaim,
    /// To create a pool.
    Pool,
    /// To begin this life of the agent.
    Life,
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ending {
    /// Carried out.
    Done,
    /// Its conditions did not hold: somebody else was first, and it is planned anew.
    Conflict,
    /// The store refused it.
    Refused,
    /// Nobody knows; it is read back.
    Unknown,
}

/// Transactions by purpose and ending.
pub type TxnCounts = BTreeMap<(Purpose, Ending), u64>;

impl Purpose {
    /// Stable, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Requests => "requests",
            Self::Repair => "repair",
            Self::Return => "return",
            Self::Reclaim => "reclaim",
            Self::Pool => "pool",
            Self::Life => "life",
        }
    }
}

impl From<Slot> for Purpose {
    fn from(slot: Slot) -> Self {
        match slot {
            Slot::Claim(_) => Self::Claim,
            Slot::Requests => Self::Requests,
            Slot::Repair(_) => Self::Repair,
            Slot::Return(_) => Self::Return,
            Slot::Reclaim => Self::Reclaim,
            Slot::Pool(_) => Self::Pool,
            Slot::Life => Self::Life,
        }
    }
}

impl Ending {
    /// Stable, for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl Ipam {
    /// Addresses of this node's blocks, by the pool that they lie in. A block in no pool counts under its own range.
    #[must_use]
    pub fn usage(&self) -> BTreeMap<Prefix, Usage> {
        let reserved = self.view.reserved();
        let cooldown = Duration::from_secs(self.view.config.ip_cooldown_seconds);
        let mut usage: BTreeMap<Prefix, Usage> = BTreeMap::new();
        for (cidr, entry) in self.view.mine() {
            let Some(block) = &entry.full else { continue };
            let pool = self.view.pools.values().map(|p| p.spec.cidr).find(|pool| pool.contains(&cidr)).unwrap_or(cidr);
            let of = usage.entry(pool).or_default();
            let used = block.live().count();
            let (all, free) = (block.allocations.len(), block::available(block, cooldown, self.wall, &reserved));
            let assignable = block::available(block, cooldown, self.wall, &[]);
            of.used += used;
            of.lent += self.lent(block);
            of.free += free;
            of.reserved += assignable.saturating_sub(free);
            of.cooling += all.saturating_sub(used + assignable);
        }
        usage
    }

    fn lent(&self, block: &Block) -> usize {
        block.live().filter(|(_, a)| crate::view::node_of(a).is_some_and(|n| n != self.settings.node)).count()
    }

    /// Why a request that names nothing gets no address of this family now, and would not by waiting a moment: nothing is free
    /// here, nothing can be claimed, and nothing can be borrowed.
    #[must_use]
    pub fn nothing_left(&self, family: Family) -> Option<String> {
        let mut pools = self.pools.of_family(family).peekable();
        if !self.view.was_in_sync
            || !self.settings.want_block
            || pools.peek().is_none()
            || self.available(family, None) > 0
        {
            return None;
        }
        let forbidden = self.forbidden(family);
        let has_room = |pool: &Usable| {
            let taken = self.view.blocks.range(pool.cidr..).take_while(|(b, _)| pool.cidr.contains(b)).count();
            (taken as u128) < pool.count()
        };
        let may_borrow = !self.view.config.strict_affinity
            && self.view.blocks.iter().any(|(cidr, entry)| {
                let is_lent = !self.view.is_mine(*cidr) && !matches!(entry.owner, Some(Owner::Virtual(_)));
                is_lent
                    && entry.readable
                    && entry.free > 0
                    && cidr.family() == family
                    && self.pools.containing(*cidr).is_some()
            });
        if may_borrow || (forbidden.is_none() && pools.any(has_room)) {
            return None;
        }
        let why = forbidden.unwrap_or_else(|| Want::any(family).none_left()) + self.words_of_borrowing();
        Some(AssignError::NoAddress { family, why }.to_string())
    }

    /// Blocks of the store, by whose they are.
    #[must_use]
    pub fn block_counts(&self) -> BlockCounts {
        let mut counts = BlockCounts::default();
        for (cidr, entry) in &self.view.blocks {
            let of = match (&entry.owner, entry.readable) {
                (_, false) => &mut counts.unreadable,
                _ if self.view.is_mine(*cidr) => &mut counts.own,
                (Some(_), true) => &mut counts.others,
                (None, true) => &mut counts.ownerless,
            };
            *of += 1;
        }
        counts
    }

    /// Transactions so far, by purpose and ending.
    #[must_use]
    pub const fn txn_counts(&self) -> &TxnCounts {
        &self.ended
    }

    pub(crate) fn count(&mut self, slot: Slot, ending: Ending) {
        *self.ended.entry((slot.into(), ending)).or_default() += 1;
    }
}
