//! Addresses as CNI writes them: an IP address with the length of its network, and a link-layer address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address and the length of its network, such as `10.1.2.3/24`. Unlike a prefix it may have host bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

/// Why a text is no [`Cidr`] or no [`Mac`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AddressError {
    /// The text is no address with a length.
    #[error("{0:?} is not an address with the length of its network, such as 10.1.2.3/24 or fd00::3/64")]
    NotACidr(String),
    /// The length is larger than the family allows.
    #[error("/{length} is too long for {address}: at most /{}", max_length(*address))]
    TooLong {
        /// The address given.
        address: IpAddr,
        /// The length given.
        length: u8,
    },
    /// The text is no link-layer address.
    #[error("{0:?} is not a link-layer address, such as 02:00:5e:10:00:01")]
    NotAMac(String),
}

const fn max_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl Cidr {
    /// An address in a network of this length, in bits.
    ///
    /// # Errors
    /// When the length is more than 32 for IPv4 or 128 for IPv6.
    pub const fn new(address: IpAddr, length: u8) -> Result<Self, AddressError> {
        if length > max_length(address) {
            return Err(AddressError::TooLong { address, length });
        }
        Ok(Self { address, length })
    }

    /// The address alone: /32 or /128.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self { address, length: max_length(address) }
    }

    /// The address, host bits included.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The length of the network in bits.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Cidr {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let not = || AddressError::NotACidr(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(not)?;
        if !length.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(not());
        }
        Self::new(address.parse().map_err(|_| not())?, length.parse().map_err(|_| not())?)
    }
}

/// A link-layer address of an Ethernet interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = AddressError;

    /// Six pairs of hexadecimal digits, with colons or with hyphens.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let not = || AddressError::NotAMac(text.to_owned());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut octets = [0; 6];
        let mut parts = text.split(separator);
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()));
            *octet = u8::from_str_radix(part.ok_or_else(not)?, 16).map_err(|_| not())?;
        }
        if parts.next().is_some() { Err(not()) } else { Ok(Self(octets)) }
    }
}

/// Both are texts in JSON.
macro_rules! as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Cidr);
as_text!(Mac);

#[cfg(test)]
mod tests;
