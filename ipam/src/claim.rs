//! Which block to claim next.

use petiole_prefix::Prefix;
use petiole_store::key::Owner;

use crate::pools::{Pools, Usable};
use crate::view::View;
use crate::want::{Scope, Want};

/// How many further candidates a claim that loses looks at, so that the next one is not blind.
pub(crate) const LOOK_AHEAD: usize = 8;

/// A block that may be claimed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Candidate {
    /// No such block is in the store.
    New(Prefix),
    /// It is in the store, without an owner and without anybody who holds an address.
    Ownerless(Prefix),
}

impl Candidate {
    pub(crate) const fn cidr(&self) -> Prefix {
        match self {
            Self::New(cidr) | Self::Ownerless(cidr) => *cidr,
        }
    }
}

/// The best block to claim, and those that would be next; empty when the pools are exhausted.
///
/// In this order: a block to which this node already has an affinity (an unfinished claim); free blocks from the node's own
/// starting point on, those that no other node is just claiming first; a block that lost its owner and is not in use.
pub(crate) fn candidates(view: &View, pools: &Pools, want: &Want, node: &str) -> Vec<Candidate> {
    let lengths = view.lengths();
    let reserved = view.reserved();
    let would_do = |cidr: Prefix| {
        want.pools(pools).any(|p| p.cidr.contains(&cidr) && p.block_size == cidr.len()) && want.includes(cidr, pools)
    };
    if let Scope::Block(cidr) = want.scope
        && would_do(cidr)
        && !view.is_taken(cidr, &lengths)
    {
        return vec![Candidate::New(cidr)];
    }
    let mut found: Vec<Prefix> = Vec::new();
    let mut second_choice = None;
    if !matches!(want.scope, Scope::Block(_)) {
        let unfinished = view.my_affinities().map(|(cidr, _)| cidr);
        found.extend(unfinished.filter(|c| would_do(*c)).find(|c| !view.is_taken(*c, &lengths)));
        for pool in want.pools(pools) {
            for cidr in free_blocks(view, pool, node, &lengths).filter(|c| !is_reserved(*c, &reserved)) {
                if found.len() > LOOK_AHEAD {
                    break;
                }
                if is_claimed_by_another(view, cidr, node) {
                    second_choice = second_choice.or(Some(cidr));
                } else if !found.contains(&cidr) {
                    found.push(cidr);
                }
            }
        }
    }
    let mut all: Vec<Candidate> = found.into_iter().map(Candidate::New).collect();
    if all.is_empty() {
        all.extend(second_choice.map(Candidate::New));
    }
    if all.is_empty() {
        let unused = view.kept().find(|(cidr, entry, block)| {
            entry.owner.is_none() && block.live().next().is_none() && would_do(*cidr) && !is_reserved(*cidr, &reserved)
        });
        all.extend(unused.map(|(cidr, ..)| Candidate::Ownerless(cidr)));
    }
    all
}

/// Whether every address of a block is reserved.
fn is_reserved(cidr: Prefix, reserved: &[Prefix]) -> bool {
    if reserved.iter().any(|r| r.contains(&cidr)) {
        return true;
    }
    let inside: Vec<&Prefix> = reserved.iter().filter(|r| cidr.contains(r)).collect();
    let len = cidr.family().max_len();
    let mut addresses = (0..cidr.subnet_count(len)).filter_map(|i| cidr.subnet(len, i));
    !inside.is_empty() && addresses.all(|a| inside.iter().any(|r| r.contains(&a)))
}

/// The free blocks of a pool, from the node's starting point on, each once.
fn free_blocks<'a>(view: &'a View, pool: &Usable, node: &str, lengths: &'a [u8]) -> impl Iterator<Item = Prefix> + 'a {
    let (cidr, size, count) = (pool.cidr, pool.block_size, pool.count());
    let start = u128::from(starting_point(node)).checked_rem(count).unwrap_or(0);
    let indices = (start..count).chain(0..start);
    indices.filter_map(move |i| cidr.subnet(size, i)).filter(|c| !view.is_taken(*c, lengths))
}

fn is_claimed_by_another(view: &View, cidr: Prefix, node: &str) -> bool {
    view.affinities_to(cidr).any(|(owner, _)| !matches!(owner, Owner::Host(name) if name == node))
}

/// Where a node begins to look: FNV-1 of its name, as Calico seeds its search, and then mixed, because names of a fleet differ
/// in their last letters only, which FNV-1 leaves in the low bits.
pub(crate) fn starting_point(node: &str) -> u32 {
    let mut hash = node.bytes().fold(0x811c_9dc5_u32, |h, b| h.wrapping_mul(0x0100_0193) ^ u32::from(b));
    // The finalizer of MurmurHash3.
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests;
