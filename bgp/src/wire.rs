//! Messages on the wire: RFC 4271 section 4 and its successors.

mod attr;
mod capability;
mod error;
mod header;
mod iana;
mod notification;

pub use attr::{Aggregator, AsPath, Attributes, Origin, Segment, SegmentKind, UnknownAttribute};
pub use capability::Capability;
pub use error::{Fault, Treatment, UpdateFault};
pub use header::{Frame, frame};
pub use iana::{Afi, MessageType, Safi, code};
pub use notification::{CeaseSubcode, ErrorCode, Notification};

use petiole_prefix::Prefix;
use std::net::IpAddr;

/// Octets of a message header: marker, length, type (RFC 4271 section 4.1).
pub const HEADER_LEN: usize = 19;

/// Largest message, header included (RFC 4271 section 4).
pub const MAX_MESSAGE_LEN: usize = 4096;

/// The first message of `bytes`: its type, its body, and what follows. `None` if it is not whole or its length is impossible.
#[must_use]
pub fn split_message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let header = bytes.first_chunk::<HEADER_LEN>()?;
    let len = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let body = bytes.get(HEADER_LEN..len)?;
    Some((header[18], body, bytes.get(len..)?))
}

/// Whether no route to this destination makes sense: "this network", loopback, link-local, multicast or reserved
/// (RFC 6890). The default route is none of them.
#[must_use]
pub fn is_martian(prefix: &Prefix) -> bool {
    match prefix.addr() {
        IpAddr::V4(a) => {
            let first = a.octets()[0];
            // A shorter prefix than /8 in 0/8 would be a part of the default route, such as 0.0.0.0/1: legal.
            (first == 0 && prefix.len() >= 8) || first == 127 || first >= 224 || a.is_link_local()
        }
        IpAddr::V6(a) => {
            let low = prefix.len() == 128 && (a.is_unspecified() || a.is_loopback());
            low || a.is_multicast() || a.is_unicast_link_local()
        }
    }
}
