//! A seeded hash index from keys to slots of a slab.
//!
//! The slab holds the keys; the index holds four octets per cell. Slots are dense, so that a walk over the slab is an ordinary
//! loop that can stop and go on, and its order does not depend on the seed.

/// Hashes with a key, so that a peer can't choose prefixes that collide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed([u64; 2]);

impl Seed {
    pub(crate) const fn new(a: u64, b: u64) -> Self {
        Self([a, b])
    }

    #[inline]
    pub(crate) const fn words(&self, a: u64, b: u64) -> u64 {
        fold(a ^ self.0[0], fold(b ^ self.0[1], 0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn value(&self, value: &impl std::hash::Hash) -> u64 {
        let mut hasher = Folding { state: self.0[0], key: self.0[1] };
        value.hash(&mut hasher);
        std::hash::Hasher::finish(&hasher)
    }
}

/// The halves of the product, folded: every bit of the result depends on every bit of the factors.
#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

struct Folding {
    state: u64,
    key: u64,
}

impl std::hash::Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.write_u64(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u64(&mut self, word: u64) {
        self.state = fold(self.state ^ word, self.key | 1).rotate_left(23);
    }

    fn finish(&self) -> u64 {
        fold(self.state, self.key ^ 0x2545_f491_4f6c_dd1d)
    }
}

const EMPTY: u32 = u32::MAX;

/// Open addressing, linear probing, no tombstones.
#[derive(Default)]
pub(crate) struct SlotIndex {
    cells: Vec<u32>,
    used: usize,
}

impl SlotIndex {
    /// The slot for a hash whose key `is` the one sought.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.cells.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            match self.cells[at] {
                EMPTY => return None,
                slot if is(slot) => return Some(slot),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Adds a slot that is not there yet.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl FnMut(u32) -> u64) {
        // At most three quarters full: probes stay short, and there is always an empty cell to stop at.
        if (self.used + 1) * 4 > self.cells.len() * 3 {
            self.grow(hash_of);
        }
        self.place(hash, slot);
        self.used += 1;
    }

    fn place(&mut self, hash: u64, slot: u32) {
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        while self.cells[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.cells[at] = slot;
    }

    #[cold]
    fn grow(&mut self, mut hash_of: impl FnMut(u32) -> u64) {
        let cells = vec![EMPTY; (self.cells.len() * 2).max(16)];
        for slot in std::mem::replace(&mut self.cells, cells) {
            if slot != EMPTY {
                self.place(hash_of(slot), slot);
            }
        }
    }

    /// Takes a slot out. `hash_of` is asked for the slots behind it, which move up.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32, mut hash_of: impl FnMut(u32) -> u64) {
        let Some(mask) = self.cells.len().checked_sub(1) else { return };
        let mut hole = hash as usize & mask;
        loop {
            match self.cells[hole] {
                EMPTY => return,
                s if s == slot => break,
                _ => hole = (hole + 1) & mask,
            }
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let moving = self.cells[at];
            if moving == EMPTY {
                break;
            }
            // It may fill the hole if that does not put it before its home.
            let home = hash_of(moving) as usize & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.cells[hole] = moving;
                hole = at;
            }
        }
        self.cells[hole] = EMPTY;
        self.used -= 1;
    }
}
