//! Capabilities (RFC 5492) as carried in OPEN.

mod graceful;
mod values;

use std::fmt;

use petiole_prefix::Family;
use serde::Serialize;

use super::iana::{Afi, Safi};

pub use graceful::{GracefulFamily, GracefulRestart, LongLived, LongLivedFamily};
pub use values::{AddPath, AddPathFamily, ExtendedNextHop, Role};

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
    /// Extended next hop encoding (RFC 8950 section 4), code 5: families whose next hop may be of another one.
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// Extended message (RFC 8654 section 3), code 6: messages of up to 65,535 octets are read.
    ExtendedMessage,
    /// The sender's role on this session (RFC 9234 section 4.1), code 9. More than one, if they differ, is an error.
    Role(Role),
    /// Graceful restart (RFC 4724 section 3), code 64.
    GracefulRestart(GracefulRestart),
    /// Four-octet AS numbers (RFC 6793), code 65, with the sender's number.
    FourOctetAs(u32),
    /// Several paths for one prefix (RFC 7911 section 4), code 69.
    AddPath(AddPath),
    /// Enhanced route refresh (RFC 7313 section 3.1), code 70.
    EnhancedRouteRefresh,
    /// Long-lived graceful restart (RFC 9494 section 3.1), code 71.
    LongLived(LongLived),
    /// Who the sender says it is (draft-walton-bgp-hostname-capability), code 73; for people only.
    HostName {
        /// Host name.
        host: String,
        /// Its domain; may be empty.
        domain: String,
    },
    /// What the sender says it runs (draft-abraitis-bgp-version-capability), code 75; for people only.
    SoftwareVersion(String),
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
            (5, value) if let Some(tuples) = ExtendedNextHop::decode(value) => Self::ExtendedNextHop(tuples),
            (6, []) => Self::ExtendedMessage,
            (9, [role]) if let Some(role) = Role::from_code(*role) => Self::Role(role),
            (65, [a, b, c, d]) => Self::FourOctetAs(u32::from_be_bytes([*a, *b, *c, *d])),
            (64, value) if let Some(restart) = GracefulRestart::decode(value) => Self::GracefulRestart(restart),
            (69, value) if let Some(add_path) = AddPath::decode(value) => Self::AddPath(add_path),
            (70, []) => Self::EnhancedRouteRefresh,
            (71, value) if let Some(long_lived) = LongLived::decode(value) => Self::LongLived(long_lived),
            (73, value) if let Some((host, domain)) = values::host_name(value) => Self::HostName { host, domain },
            (75, value) if let Some(version) = values::software_version(value) => Self::SoftwareVersion(version),
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
            Self::ExtendedNextHop(tuples) => ExtendedNextHop::encode(tuples, out),
            Self::ExtendedMessage => out.extend_from_slice(&[6, 0]),
            Self::Role(role) => out.extend_from_slice(&[9, 1, *role as u8]),
            Self::GracefulRestart(restart) => restart.encode(out),
            Self::FourOctetAs(asn) => {
                out.extend_from_slice(&[65, 4]);
                out.extend_from_slice(&asn.to_be_bytes());
            }
            Self::AddPath(add_path) => add_path.encode(out),
            Self::EnhancedRouteRefresh => out.extend_from_slice(&[70, 0]),
            Self::LongLived(long_lived) => long_lived.encode(out),
            Self::HostName { host, domain } => {
                let mut value = Vec::new();
                values::text(host, 253, &mut value);
                values::text(domain, 254 - value.len(), &mut value);
                sized(73, &value, out);
            }
            Self::SoftwareVersion(version) => {
                let mut value = Vec::new();
                values::text(version, 254, &mut value);
                sized(75, &value, out);
            }
            Self::Unknown { code, value } => sized(*code, value, out),
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unicast(family) => write!(f, "{family} unicast"),
            Self::OtherFamily { afi, safi } => write!(f, "family {afi}/{safi}"),
            Self::RouteRefresh => f.write_str("route refresh"),
            Self::GracefulRestart(restart) => write!(f, "{restart}"),
            Self::FourOctetAs(asn) => write!(f, "four-octet AS {asn}"),
            Self::ExtendedNextHop(tuples) => {
                f.write_str("extended next hop")?;
                let mut separator = ' ';
                for tuple in tuples {
                    write!(f, "{separator}{tuple}")?;
                    separator = ',';
                }
                Ok(())
            }
            Self::ExtendedMessage => f.write_str("extended message"),
            Self::Role(role) => write!(f, "role {role}"),
            Self::AddPath(add_path) => write!(f, "add-path {add_path}"),
            Self::EnhancedRouteRefresh => f.write_str("enhanced route refresh"),
            Self::LongLived(long_lived) => write!(f, "{long_lived}"),
            Self::HostName { host, domain } => {
                write!(f, "host name {}", host.escape_debug())?;
                if domain.is_empty() { Ok(()) } else { write!(f, ".{}", domain.escape_debug()) }
            }
            Self::SoftwareVersion(version) => write!(f, "software version {}", version.escape_debug()),
            // Malformed where the code is one that is known.
            Self::Unknown { code, value } => {
                let octets = value.len();
                let name = match code {
                    128 => return f.write_str("route refresh (old)"),
                    2 => "route refresh",
                    5 => "extended next hop",
                    6 => "extended message",
                    9 => "role",
                    64 => "graceful restart",
                    65 => "four-octet AS",
                    69 => "add-path",
                    70 => "enhanced route refresh",
                    71 => "long-lived graceful restart",
                    73 => "host name",
                    75 => "software version",
                    _ => return write!(f, "capability {code}"),
                };
                write!(f, "{name} (not understood, {octets} octets)")
            }
        }
    }
}

/// Appends a code, a length and as much of the value as one octet of length leaves room for.
fn sized(code: u8, value: &[u8], out: &mut Vec<u8>) {
    let value = value.get(..usize::from(u8::MAX)).unwrap_or(value);
    out.extend_from_slice(&[code, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
    out.extend_from_slice(value);
}
