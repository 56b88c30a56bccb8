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
            Self::FourOctetAs(asn) => write!(f, "four-octet AS {asn}"),
            Self::Unknown { code, .. } => f.write_str(match code {
                5 => "extended next hop",
                6 => "extended message",
                9 => "role",
                64 => "graceful restart",
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
