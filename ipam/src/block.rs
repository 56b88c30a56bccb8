//! Changes to a block's value, as Calico makes them: pure functions, nothing is talked to.

use std::collections::BTreeMap;
use std::time::Duration;

use petiole_prefix::Prefix;
use petiole_store::UnixNanos;
use petiole_store::key::Owner;
use petiole_store::time::parse_rfc3339;
use petiole_store::value::{Attribute, Block};

/// The address that has been free for longest and is not reserved.
pub(crate) fn next(block: &Block, reserved: &[Prefix]) -> Option<u16> {
    block.unallocated.iter().copied().find(|o| is_assignable(block, *o, reserved))
}

/// How many addresses can be assigned, reserved ones left out and those that have cooled down included.
pub(crate) fn available(block: &Block, cooldown: Duration, wall: UnixNanos, reserved: &[Prefix]) -> usize {
    let free = block.unallocated.iter().copied().chain(cooled(block, cooldown, wall));
    free.filter(|o| is_assignable(block, *o, reserved)).count()
}

fn is_assignable(block: &Block, ordinal: u16, reserved: &[Prefix]) -> bool {
    block.address(ordinal).is_some_and(|a| !reserved.iter().any(|r| r.contains_addr(a)))
}

/// Takes the address that has been free for longest and is not reserved; `None` when there is none.
pub(crate) fn assign(block: &mut Block, attribute: Attribute, reserved: &[Prefix]) -> Option<u16> {
    assign_at(block, next(block, reserved)?, attribute)
}

/// Takes this address; `None` when it is not free.
pub(crate) fn assign_at(block: &mut Block, ordinal: u16, attribute: Attribute) -> Option<u16> {
    let at = block.unallocated.iter().position(|o| *o == ordinal)?;
    block.unallocated.remove(at);
    point_to(block, ordinal, attribute);
    block.sequence_number_for_allocation.insert(ordinal, block.sequence_number);
    block.sequence_number = block.sequence_number.wrapping_add(1);
    Some(ordinal)
}

/// How a release was asked for; Calico tells the two apart in what it writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// By address: each one's sequence number becomes the block's, so that nobody releases it a second time by the old one.
    Address,
    /// By handle, which names the holder anyway.
    Handle,
}

/// Lets addresses go: they cool down as tombstones until [`collect`] frees them.
pub(crate) fn release(block: &mut Block, ordinals: &[u16], by: By, wall: UnixNanos) {
    for ordinal in ordinals {
        point_to(block, *ordinal, Attribute::tombstone(wall));
        if by == By::Address {
            block.sequence_number_for_allocation.insert(*ordinal, block.sequence_number);
        }
    }
    block.sequence_number = block.sequence_number.wrapping_add(1);
    compact(block);
}

/// The addresses that have cooled down but are not free yet. A tombstone whose date cannot be read has, and one from so far in the
/// future that only another clock can have written it: clocks are set, and no address waits for that.
fn cooled(block: &Block, cooldown: Duration, wall: UnixNanos) -> impl Iterator<Item = u16> {
    let cooldown = u64::try_from(cooldown.as_nanos()).unwrap_or(u64::MAX);
    let has_cooled = move |attribute: &Attribute| {
        let Some(text) = attribute.released_at.get() else { return false };
        parse_rfc3339(text).is_none_or(|released| released.abs_diff(wall) >= cooldown)
    };
    let ordinals = (0u16..).take(block.allocations.len());
    ordinals.filter(move |o| block.attribute(*o).is_some_and(has_cooled))
}

/// Whether nobody holds an address, and what was released has cooled down.
pub(crate) fn is_empty(block: &Block, cooldown: Duration, wall: UnixNanos) -> bool {
    block.live().next().is_none() && cooled(block, cooldown, wall).count() == block.used()
}

/// Frees the addresses that have cooled down.
pub(crate) fn collect(block: &mut Block, cooldown: Duration, wall: UnixNanos) {
    let cooled: Vec<u16> = cooled(block, cooldown, wall).collect();
    if cooled.is_empty() {
        return;
    }
    for ordinal in cooled {
        if let Some(allocation) = block.allocations.get_mut(usize::from(ordinal)) {
            *allocation = None;
        }
        block.sequence_number_for_allocation.remove(&ordinal);
        block.unallocated.push(ordinal);
    }
    compact(block);
}

/// Makes it the block of this owner.
pub(crate) fn take_over(block: &mut Block, owner: Owner, claimed: String) {
    block.affinity = Some(owner);
    block.affinity_claim_time = Some(claimed);
    block.sequence_number = block.sequence_number.wrapping_add(1);
}

/// Makes it nobody's, as Calico leaves a block that is still used when its owner goes.
pub(crate) fn disown(block: &mut Block) {
    block.affinity = None;
    block.affinity_claim_time = None;
    block.host_affinity = None;
    block.sequence_number = block.sequence_number.wrapping_add(1);
}

/// Allocations share attributes that are equal.
fn point_to(block: &mut Block, ordinal: u16, attribute: Attribute) {
    let attributes = block.attributes.get_or_insert_default();
    let index = attributes.iter().position(|a| *a == attribute).unwrap_or_else(|| {
        attributes.push(attribute);
        attributes.len() - 1
    });
    if let (Some(allocation), Ok(index)) = (block.allocations.get_mut(usize::from(ordinal)), u16::try_from(index)) {
        *allocation = Some(index);
    }
}

/// Drops attributes that no allocation points to any more.
fn compact(block: &mut Block) {
    let Some(attributes) = block.attributes.take() else { return };
    let mut moved = BTreeMap::new();
    let mut kept = Vec::new();
    for (index, attribute) in (0u16..).zip(attributes) {
        if block.allocations.contains(&Some(index)) {
            moved.insert(index, u16::try_from(kept.len()).unwrap_or(u16::MAX));
            kept.push(attribute);
        }
    }
    for index in block.allocations.iter_mut().flatten() {
        if let Some(now) = moved.get(index) {
            *index = *now;
        }
    }
    block.attributes = Some(kept);
}

#[cfg(test)]
mod tests;
