//! Prefixes on the wire (RFC 4271 section 4.3, RFC 4760 section 5).

use std::net::IpAddr;

use petiole_prefix::{Family, Prefix};

/// A key of the routing table: the bits of a prefix's address, in the compact form of its family.
///
/// The decoder yields these and not [`Prefix`]es: a full table is half a million of them, and the key is what is stored.
pub trait Bits: Copy + Ord + std::fmt::Debug {
    /// The family.
    const FAMILY: Family;
    /// Longest prefix in octets.
    const OCTETS: usize;
    /// The address whose first octets are `head` (at most [`Self::OCTETS`]), cleared beyond `len` bits.
    fn from_head(head: &[u8], len: u8) -> Self;
    /// The address of a prefix; `None` if it is of the other family.
    fn of(addr: IpAddr) -> Option<Self>;
    /// Cleared beyond `len` bits.
    #[must_use]
    fn masked(self, len: u8) -> Self;
    /// Two words to hash.
    fn words(self) -> (u64, u64);
    /// As an address.
    fn addr(self) -> IpAddr;
    /// Whether no route to this destination makes sense: "this network", loopback, link-local, multicast or reserved
    /// (RFC 6890). The default route is none of them.
    fn is_martian(self, len: u8) -> bool;
}

impl Bits for u32 {
    const FAMILY: Family = Family::V4;
    const OCTETS: usize = 4;

    #[inline]
    fn from_head(head: &[u8], len: u8) -> Self {
        let bits = head
            .iter()
            .take(4)
            .fold((0, 24u32), |(bits, shift), octet| (bits | Self::from(*octet) << shift, shift.wrapping_sub(8)));
        bits.0.masked(len)
    }

    fn of(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V4(a) => Some(a.to_bits()),
            IpAddr::V6(_) => None,
        }
    }

    #[inline]
    fn masked(self, len: u8) -> Self {
        self & Self::MAX.checked_shl(32u32.saturating_sub(len.into())).unwrap_or(0)
    }

    #[inline]
    fn words(self) -> (u64, u64) {
        (self.into(), 0)
    }

    fn addr(self) -> IpAddr {
        IpAddr::V4(self.into())
    }

    #[inline]
    fn is_martian(self, len: u8) -> bool {
        let first = self >> 24;
        // A prefix in 0/8 shorter than that is a part of the default route, such as 0.0.0.0/1: legal.
        (first == 0 && len >= 8) || first == 127 || first >= 224 || self >> 16 == 0xa9fe
    }
}

/// An IPv6 address as four words, so that table entries need no more than four-octet alignment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bits6([u32; 4]);

impl Bits6 {
    #[inline]
    const fn from_u128(n: u128) -> Self {
        Self([(n >> 96) as u32, (n >> 64) as u32, (n >> 32) as u32, n as u32])
    }

    #[inline]
    fn to_u128(self) -> u128 {
        self.0.iter().fold(0, |n, word| n << 32 | u128::from(*word))
    }
}

impl Bits for Bits6 {
    const FAMILY: Family = Family::V6;
    const OCTETS: usize = 16;

    #[inline]
    fn from_head(head: &[u8], len: u8) -> Self {
        let mut full = [0; 16];
        for (to, from) in full.iter_mut().zip(head) {
            *to = *from;
        }
        Self::from_u128(u128::from_be_bytes(full)).masked(len)
    }

    fn of(addr: IpAddr) -> Option<Self> {
        match addr {
            IpAddr::V4(_) => None,
            IpAddr::V6(a) => Some(Self::from_u128(a.to_bits())),
        }
    }

    #[inline]
    fn masked(self, len: u8) -> Self {
        let mask = u128::MAX.checked_shl(128u32.saturating_sub(len.into())).unwrap_or(0);
        Self::from_u128(self.to_u128() & mask)
    }

    #[inline]
    fn words(self) -> (u64, u64) {
        let n = self.to_u128();
        ((n >> 64) as u64, n as u64)
    }

    fn addr(self) -> IpAddr {
        IpAddr::V6(self.to_u128().into())
    }

    #[inline]
    fn is_martian(self, len: u8) -> bool {
        let top = self.0[0] >> 16;
        // ff00::/8, fe80::/10, the addresses :: and ::1, and ::ffff:0:0/96, which stands for IPv4 inside a host (RFC 4291
        // section 2.5.5.2).
        top >= 0xff00
            || top & 0xffc0 == 0xfe80
            || (len == 128 && self.to_u128() <= 1)
            || (len >= 96 && self.to_u128() >> 32 == 0xffff)
    }
}

/// Checks a whole NLRI field before any of it is used, so that a route is never half taken.
///
/// Returns the number of prefixes, or `None` if one is too long or cut short. `skip`: octets before each of them.
#[must_use]
pub fn count<K: Bits>(field: &[u8], skip: usize) -> Option<usize> {
    let mut rest = field;
    let mut n = 0;
    while !rest.is_empty() {
        let (len, tail) = rest.get(skip..)?.split_first()?;
        let octets = usize::from(len.div_ceil(8));
        if octets > K::OCTETS {
            return None;
        }
        rest = tail.get(octets..)?;
        n += 1;
    }
    Some(n)
}

/// The prefixes of a field; host bits are cleared (RFC 4271 section 4.3: their value is irrelevant). Ends early at what
/// [`count`] refuses. `skip`: octets before each of them.
pub fn prefixes<K: Bits>(field: &[u8], skip: usize) -> impl Iterator<Item = (K, u8)> {
    let mut rest = field;
    std::iter::from_fn(move || {
        let (len, tail) = rest.get(skip..)?.split_first()?;
        let octets = usize::from(len.div_ceil(8));
        let (head, tail) = tail.split_at_checked(octets)?;
        if octets > K::OCTETS {
            return None;
        }
        rest = tail;
        Some((K::from_head(head, *len), *len))
    })
}

/// Appends a prefix.
pub fn encode(prefix: &Prefix, out: &mut Vec<u8>) {
    let octets = usize::from(prefix.len().div_ceil(8));
    out.push(prefix.len());
    match prefix.addr() {
        IpAddr::V4(a) => out.extend(a.octets().iter().take(octets)),
        IpAddr::V6(a) => out.extend(a.octets().iter().take(octets)),
    }
}
