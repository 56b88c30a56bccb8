//! Messages on the wire: RFC 4271 section 4 and its successors.

mod attr;
mod capability;
mod envelope;
mod error;
mod header;
mod iana;
pub mod nlri;
mod notification;
mod open;
mod refresh;
mod update;

pub use attr::{
    Aggregator, AsPath, Attributes, GRACEFUL_SHUTDOWN, Origin, OutAttributes, OutCommunities, Segment, SegmentKind,
    TooManyCommunities, UnknownAttribute, end_of_rib, withdraw,
};
pub use capability::{
    AddPath, AddPathFamily, Capability, ExtendedNextHop, GracefulFamily, GracefulRestart, LongLived, LongLivedFamily,
    Role,
};
pub use error::{Fault, Treatment, UpdateFault};
pub use header::{Frame, frame, keepalive};
pub use iana::{AS_TRANS, Afi, MessageType, Safi, attribute_name, code};
pub use notification::{CeaseSubcode, ErrorCode, Notification, ShutdownText, ShutdownTextTooLong};
pub use open::Open;
pub use refresh::RouteRefresh;
pub use update::{Announcement, NlriField, Reset, Sections, Update, UpdateContext};

use std::net::IpAddr;

use petiole_prefix::Prefix;

use nlri::{Bits, Bits6};

/// Octets of a message header: marker, length, type (RFC 4271 section 4.1).
pub const HEADER_LEN: usize = 19;

/// Largest message, header included (RFC 4271 section 4).
pub const MAX_MESSAGE_LEN: usize = 4096;

/// Largest message to or from who offered to read them, header included (RFC 8654 section 4).
pub const MAX_EXTENDED_MESSAGE_LEN: usize = 65535;

/// The first message of `bytes`: its type, its body, and what follows. `None` if it is not whole or its length is impossible.
#[must_use]
pub fn split_message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let header = bytes.first_chunk::<HEADER_LEN>()?;
    let len = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let body = bytes.get(HEADER_LEN..len)?;
    Some((header[18], body, bytes.get(len..)?))
}

/// Whether no route to this destination makes sense ([`nlri::Bits::is_martian`]).
#[must_use]
pub fn is_martian(prefix: &Prefix) -> bool {
    match prefix.addr() {
        IpAddr::V4(a) => a.to_bits().is_martian(prefix.len()),
        addr @ IpAddr::V6(_) => Bits6::of(addr).is_some_and(|bits| bits.is_martian(prefix.len())),
    }
}

#[cfg(test)]
mod tests;
