use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::rib::index::{Seed, SlotIndex};
use crate::rib::slab::Slab;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The index against a set, with a hash so poor that everything collides.
    #[test]
    fn the_index_is_a_map(ops in prop::collection::vec((any::<bool>(), 0u32..60), 0..300)) {
        let hash = |slot: u32| u64::from(slot / 7);
        let mut index = SlotIndex::default();
        let mut model = BTreeSet::new();
        for (insert, slot) in ops {
            if insert && model.insert(slot) {
                index.insert(hash(slot), slot, hash);
            } else if !insert && model.remove(&slot) {
                index.remove(hash(slot), slot);
            }
            for slot in 0..60 {
                let found = index.find(hash(slot), |s| s == slot);
                prop_assert_eq!(found.is_some(), model.contains(&slot));
            }
        }
    }
}

/// Grows far beyond one segment and shrinks again, with hashes good and bad: in whatever bits they differ, or in none.
#[test]
fn a_large_index_finds_what_it_holds() {
    let seed = Seed::new(3, 4);
    let good = |slot: u32| seed.words(slot.into(), 0);
    let low = |slot: u32| u64::from(slot);
    let high = |slot: u32| u64::from(slot) << 44;
    let none = |slot: u32| u64::from(slot % 3);
    let hashes: [(&dyn Fn(u32) -> u64, u32); 4] = [(&good, 20_000), (&low, 20_000), (&high, 20_000), (&none, 1_000)];
    for (hash, slots) in hashes {
        let mut index = SlotIndex::default();
        for slot in 0..slots {
            index.insert(hash(slot), slot, hash);
        }
        for gone in (0..slots).step_by(3) {
            index.remove(hash(gone), gone);
        }
        for slot in 0..slots + 100 {
            let there = slot < slots && !slot.is_multiple_of(3);
            assert_eq!(index.find(hash(slot), |s| s == slot).is_some(), there, "{slot}");
        }
    }
}

/// One call of the speaker takes in some thousand prefixes; the index may not take more time for itself than they do.
#[test]
fn no_call_waits_for_the_index_to_grow() {
    let seed = Seed::new(5, 6);
    let hash = |slot: u32| seed.words((0x0b00_0000 + slot * 64).into(), 26 << 57);
    let moved = Cell::new(0);
    let counted = |slot: u32| {
        moved.set(moved.get() + 1);
        hash(slot)
    };
    let mut index = SlotIndex::default();
    for slot in 0..200_000 {
        index.insert(hash(slot), slot, counted);
        if slot % 4096 == 0 {
            let moved = moved.take();
            assert!(moved < 4 * 4096, "{moved} at {slot}");
        }
    }
}

#[test]
fn a_slab_numbers_what_it_is_given() {
    let mut slab = Slab::new();
    assert!((0..5000_u32).all(|n| slab.push(n * 2) == n));
    assert!((0..5000).all(|n| slab[n] == n * 2 && slab.get(n) == Some(&(n * 2))));
    assert_eq!((slab.len(), slab.get(5000)), (5000, None));
    slab[4999] = 7;
    assert_eq!(slab[4999], 7);
}
