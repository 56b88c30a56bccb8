//! Two connections with one neighbour (RFC 4271 section 6.8).
//!
//! The RFC decides when an OPEN arrives on one connection while the other is in OpenConfirm. Taken literally by both sides that
//! can end both connections: one side sees the first connection Established and closes the second, while the other, whose
//! KEEPALIVE on the first is still on its way, closes the first in favour of the second. Two rules keep us out of that, whatever
//! the other side does:
//!
//! - an OPEN on one connection decides at once between it and any other that is connected: their identifier is known now, and
//!   no KEEPALIVE is ever sent on a connection that has lost;
//! - a connection that comes while the other is in OpenConfirm is parked: our OPEN is sent on it only once the other is gone,
//!   so that the other side has no reason to prefer it.
//!
//! The first rule looks at connections in OpenSent, which the RFC allows only when the identifier is known, and so it must not
//! trust them: one whose OPEN has had no answer for a while may be dead at the other end, and loses whatever the identifiers.

use std::net::Ipv4Addr;

use crate::config::ConnId;

/// Whether the connection that we dialled is the one to keep: so it is when our identifier is the higher one, and, where they
/// are equal, our AS number (RFC 6286 section 2.3).
pub(crate) fn keeps_dialled(ours: (Ipv4Addr, u32), theirs: (Ipv4Addr, u32)) -> bool {
    ours > theirs
}

/// Of two connections, the one to close.
pub(crate) fn loser(a: ConnId, b: ConnId, keeps_dialled: bool) -> ConnId {
    let keep = |c: ConnId| matches!(c, ConnId::Dialled(_)) == keeps_dialled;
    // Two of the same kind are never open together; if they were, the older one would go.
    match (keep(a), keep(b)) {
        (true, false) => b,
        (false, true) => a,
        _ => a.min(b),
    }
}
