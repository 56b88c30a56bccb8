//! Which address a request gets.

use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use petiole_store::Revision;
use petiole_store::key::{Key, Owner};
use petiole_store::value::{Attribute, Block};

use super::{Batch, Known, Planned};
use crate::block;
use crate::claim::starting_point;
use crate::pools::Usable;
use crate::types::{AssignError, AssignRequest};
use crate::want::{Scope, Want};

/// A block as it will be with the address taken out of it.
pub(super) type Chosen = (Prefix, Revision, Block, IpAddr);

impl Batch<'_> {
    /// One address for this family of the request; otherwise, what becomes of the request.
    pub(super) fn choose(&self, request: &AssignRequest, family: Family) -> Result<Chosen, Planned> {
        if let Some(addr) = request.addresses.iter().find(|a| Family::of(**a) == family) {
            return self.exactly(request, *addr);
        }
        let want = self.want(request, family)?;
        if let Some(chosen) = self.longest_free(request, &want) {
            return Ok(chosen);
        }
        if self.may_borrow { self.borrow(request, &want) } else { Err(Planned::NoAddress(want)) }
    }

    /// Which blocks would do for a request.
    fn want(&self, request: &AssignRequest, family: Family) -> Result<Want, Planned> {
        if request.pools.is_empty() {
            return Ok(Want::any(family));
        }
        let named = self.named(request)?;
        let pools: Vec<Prefix> = named.iter().map(|p| p.cidr).filter(|c| c.family() == family).collect();
        if pools.is_empty() {
            return Err(refused(format!("none of the pools {} is an {family} pool", request.pools.join(", "))));
        }
        Ok(Want { family, scope: Scope::Pools(pools) })
    }

    fn named(&self, request: &AssignRequest) -> Result<Vec<&Usable>, Planned> {
        let named = request.pools.iter().map(|text| self.pools.named(text, &self.view.pools).map_err(refused));
        named.collect()
    }

    /// The address of the node's blocks that has been free for longest: within a block the queue says so, between blocks what
    /// this node saw itself. What it never saw in use counts as free for ever, and there fuller blocks come first, so that the
    /// others can be given back.
    fn longest_free(&self, request: &AssignRequest, want: &Want) -> Option<Chosen> {
        let cooldown = self.cooldown();
        let mine = self.view.mine().filter(|(cidr, _)| want.includes(*cidr, self.pools));
        let heads = mine.filter(|(cidr, _)| !self.recent.is_leaving(*cidr)).filter_map(|(cidr, entry)| {
            let (revision, mut block) = match self.blocks.get(&cidr) {
                Some((revision, block)) => (*revision, block.clone()),
                None => (entry.mod_revision, entry.full.clone()?),
            };
            block::collect(&mut block, cooldown, self.wall);
            let head = block::next(&block, &self.reserved)?;
            let was_free = entry.full.as_ref().is_some_and(|b| b.unallocated.contains(&head));
            let freed = if was_free { self.recent.freed_at(cidr, head) } else { Some(Duration::MAX) };
            Some(((freed, block.free(), cidr), revision, block, head))
        });
        let ((.., cidr), revision, mut block, head) = heads.min_by_key(|(order, ..)| *order)?;
        let ordinal = block::assign_at(&mut block, head, self.attribute(request))?;
        let addr = block.address(ordinal)?;
        Some((cidr, revision, block, addr))
    }

    /// An address out of another's block: the one with most free addresses, as far as this node knows.
    fn borrow(&self, request: &AssignRequest, want: &Want) -> Result<Chosen, Planned> {
        let lenders = self.view.blocks.iter().filter(|(cidr, entry)| {
            let is_lent = !self.view.is_mine(**cidr) && !matches!(entry.owner, Some(Owner::Virtual(_)));
            is_lent && entry.readable && entry.free > 0 && want.includes(**cidr, self.pools)
        });
        // Nodes in the same need do not all ask the same one.
        let mut lenders: Vec<(usize, u32, Prefix)> =
            lenders.map(|(cidr, e)| (e.free, starting_point(&format!("{}{cidr}", self.node)), *cidr)).collect();
        lenders.sort_unstable_by(|a, b| b.cmp(a));
        let cooldown = self.cooldown();
        for (_, _, cidr) in lenders {
            match self.block(cidr) {
                Known::Value((revision, mut block)) => {
                    block::collect(&mut block, cooldown, self.wall);
                    let taken = block::assign(&mut block, self.attribute(request), &self.reserved);
                    if let Some(addr) = taken.and_then(|o| block.address(o)) {
                        return Ok((cidr, revision, block, addr));
                    }
                }
                Known::Unread => return Err(Planned::Read(vec![Key::Block(cidr)])),
                Known::Absent | Known::Garbage(_) => {}
            }
        }
        let why = format!("{}, and no other node's block has an address to borrow", want.none_left());
        Err(Planned::Reply(Err(AssignError::NoAddress { family: want.family, why })))
    }

    /// The address that the request names. It may be reserved: that only keeps it from who does not name it.
    fn exactly(&self, request: &AssignRequest, addr: IpAddr) -> Result<Chosen, Planned> {
        let Some((name, pool)) = self.view.pools.iter().find(|(_, p)| p.spec.cidr.contains_addr(addr)) else {
            return Err(refused(format!("{addr} lies in no IP pool of the store; `petiole ipam blocks` lists them")));
        };
        let usable = self.pools.named(name, &self.view.pools).map_err(refused)?;
        if !request.pools.is_empty() && !self.named(request)?.contains(&usable) {
            let asked = request.pools.join(", ");
            return Err(refused(format!("{addr} lies in pool {name} ({}), not in {asked}", pool.spec.cidr)));
        }
        let Some((cidr, entry)) = self.view.blocks.iter().find(|(c, _)| c.contains_addr(addr)) else {
            let whole = Prefix::truncated(addr, usable.block_size).map_err(|e| refused(e.to_string()))?;
            return Err(Planned::NoAddress(Want { family: whole.family(), scope: Scope::Block(whole) }));
        };
        let cidr = *cidr;
        if !self.view.is_mine(cidr) {
            self.may_take_from(addr, cidr, entry.owner.as_ref())?;
        }
        let (revision, mut block) = match self.block(cidr) {
            Known::Value(found) => found,
            Known::Unread => return Err(Planned::Read(vec![Key::Block(cidr)])),
            Known::Absent => return Err(Planned::Reply(Err(garbage(cidr, "it cannot be read")))),
            Known::Garbage(error) => return Err(Planned::Reply(Err(AssignError::Garbage(error)))),
        };
        block::collect(&mut block, self.cooldown(), self.wall);
        let ordinal = block.ordinal(addr).ok_or_else(|| refused(format!("{addr} does not lie in {cidr}")))?;
        if let Some(held) = block.attribute(ordinal) {
            let words = self.words_of_holder(addr, held);
            return Err(Planned::Reply(Err(AssignError::AddressInUse(words))));
        }
        match block::assign_at(&mut block, ordinal, self.attribute(request)) {
            Some(_) => Ok((cidr, revision, block, addr)),
            None => Err(Planned::Reply(Err(garbage(cidr, &format!("{addr} is neither free nor held"))))),
        }
    }

    fn may_take_from(&self, addr: IpAddr, cidr: Prefix, owner: Option<&Owner>) -> Result<(), Planned> {
        match owner {
            Some(Owner::Virtual(_)) => {
                Err(refused(format!("{addr} lies in block {cidr}, which belongs to no node and lends nothing")))
            }
            None if self.view.config.strict_affinity => {
                Err(Planned::NoAddress(Want { family: cidr.family(), scope: Scope::Block(cidr) }))
            }
            Some(Owner::Host(other)) if self.view.config.strict_affinity => Err(refused(format!(
                "{addr} lies in block {cidr} of node {other}, and strict_affinity in /calico/ipam/v2/config forbids to \
                 borrow: name an address of this node's blocks, or start the pod on {other}"
            ))),
            Some(Owner::Host(_)) | None => Ok(()),
        }
    }

    fn words_of_holder(&self, addr: IpAddr, held: &Attribute) -> String {
        if let Some(released) = held.released_at.get() {
            let seconds = self.view.config.ip_cooldown_seconds;
            return format!("{addr} was released at {released} and is kept back for {seconds} s (ipCooldownSeconds)");
        }
        let holder = held.handle_id.get().map_or("somebody without a handle", String::as_str);
        let on = crate::view::node_of(held).map_or_else(String::new, |n| format!(" on node {n}"));
        format!("{addr} is held by {holder}{on}: release it first, or name another")
    }

    pub(super) fn cooldown(&self) -> Duration {
        Duration::from_secs(self.view.config.ip_cooldown_seconds)
    }
}

fn refused(words: String) -> Planned {
    Planned::Reply(Err(AssignError::BadRequest(words)))
}

fn garbage(cidr: Prefix, wrong: &str) -> AssignError {
    AssignError::Garbage(format!("the value of {}: {wrong}", Key::Block(cidr)))
}
