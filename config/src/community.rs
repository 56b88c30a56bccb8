//! Communities as people write them: `65000:1` (RFC 1997), `65000:1:2` (RFC 8092), `rt:65000:1` (RFC 4360), and names.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One community of whatever kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Community {
    /// RFC 1997.
    Standard(u32),
    /// RFC 8092.
    Large([u32; 3]),
    /// RFC 4360, as on the wire.
    Extended([u8; 8]),
}

/// The names of IANA's registry of well-known communities that mean something to a route that a node announces.
const WELL_KNOWN: [(&str, u32); 8] = [
    ("graceful-shutdown", 0xffff_0000),
    ("accept-own", 0xffff_0001),
    ("llgr-stale", 0xffff_0006),
    ("no-llgr", 0xffff_0007),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-peer", 0xffff_ff04),
];

/// The sub-types of RFC 4360 sections 4 and 5.
const ROUTE_TARGET: u8 = 2;
const ROUTE_ORIGIN: u8 = 3;

impl Community {
    /// Whether an announcement may carry it by configuration: GRACEFUL_SHUTDOWN is what `petiole drain` says.
    #[must_use]
    pub const fn is_drain(self) -> bool {
        matches!(self, Self::Standard(0xffff_0000))
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Standard(value) => match WELL_KNOWN.iter().find(|(_, known)| *known == value) {
                Some((name, _)) => f.write_str(name),
                None => write!(f, "{}:{}", value >> 16, value & 0xffff),
            },
            Self::Large([a, b, c]) => write!(f, "{a}:{b}:{c}"),
            Self::Extended([kind, sub, a, b, c, d, x, y]) => {
                let name = match sub {
                    ROUTE_TARGET => "rt",
                    ROUTE_ORIGIN => "soo",
                    _ => return write!(f, "0x{:016x}", u64::from_be_bytes([kind, sub, a, b, c, d, x, y])),
                };
                let local = u16::from_be_bytes([x, y]);
                match kind {
                    0 => write!(f, "{name}:{}:{}", u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, x, y])),
                    1 => write!(f, "{name}:{}:{local}", Ipv4Addr::new(a, b, c, d)),
                    // A small number here is told from the two-octet kind by its letter, as RFC 5396 routers print it.
                    2 => match u32::from_be_bytes([a, b, c, d]) {
                        asn if asn > 0xffff => write!(f, "{name}:{asn}:{local}"),
                        asn => write!(f, "{name}:{asn}L:{local}"),
                    },
                    _ => write!(f, "0x{:016x}", u64::from_be_bytes([kind, sub, a, b, c, d, x, y])),
                }
            }
        }
    }
}

/// A text that is no community.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a community is 65000:1, 65000:1:2 (large), rt:65000:1 or soo:65000:1 (extended), 0x and 16 hexadecimal digits, or a name such as no-export"
)]
pub struct NoCommunity;

impl FromStr for Community {
    type Err = NoCommunity;

    fn from_str(text: &str) -> Result<Self, NoCommunity> {
        if let Some((_, value)) = WELL_KNOWN.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Standard(*value));
        }
        if let Some(digits) = text.strip_prefix("0x") {
            let bits = (digits.len() == 16).then(|| number::<u64>(digits, 16)).flatten();
            return bits.map(|bits| Self::Extended(bits.to_be_bytes())).ok_or(NoCommunity);
        }
        let parts: Vec<&str> = text.split(':').collect();
        let community = match parts.as_slice() {
            ["rt", administrator, local] => extended(ROUTE_TARGET, administrator, local),
            ["soo" | "ro", administrator, local] => extended(ROUTE_ORIGIN, administrator, local),
            [a, b] => number::<u16>(a, 10)
                .zip(number::<u16>(b, 10))
                .map(|(a, b)| Self::Standard(u32::from(a) << 16 | u32::from(b))),
            [a, b, c] => match (number(a, 10), number(b, 10), number(c, 10)) {
                (Some(a), Some(b), Some(c)) => Some(Self::Large([a, b, c])),
                _ => None,
            },
            _ => None,
        };
        community.ok_or(NoCommunity)
    }
}

/// Two-octet AS and four octets, or IPv4 address and two, or four-octet AS and two (RFC 4360 section 3, RFC 5668).
fn extended(sub: u8, administrator: &str, local: &str) -> Option<Community> {
    let short = || number::<u16>(local, 10).map(u16::to_be_bytes);
    if let Ok(addr) = administrator.parse::<Ipv4Addr>() {
        let ([a, b, c, d], [x, y]) = (addr.octets(), short()?);
        return Some(Community::Extended([1, sub, a, b, c, d, x, y]));
    }
    let (long, digits) = match administrator.strip_suffix('L') {
        Some(digits) => (true, digits),
        None => (false, administrator),
    };
    let asn: u32 = number(digits, 10)?;
    match u16::try_from(asn) {
        Ok(asn) if !long => {
            let ([a, b], [c, d, x, y]) = (asn.to_be_bytes(), number::<u32>(local, 10)?.to_be_bytes());
            Some(Community::Extended([0, sub, a, b, c, d, x, y]))
        }
        Ok(_) | Err(_) => {
            let ([a, b, c, d], [x, y]) = (asn.to_be_bytes(), short()?);
            Some(Community::Extended([2, sub, a, b, c, d, x, y]))
        }
    }
}

/// Digits only: the standard parser takes a sign.
fn number<T: TryFrom<u64>>(digits: &str, radix: u32) -> Option<T> {
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    u64::from_str_radix(digits, radix).ok().filter(|_| plain).and_then(|n| T::try_from(n).ok())
}

impl TryFrom<String> for Community {
    type Error = NoCommunity;

    fn try_from(text: String) -> Result<Self, NoCommunity> {
        text.parse()
    }
}

impl From<Community> for String {
    fn from(community: Community) -> Self {
        community.to_string()
    }
}

#[cfg(test)]
mod tests;
