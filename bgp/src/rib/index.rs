//! A seeded hash index from keys to slots of a slab.
//!
//! The slab holds the keys; the index holds five octets per cell, and looks at a key only where seven bits of its hash agree.
//! Slots are dense, so that a walk over the slab is an ordinary loop that can stop and go on, and its order does not depend on
//! the seed.
//!
//! It grows in pieces of a few hundred slots (extendible hashing: Fagin and others, 1979), so that no insertion ever waits for
//! a table to be hashed anew.

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

/// Cells of a bucket.
const CELLS: usize = 12;

/// One in each octet that is a tag.
const ONES: u128 = 0x0101_0101_0101_0101_0101_0101;
/// The top bit of each.
const TOPS: u128 = ONES << 7;

/// A cache line of cells: what is looked for is nearly always in the first line looked at, or is not there.
#[derive(Clone)]
#[repr(align(64))]
struct Bucket {
    /// Of each cell: the top bit, and seven bits of the hash; 0 for a vacant one. The last octets are none of a cell's.
    tags: [u8; 16],
    slots: [u32; CELLS],
}

/// The octet of [`Bucket::tags`] that counts the slots which lie in a later bucket, as this one was full when they came. At 255
/// it has lost count and stays.
const PASSED: usize = 15;

impl Bucket {
    const EMPTY: Self = Self { tags: [0; 16], slots: [0; CELLS] };

    /// The cells whose tag may be this one: a bit of each one's octet. No cell with the tag is missing; a cell behind one may
    /// be there without it.
    #[inline]
    fn cells_with(&self, tag: u8) -> Cells {
        let differing = u128::from_le_bytes(self.tags) ^ (ONES * u128::from(tag));
        Cells(differing.wrapping_sub(ONES) & !differing & TOPS)
    }

    #[inline]
    fn vacant(&self) -> Option<usize> {
        self.cells_with(0).next()
    }
}

/// Numbers of cells, ascending.
struct Cells(u128);

impl Iterator for Cells {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let first = self.0.trailing_zeros() as usize / 8;
        self.0 &= self.0.wrapping_sub(1);
        (first < CELLS).then_some(first)
    }
}

/// What of a hash says where.
#[derive(Clone, Copy)]
struct Place(u64);

impl Place {
    #[inline]
    const fn tag(self) -> u8 {
        self.0 as u8 | 0x80
    }

    /// The bucket to begin with. Not the bits that tell segments apart.
    #[inline]
    const fn bucket(self, mask: usize) -> usize {
        (self.0 >> 7) as usize & mask
    }

    /// The entry of a directory of `1 << depth`.
    #[inline]
    const fn directory(self, depth: u32) -> usize {
        match self.0.checked_shr(64 - depth) {
            Some(top) => top as usize,
            None => 0,
        }
    }
}

/// A table that grows by itself up to [`WHOLE`] buckets, and is then cut in two.
struct Segment {
    /// A power of two of them.
    buckets: Box<[Bucket]>,
    used: usize,
    /// How many slots it takes before it grows.
    limit: usize,
    /// How many top bits of their hashes all slots here share.
    depth: u32,
}

/// A segment of a page.
const WHOLE: usize = 64;

impl Segment {
    /// A segment is full when some three fifths to four fifths of its cells are. Prefixes in order fill all segments evenly, and
    /// all of them would have to be cut at once; so each has a limit of its own, by its number and the golden ratio, which puts
    /// those of any run of numbers evenly apart.
    fn new(buckets: usize, depth: u32, number: usize) -> Self {
        let share = (number as u32).wrapping_mul(0x9e37_79b9) >> 24;
        let limit = buckets * CELLS * (640 + share as usize) / 1024;
        Self { buckets: vec![Bucket::EMPTY; buckets].into(), used: 0, limit, depth }
    }

    /// The buckets in which a slot may lie, in order.
    #[inline]
    fn probe(&self, place: Place) -> impl Iterator<Item = usize> + use<> {
        let mask = self.buckets.len() - 1;
        let first = place.bucket(mask);
        (0..=mask).map(move |step| (first + step) & mask)
    }

    #[inline]
    fn find(&self, place: Place, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        for at in self.probe(place) {
            let bucket = &self.buckets[at];
            for cell in bucket.cells_with(place.tag()) {
                let slot = bucket.slots[cell];
                if is(slot) {
                    return Some(slot);
                }
            }
            if bucket.tags[PASSED] == 0 {
                return None;
            }
        }
        None
    }

    #[inline]
    const fn is_full(&self) -> bool {
        self.used >= self.limit
    }

