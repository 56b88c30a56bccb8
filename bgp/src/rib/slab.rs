//! A list that grows without moving what it holds.

use std::ops::{Index, IndexMut};

/// Values of a page: a few dozen KiB.
const PAGE: usize = 1 << 10;

/// Values by number, in pages. A `Vec` would move all of them whenever it grows: megabytes, and milliseconds, in one call.
pub(crate) struct Slab<T> {
    /// All full but the last.
    pages: Vec<Vec<T>>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { pages: Vec::new() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    /// Adds one, and returns its number.
    pub(crate) fn push(&mut self, value: T) -> u32 {
        let number = self.len() as u32;
        match self.pages.last_mut().filter(|page| page.len() < PAGE) {
            Some(page) => page.push(value),
            None => {
                // The first page grows to its size, for the many tables that stay small.
                let mut page = Vec::with_capacity(if self.pages.is_empty() { 0 } else { PAGE });
                page.push(value);
                self.pages.push(page);
            }
        }
        number
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.pages.get(number as usize / PAGE)?.get(number as usize % PAGE)
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, number: u32) -> &T {
        &self.pages[number as usize / PAGE][number as usize % PAGE]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.pages[number as usize / PAGE][number as usize % PAGE]
    }
}
