//! Graceful restart (RFC 4724, RFC 8538) and its long-lived kind (RFC 9494).

use std::fmt;

use petiole_prefix::Family;
use serde::Serialize;

use crate::wire::iana::{Afi, Safi};

/// The value of the graceful restart capability.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
pub struct GracefulRestart {
    /// R: the sender has just restarted.
    pub restarted: bool,
    /// N: NOTIFICATIONs restart gracefully as well (RFC 8538 section 2).
    pub notification: bool,
    /// Seconds until the sender is back, 12 bits.
    pub restart_time: u16,
    /// Families it may keep forwarding for. None at all: it restarts without grace, but sends and awaits End-of-RIB markers.
    pub families: Vec<GracefulFamily>,
}

/// A family of the graceful restart capability.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct GracefulFamily {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// F: forwarding went on during the restart.
    pub forwarding: bool,
}

impl GracefulRestart {
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let ([head, low], rest) = value.split_first_chunk::<2>()?;
        let (families, rest) = rest.as_chunks::<4>();
        let family = |[a, b, safi, flags]: &[u8; 4]| GracefulFamily {
            afi: u16::from_be_bytes([*a, *b]),
            safi: *safi,
            forwarding: flags & 0x80 != 0,
        };
        rest.is_empty().then(|| Self {
            restarted: head & 0x80 != 0,
            notification: head & 0x40 != 0,
            restart_time: u16::from_be_bytes([head & 0x0f, *low]),
            families: families.iter().map(family).collect(),
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        // As many families as one octet of length leaves room for.
        let families = self.families.get(..63).unwrap_or(&self.families);
        out.extend_from_slice(&[64, u8::try_from(2 + 4 * families.len()).unwrap_or(u8::MAX)]);
        let flags = u16::from(self.restarted) << 15 | u16::from(self.notification) << 14;
        out.extend_from_slice(&(flags | self.restart_time & 0x0fff).to_be_bytes());
        for family in families {
            out.extend_from_slice(&family.afi.to_be_bytes());
            out.extend_from_slice(&[family.safi, u8::from(family.forwarding) << 7]);
        }
    }
}

impl GracefulFamily {
    /// The family, if it is one spoken here.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        spoken(self.afi, self.safi)
    }
}

/// The value of the long-lived graceful restart capability.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
pub struct LongLived {
    /// Families whose routes may be kept for long.
    pub families: Vec<LongLivedFamily>,
}

/// A family of the long-lived graceful restart capability.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct LongLivedFamily {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// F: forwarding went on during the restart.
    pub forwarding: bool,
    /// Seconds stale routes may be kept, 24 bits.
    pub stale_time: u32,
}

impl LongLivedFamily {
    /// The family, if it is one spoken here.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        spoken(self.afi, self.safi)
    }
}

impl LongLived {
    /// `None` where the value is not whole tuples: a receiver that trusted the length read past the end (CVE-2023-31489).
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (families, rest) = value.as_chunks::<7>();
        let family = |[a, b, safi, flags, t1, t2, t3]: &[u8; 7]| LongLivedFamily {
            afi: u16::from_be_bytes([*a, *b]),
            safi: *safi,
            forwarding: flags & 0x80 != 0,
            stale_time: u32::from_be_bytes([0, *t1, *t2, *t3]),
        };
        rest.is_empty().then(|| Self { families: families.iter().map(family).collect() })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        // As many as one octet of length leaves room for.
        for family in self.families.iter().take(36) {
            value.extend_from_slice(&family.afi.to_be_bytes());
            value.extend_from_slice(&[family.safi, u8::from(family.forwarding) << 7]);
            let [_, t1, t2, t3] = family.stale_time.min(0x00ff_ffff).to_be_bytes();
            value.extend_from_slice(&[t1, t2, t3]);
        }
        super::sized(71, &value, out);
    }
}

fn spoken(afi: u16, safi: u8) -> Option<Family> {
    match (Afi::from(afi), Safi::from(safi)) {
        (Afi::Ipv4, Safi::Unicast) => Some(Family::V4),
        (Afi::Ipv6, Safi::Unicast) => Some(Family::V6),
        _ => None,
    }
}

impl fmt::Display for GracefulRestart {
    /// The time, the bits R and N where they are set, and the families spoken here, those with F as forwarding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graceful restart within {} s", self.restart_time)?;
        for (set, words) in [(self.restarted, "restarted (R)"), (self.notification, "also over NOTIFICATIONs (N)")] {
            if set {
                write!(f, ", {words}")?;
            }
        }
        for family in &self.families {
            if let Some(name) = family.family() {
                write!(f, ", {name}{}", if family.forwarding { " forwarding (F)" } else { "" })?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for LongLived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("long-lived graceful restart")?;
        for family in &self.families {
            if let Some(name) = family.family() {
                let forwarding = if family.forwarding { " forwarding (F)" } else { "" };
                write!(f, ", {name} for {} s{forwarding}", family.stale_time)?;
            }
        }
        Ok(())
    }
}