    #[inline]
    fn insert(&mut self, place: Place, slot: u32) {
        for at in self.probe(place) {
            let bucket = &mut self.buckets[at];
            if let Some(cell) = bucket.vacant() {
                bucket.tags[cell] = place.tag();
                bucket.slots[cell] = slot;
                self.used += 1;
                return;
            }
            bucket.tags[PASSED] = bucket.tags[PASSED].saturating_add(1);
        }
    }

    fn remove(&mut self, place: Place, slot: u32) -> bool {
        let holds = |bucket: &Bucket| bucket.cells_with(place.tag()).find(|cell| bucket.slots[*cell] == slot);
        let Some((last, cell)) = self.probe(place).find_map(|at| Some((at, holds(&self.buckets[at])?))) else {
            return false;
        };
        self.buckets[last].tags[cell] = 0;
        self.used -= 1;
        for at in self.probe(place).take_while(|at| *at != last) {
            let passed = &mut self.buckets[at].tags[PASSED];
            *passed = if *passed == u8::MAX { u8::MAX } else { passed.saturating_sub(1) };
        }
        true
    }

    fn slots(&self) -> impl Iterator<Item = u32> {
        self.buckets.iter().flat_map(|bucket| {
            let held = bucket.tags.iter().zip(&bucket.slots).filter(|(tag, _)| **tag != 0);
            held.map(|(_, slot)| *slot)
        })
    }
}

/// Slots by the hash of their keys.
pub(crate) struct SlotIndex {
    /// Segments by the top bits of the hash: `1 << depth` of them.
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment>,
    used: usize,
}

impl Default for SlotIndex {
    fn default() -> Self {
        Self { directory: vec![0], depth: 0, segments: vec![Segment::new(1, 0, 0)], used: 0 }
    }
}

impl SlotIndex {
    #[inline]
    fn segment(&self, place: Place) -> usize {
        self.directory[place.directory(self.depth)] as usize
    }

    /// The slot for a hash whose key `is` the one sought.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl FnMut(u32) -> bool) -> Option<u32> {
        let place = Place(hash);
        self.segments[self.segment(place)].find(place, is)
    }

    /// The first slot that may be the one sought, without a look at its key. Asked for many hashes in a row it brings their
    /// cache lines in, all at the same time.
    #[inline]
    pub(crate) fn hint(&self, hash: u64) -> Option<u32> {
        let place = Place(hash);
        let segment = &self.segments[self.segment(place)];
        let bucket = &segment.buckets[place.bucket(segment.buckets.len() - 1)];
        bucket.cells_with(place.tag()).next().map(|cell| bucket.slots[cell])
    }

    /// Adds a slot that is not there yet.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let place = Place(hash);
        while self.segments[self.segment(place)].is_full() {
            self.grow(place, &hash_of);
        }
        let at = self.segment(place);
        self.segments[at].insert(place, slot);
        self.used += 1;
    }

    /// Makes room in the segment of this place, which is full.
    #[cold]
    fn grow(&mut self, place: Place, hash_of: &impl Fn(u32) -> u64) {
        let at = self.segment(place);
        let Segment { ref buckets, depth, .. } = self.segments[at];
        let buckets = buckets.len();
        // Slots that many bits don't tell apart would blow the directory up for nothing: then the segment alone grows.
        let poor = (1 << depth) * WHOLE > self.used.max(WHOLE);
        let old = if buckets < WHOLE || poor {
            std::mem::replace(&mut self.segments[at], Segment::new(buckets * 2, depth, at))
        } else {
            if depth == self.depth {
                self.directory = self.directory.iter().flat_map(|segment| [*segment; 2]).collect();
                self.depth += 1;
            }
            // Its entries lie side by side; the upper half of them goes to the new segment.
            let entries = 1 << (self.depth - depth);
            let first = place.directory(depth) * entries;
            self.directory[first + entries / 2..first + entries].fill(self.segments.len() as u32);
            let half = |number| Segment::new(buckets, depth + 1, number);
            self.segments.push(half(self.segments.len()));
            std::mem::replace(&mut self.segments[at], half(at))
        };
        // All hashes first: each is a wait for memory, and waits that don't hang on one another take no longer than one.
        let places: Vec<(Place, u32)> = old.slots().map(|slot| (Place(hash_of(slot)), slot)).collect();
        for (place, slot) in places {
            let segment = self.segment(place);
            self.segments[segment].insert(place, slot);
        }
    }

    /// Takes a slot out.
    pub(crate) fn remove(&mut self, hash: u64, slot: u32) {
        let place = Place(hash);
        let at = self.segment(place);
        if self.segments[at].remove(place, slot) {
            self.used -= 1;
        }
    }
}
