//! Communities that go with what we announce.

use serde::{Deserialize, Serialize};

/// The most octets of community values one announcement carries: beside them, a message always has room for prefixes.
const MOST_OCTETS: usize = 3000;

/// GRACEFUL_SHUTDOWN (RFC 8326): this way goes soon, take another.
pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

/// Communities to announce with: sorted, each once, few enough for a message. Without any, nothing is on the wire.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct OutCommunities {
    standard: Box<[u32]>,
    extended: Box<[[u8; 8]]>,
    large: Box<[[u32; 3]]>,
}

/// More communities than one message has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the communities take {octets} octets, and an announcement has room for {MOST_OCTETS}: announce with fewer")]
pub struct TooManyCommunities {
    /// What they take, each once.
    pub octets: usize,
}

impl OutCommunities {
    /// Communities (RFC 1997), extended (RFC 4360) and large ones (RFC 8092), in any order.
    ///
    /// # Errors
    /// When they would leave a message no room for prefixes.
    pub fn new(
        standard: impl IntoIterator<Item = u32>,
        extended: impl IntoIterator<Item = [u8; 8]>,
        large: impl IntoIterator<Item = [u32; 3]>,
    ) -> Result<Self, TooManyCommunities> {
        let all = Self { standard: sorted(standard), extended: sorted(extended), large: sorted(large) };
        let octets = 4 * all.standard.len() + 8 * all.extended.len() + 12 * all.large.len();
        if octets > MOST_OCTETS { Err(TooManyCommunities { octets }) } else { Ok(all) }
    }

    /// Both together, each once. What leaves a message no room for prefixes is left out from the end, large ones first: those
    /// that say most of where a route may go stay.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        if more.is_empty() {
            return self.clone();
        }
        let mut all = Self {
            standard: sorted(self.standard.iter().chain(&more.standard).copied()),
            extended: sorted(self.extended.iter().chain(&more.extended).copied()),
            large: sorted(self.large.iter().chain(&more.large).copied()),
        };
        let mut room = MOST_OCTETS;
        all.standard = fitting(all.standard, &mut room);
        all.extended = fitting(all.extended, &mut room);
        all.large = fitting(all.large, &mut room);
        all
    }

    /// Communities (RFC 1997).
    #[must_use]
    pub fn standard(&self) -> &[u32] {
        &self.standard
    }

    /// Extended communities (RFC 4360).
    #[must_use]
    pub fn extended(&self) -> &[[u8; 8]] {
        &self.extended
    }

    /// Large communities (RFC 8092).
    #[must_use]
    pub fn large(&self) -> &[[u32; 3]] {
        &self.large
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.standard.is_empty() && self.extended.is_empty() && self.large.is_empty()
    }
}

/// As many from the front as there is room for.
fn fitting<T>(values: Box<[T]>, room: &mut usize) -> Box<[T]> {
    let fit = *room / size_of::<T>();
    let mut values = values.into_vec();
    values.truncate(fit);
    *room -= values.len() * size_of::<T>();
    values.into()
}

/// Large communities must not occur twice (RFC 8092 section 5); of the others nothing would be said by it.
fn sorted<T: Ord>(values: impl IntoIterator<Item = T>) -> Box<[T]> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable();
    values.dedup();
    values.into()
}
