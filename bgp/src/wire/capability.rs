//! Capabilities (RFC 5492) as carried in OPEN.

use std::fmt;

use petiole_prefix::Family;
use serde::Serialize;

use super::iana::{Afi, Safi};

/// One capability.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Multiprotocol extensions for a family spoken here (RFC 4760 section 8), code 1.
    Unicast(Family),
    /// Multiprotocol extensions for any other family, code 1.
    OtherFamily {
        /// Address family identifier.
        afi: u16,
        /// Subsequent address family identifier.
        safi: u8,
    },
    /// Route refresh (RFC 2918), code 2.
    RouteRefresh,
    /// Graceful restart (RFC 4724 section 3), code 64.
    GracefulRestart(GracefulRestart),
    /// Four-octet AS numbers (RFC 6793), code 65, with the sender's number.
    FourOctetAs(u32),
    /// Not used here.
    Unknown {
        /// Its code.
        code: u8,
        /// Its value.
        value: Vec<u8>,
    },
}

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
    fn decode(value: &[u8]) -> Option<Self> {
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

    fn encode(&self, out: &mut Vec<u8>) {
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

impl Capability {
    /// Reads one capability. A known code with a length it can't have reads as unknown: RFC 5492 gives no error for it, and
    /// what is not understood is not used.
    #[must_use]
    pub fn decode(code: u8, value: &[u8]) -> Self {
        match (code, value) {
            (1, [a, b, _reserved, safi]) => {
                let (afi, safi) = (u16::from_be_bytes([*a, *b]), *safi);
                match (Afi::from(afi), Safi::from(safi)) {
                    (Afi::Ipv4, Safi::Unicast) => Self::Unicast(Family::V4),
                    (Afi::Ipv6, Safi::Unicast) => Self::Unicast(Family::V6),
                    _ => Self::OtherFamily { afi, safi },
                }
            }
            (2, []) => Self::RouteRefresh,
            (65, [a, b, c, d]) => Self::FourOctetAs(u32::from_be_bytes([*a, *b, *c, *d])),
            (64, value) if let Some(restart) = GracefulRestart::decode(value) => Self::GracefulRestart(restart),
            _ => Self::Unknown { code, value: value.to_vec() },
        }
    }

    /// Appends code, length and value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unicast(family) => {
                let afi = u16::from(Afi::of(*family)).to_be_bytes();
                out.extend_from_slice(&[1, 4, afi[0], afi[1], 0, Safi::Unicast.into()]);
            }
            Self::OtherFamily { afi, safi } => {
                let afi = afi.to_be_bytes();
                out.extend_from_slice(&[1, 4, afi[0], afi[1], 0, *safi]);
            }
            Self::RouteRefresh => out.extend_from_slice(&[2, 0]),
            Self::GracefulRestart(restart) => restart.encode(out),
            Self::FourOctetAs(asn) => {
                out.extend_from_slice(&[65, 4]);
                out.extend_from_slice(&asn.to_be_bytes());
            }
            Self::Unknown { code, value } => {
                let value = value.get(..usize::from(u8::MAX)).unwrap_or(value);
                out.extend_from_slice(&[*code, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
                out.extend_from_slice(value);
            }
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unicast(family) => write!(f, "{family} unicast"),
            Self::OtherFamily { afi, safi } => write!(f, "family {afi}/{safi}"),
            Self::RouteRefresh => f.write_str("route refresh"),
            Self::GracefulRestart(restart) => write!(f, "graceful restart within {} s", restart.restart_time),
            Self::FourOctetAs(asn) => write!(f, "four-octet AS {asn}"),
            Self::Unknown { code, .. } => f.write_str(match code {
                5 => "extended next hop",
                6 => "extended message",
                9 => "role",
                69 => "add-path",
                70 => "enhanced route refresh",
                71 => "long-lived graceful restart",
                73 => "host name",
                75 => "software version",
                128 => "route refresh (old)",
                _ => return write!(f, "capability {code}"),
            }),
        }
    }
}
