//! What two OPENs agree on.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use petiole_prefix::Family;

use crate::config::{LocalConfig, PeerConfig};
use crate::wire::{Capability, ErrorCode, GracefulRestart, Notification, Open, UpdateContext};

/// The terms of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Negotiated {
    pub(crate) asn: u32,
    pub(crate) router_id: Ipv4Addr,
    /// Zero: no hold timer, no KEEPALIVEs.
    pub(crate) hold_time: Duration,
    /// How UPDATEs are read and written.
    pub(crate) update: UpdateContext,
    pub(crate) route_refresh: bool,
    /// Both sides said that NOTIFICATIONs restart gracefully (the N bit, RFC 8538 section 2).
    pub(crate) notification_restart: bool,
    pub(crate) capabilities_received: Vec<Capability>,
}

impl Negotiated {
    /// A third of the hold time (RFC 4271 section 10).
    pub(crate) fn keepalive(&self) -> Duration {
        self.hold_time / 3
    }
}

/// What we say in our OPEN.
pub(crate) fn our_open(local: &LocalConfig, peer: &PeerConfig) -> Open {
    let mut capabilities: Vec<_> = peer.families.iter().map(|f| Capability::Unicast(*f)).collect();
    // Graceful restart for no family at all: we do not restart gracefully, but End-of-RIB markers are sent only to who offers it.
    let markers = Capability::GracefulRestart(GracefulRestart::default());
    capabilities.extend([Capability::RouteRefresh, markers, Capability::FourOctetAs(local.asn)]);
    Open { asn: local.asn, hold_time: peer.hold_time, router_id: local.router_id, capabilities }
}

/// Holds their OPEN against our settings.
///
/// # Errors
/// The NOTIFICATION that answers an OPEN we can't accept (RFC 4271 section 6.2).
pub(crate) fn negotiate(theirs: Open, local: &LocalConfig, peer: &PeerConfig) -> Result<Negotiated, Notification> {
    if !peer.remote_asn.accepts(theirs.asn, local.asn) {
        return Err(Notification::new(ErrorCode::Open, 2));
    }
    let has = |capability: &Capability| theirs.capabilities.contains(capability);
    let multiprotocol = |c: &Capability| matches!(c, Capability::Unicast(_) | Capability::OtherFamily { .. });
    // Who speaks of no family at all speaks IPv4 (RFC 4760 section 8).
    let classic = !theirs.capabilities.iter().any(multiprotocol);
    let spoken = |f: &Family| has(&Capability::Unicast(*f)) || (classic && *f == Family::V4);
    let families: BTreeSet<Family> = peer.families.iter().copied().filter(spoken).collect();
    if families.is_empty() {
        // RFC 5492 section 5: say which capabilities are missed.
        let mut missed = Vec::new();
        for family in &peer.families {
            Capability::Unicast(*family).encode(&mut missed);
        }
        return Err(Notification::new(ErrorCode::Open, 7).with_data(&missed));
    }
    let four_octet_as = theirs.capabilities.iter().any(|c| matches!(c, Capability::FourOctetAs(_)));
    let notification_restart = [&theirs.capabilities, &our_open(local, peer).capabilities].into_iter().all(|said| {
        said.iter().any(|c| matches!(c, Capability::GracefulRestart(GracefulRestart { notification: true, .. })))
    });
    Ok(Negotiated {
        asn: theirs.asn,
        router_id: theirs.router_id,
        hold_time: peer.hold_time.min(theirs.hold_time),
        route_refresh: has(&Capability::RouteRefresh),
        notification_restart,
        update: UpdateContext { four_octet_as, families },
        capabilities_received: theirs.capabilities,
    })
}

#[cfg(test)]
mod tests;
