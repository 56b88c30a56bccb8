//! What a block is wanted for.

use petiole_prefix::{Family, Prefix};

use crate::pools::{Pools, Usable};

/// A block that requests wait for, or that the node should have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Want {
    /// Of which family.
    pub(crate) family: Family,
    /// Which blocks would do.
    pub(crate) scope: Scope,
}

/// Which blocks would do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Scope {
    /// Any block of the pools that are assigned from without being asked for.
    Any,
    /// Only blocks of these pools.
    Pools(Vec<Prefix>),
    /// Exactly this block.
    Block(Prefix),
}

impl Want {
    pub(crate) const fn any(family: Family) -> Self {
        Self { family, scope: Scope::Any }
    }

    /// The pools that it may come from.
    pub(crate) fn pools<'a>(&'a self, pools: &'a Pools) -> impl Iterator<Item = &'a Usable> {
        pools.allowed().filter(move |p| {
            p.cidr.family() == self.family
                && match &self.scope {
                    Scope::Any => pools.usable.iter().any(|u| u.cidr == p.cidr),
                    Scope::Pools(wanted) => wanted.contains(&p.cidr),
                    Scope::Block(cidr) => p.cidr.contains(cidr) && p.block_size == cidr.len(),
                }
        })
    }

    /// Whether this block would do.
    pub(crate) fn includes(&self, cidr: Prefix, pools: &Pools) -> bool {
        self.pools(pools).any(|p| p.cidr.contains(&cidr)) && !matches!(&self.scope, Scope::Block(b) if *b != cidr)
    }

    /// Why there is none to claim, after "no free address:".
    pub(crate) fn none_left(&self) -> String {
        let family = self.family;
        match &self.scope {
            Scope::Any => format!("every block of every {family} pool is taken: add a pool, or free a block"),
            Scope::Pools(pools) => {
                let names: Vec<String> = pools.iter().map(ToString::to_string).collect();
                format!("every block of pool {} is taken: name another pool, or free a block", names.join(", "))
            }
            Scope::Block(cidr) => format!("block {cidr} cannot be claimed: it is taken, or overlaps one that is"),
        }
    }
}
