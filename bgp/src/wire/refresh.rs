//! ROUTE-REFRESH (RFC 2918, RFC 7313).

use petiole_prefix::Family;

use super::envelope::message;
use super::iana::{Afi, MessageType, Safi};
use super::notification::{ErrorCode, Notification};

/// A request to send everything of a family again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteRefresh {
    /// Address family identifier.
    pub afi: Afi,
    /// The octet between the identifiers: [`REQUEST`](Self::REQUEST), [`BEGIN`](Self::BEGIN) or [`END`](Self::END).
    pub subtype: u8,
    /// Subsequent address family identifier.
    pub safi: Safi,
}

impl RouteRefresh {
    /// Asks for everything of the family (RFC 2918: reserved, 0).
    pub const REQUEST: u8 = 0;
    /// Everything of the family follows: BoRR (RFC 7313 section 3.2).
    pub const BEGIN: u8 = 1;
    /// Everything of the family has been said: EoRR.
    pub const END: u8 = 2;

    /// The message of this subtype for a family.
    #[must_use]
    pub const fn of(family: Family, subtype: u8) -> Self {
        Self { afi: Afi::of(family), subtype, safi: Safi::Unicast }
    }

    /// Reads the body of a ROUTE-REFRESH.
    ///
    /// # Errors
    /// When it is not four octets (RFC 7313 section 5).
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        match body {
            [a, b, subtype, safi] => {
                Ok(Self { afi: u16::from_be_bytes([*a, *b]).into(), subtype: *subtype, safi: (*safi).into() })
            }
            // With the whole message, header and all.
            _ => {
                let mut whole = Vec::new();
                message(&mut whole, MessageType::RouteRefresh, |out| out.extend_from_slice(body));
                Err(Notification::new(ErrorCode::RouteRefresh, 1).with_data(&whole))
            }
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
