//! ROUTE-REFRESH (RFC 2918).

use petiole_prefix::Family;

use super::header::message;
use super::iana::{Afi, MessageType, Safi};
use super::notification::{ErrorCode, Notification};

/// A request to send everything of a family again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteRefresh {
    /// Address family identifier.
    pub afi: Afi,
    /// The octet between the identifiers: reserved, or a subtype of RFC 7313.
    pub subtype: u8,
    /// Subsequent address family identifier.
    pub safi: Safi,
}

impl RouteRefresh {
    /// Reads the body of a ROUTE-REFRESH.
    ///
    /// # Errors
    /// When it is not four octets (RFC 7313 section 5).
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        match body {
            [a, b, subtype, safi] => {
                Ok(Self { afi: u16::from_be_bytes([*a, *b]).into(), subtype: *subtype, safi: (*safi).into() })
            }
            _ => Err(Notification::new(ErrorCode::RouteRefresh, 1).with_data(body)),
        }
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        message(out, MessageType::RouteRefresh, |out| {
            out.extend_from_slice(&u16::from(self.afi).to_be_bytes());
            out.extend_from_slice(&[self.subtype, self.safi.into()]);
        });
    }

    /// The family asked for, if it is one spoken here.
    #[must_use]
    pub const fn family(&self) -> Option<Family> {
        match (self.afi, self.safi) {
            (Afi::Ipv4, Safi::Unicast) => Some(Family::V4),
            (Afi::Ipv6, Safi::Unicast) => Some(Family::V6),
            _ => None,
        }
    }
}
