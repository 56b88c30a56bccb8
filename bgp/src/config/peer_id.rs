//! The name of a neighbour.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of an interface's name with its closing zero (`IFNAMSIZ` of `include/uapi/linux/if.h`).
const IFNAMSIZ: usize = 16;

/// The name of a configured neighbour, stable over its sessions: its address, or the interface on which it is found.
///
/// As text, and in JSON, it is the one or the other; an interface whose name reads as an address has no such name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Name);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Name {
    Address(IpAddr),
    Interface(Interface),
}

/// An interface's name, closed with zeros: at most 15 bytes of UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Interface([u8; IFNAMSIZ]);

impl Interface {
    fn as_str(&self) -> &str {
        let len = self.0.iter().position(|b| *b == 0).unwrap_or(IFNAMSIZ);
        // Only made of a `str`, as a whole.
        self.0.get(..len).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl PeerId {
    /// The neighbour configured by this address.
    #[must_use]
    pub const fn of_address(addr: IpAddr) -> Self {
        Self(Name::Address(addr))
    }

    /// The neighbour that is found on this interface; `None` for what Linux takes for no interface's name
    /// (`dev_valid_name` of `net/core/dev.c`), and for a name that reads as an address.
    #[must_use]
    pub fn of_interface(name: &str) -> Option<Self> {
        let bad = |c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace();
        if matches!(name, "" | "." | "..") || name.contains(bad) || name.parse::<IpAddr>().is_ok() {
            return None;
        }
        let mut bytes = [0; IFNAMSIZ];
        // The last byte stays zero.
        bytes.get_mut(..IFNAMSIZ - 1)?.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self(Name::Interface(Interface(bytes))))
    }

    /// The address, where that is its name.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self.0 {
            Name::Address(addr) => Some(addr),
            Name::Interface(_) => None,
        }
    }

    /// Whether it is found on an interface.
    #[must_use]
    pub const fn is_interface(&self) -> bool {
        matches!(self.0, Name::Interface(_))
    }

    /// The interface, where that is its name.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match &self.0 {
            Name::Address(_) => None,
            Name::Interface(name) => Some(name.as_str()),
        }
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Name::Address(addr) => fmt::Display::fmt(addr, f),
            Name::Interface(name) => f.pad(name.as_str()),
        }
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// Neither an address nor the name of an interface.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is neither an address nor the name of an interface")]
pub struct NotAPeer(String);

impl FromStr for PeerId {
    type Err = NotAPeer;

    fn from_str(text: &str) -> Result<Self, NotAPeer> {
        match text.parse() {
            Ok(addr) => Ok(Self::of_address(addr)),
            Err(_) => Self::of_interface(text).ok_or_else(|| NotAPeer(text.chars().take(64).collect())),
        }
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
