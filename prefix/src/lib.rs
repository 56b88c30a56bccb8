//! One canonical IP prefix type.
//!
//! A [`Prefix`] never has host bits: it can only be made by [`Prefix::new`], which refuses them, or by [`Prefix::truncated`],
//! which clears them. So two prefixes that mean the same are equal, and sort together, wherever they came from: the
//! configuration, etcd, a leaf's UPDATE or the kernel. [`Display`](fmt::Display) always writes the length, also for host
//! routes, because a bare address in a key or a log line has been mistaken for one before.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The address family of a prefix, an address or a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families, in the order in which tables show them.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    #[must_use]
    pub const fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Length of a host prefix in bits: 32 or 128.
    #[must_use]
    pub const fn max_len(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// An IP prefix without host bits.
///
/// Ordered by family, then address, then length, so that a covering prefix sorts before what it covers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

/// Why a prefix was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PrefixError {
    /// The text has no `/`.
    #[error("{text:?} has no length: write {text}/{max} for the single address")]
    NoLength {
        /// What was given.
        text: String,
        /// The length of a host prefix of that family.
        max: u8,
    },
    /// The text before the `/` is no address, or what follows is no number.
    #[error("{0:?} is not an IP prefix such as 10.0.0.0/8 or fd00::/64")]
    NotAPrefix(String),
    /// The length is larger than the family allows.
    #[error("/{len} is longer than an {family} prefix can be (at most /{})", family.max_len())]
    TooLong {
        /// The length given.
        len: u8,
        /// The family of the address.
        family: Family,
    },
    /// Bits beyond the length are set.
    #[error("{addr}/{len} has host bits set: did you mean {meant}?")]
    HostBits {
        /// The address given.
        addr: IpAddr,
        /// The length given.
        len: u8,
        /// The same with the host bits cleared.
        meant: Prefix,
    },
}

impl Prefix {
    /// A prefix of exactly these bits.
    ///
    /// # Errors
    /// When the length is too long for the family, or host bits are set.
    pub fn new(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let meant = Self::truncated(addr, len)?;
        if meant.addr == addr { Ok(meant) } else { Err(PrefixError::HostBits { addr, len, meant }) }
    }

    /// The prefix of this length that contains the address: host bits are cleared.
    ///
    /// # Errors
    /// When the length is too long for the family.
    pub fn truncated(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let family = Family::of(addr);
        if len > family.max_len() {
            return Err(PrefixError::TooLong { len, family });
        }
        let addr = match addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask4(len))),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask6(len))),
        };
        Ok(Self { addr, len })
    }

    /// The prefix of one address: /32 or /128.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Self { addr, len: Family::of(addr).max_len() }
    }

    /// The default route of a family: 0.0.0.0/0 or ::/0.
    #[must_use]
    pub const fn default_route(family: Family) -> Self {
        let addr = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { addr, len: 0 }
    }

    /// The network address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The length in bits.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the length of a prefix is not a count of elements")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// The family.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.addr)
    }

    /// Whether this is a single address.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.len == self.family().max_len()
    }

    /// Whether this is 0.0.0.0/0 or ::/0.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.len == 0
    }

    /// Whether `other` lies inside this prefix; a prefix contains itself.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.len >= self.len && self.contains_addr(other.addr)
    }

    /// Whether the address lies inside this prefix.
    #[must_use]
    pub fn contains_addr(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(net), IpAddr::V4(a)) => a.to_bits() & mask4(self.len) == net.to_bits(),
            (IpAddr::V6(net), IpAddr::V6(a)) => a.to_bits() & mask6(self.len) == net.to_bits(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// The `index`-th prefix of length `len` inside this one, counted from the network address.
    ///
    /// `None` when `len` is shorter than this prefix or too long for the family, or the index lies outside.
    #[must_use]
    pub fn subnet(&self, len: u8, index: u128) -> Option<Self> {
        let max = self.family().max_len();
        if len < self.len || len > max || index.checked_shr(u32::from(len - self.len)).is_some_and(|over| over != 0) {
            return None;
        }
        let offset = index.checked_shl(u32::from(max - len)).unwrap_or(0);
        let addr = match self.addr {
            IpAddr::V4(a) => IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() | u32::try_from(offset).ok()?)),
            IpAddr::V6(a) => IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() | offset)),
        };
        Some(Self { addr, len })
    }

    /// How many prefixes of length `len` fit inside this one; saturates at `u128::MAX`, 0 when none does.
    #[must_use]
    pub fn subnet_count(&self, len: u8) -> u128 {
        if len < self.len || len > self.family().max_len() {
            return 0;
        }
        1u128.checked_shl(u32::from(len - self.len)).unwrap_or(u128::MAX)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Through `pad`, so that `{:<20}` aligns tables.
        f.pad(&format!("{}/{}", self.addr, self.len))
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let not_a_prefix = || PrefixError::NotAPrefix(text.to_owned());
        let Some((addr, len)) = text.split_once('/') else {
            return Err(match text.parse::<IpAddr>() {
                Ok(a) => PrefixError::NoLength { text: text.to_owned(), max: Family::of(a).max_len() },
                Err(_) => not_a_prefix(),
            });
        };
        let addr: IpAddr = addr.parse().map_err(|_| not_a_prefix())?;
        if len.is_empty() || !len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(not_a_prefix());
        }
        Self::new(addr, len.parse().map_err(|_| not_a_prefix())?)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const fn mask4(len: u8) -> u32 {
    match u32::MAX.checked_shl(32 - len as u32) {
        Some(m) => m,
        None => 0,
    }
}

const fn mask6(len: u8) -> u128 {
    match u128::MAX.checked_shl(128 - len as u32) {
        Some(m) => m,
        None => 0,
    }
}

#[cfg(test)]
mod tests;
