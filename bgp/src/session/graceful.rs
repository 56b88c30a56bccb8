//! What our OPENs say of graceful restarts (RFC 4724 section 3, RFC 8538 section 2).

use std::collections::BTreeSet;

use petiole_prefix::Family;

use crate::config::PeerConfig;
use crate::wire::{Afi, Capability, GracefulFamily, GracefulRestart, LongLived, Safi};

/// What our next OPEN to a neighbour says of ourselves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct OwnRestart {
    /// R: we have restarted, and have not told this neighbour everything yet.
    pub(crate) restarted: bool,
    /// F, by family: what we announced before is still forwarded.
    pub(crate) forwarding: BTreeSet<Family>,
}

/// The capabilities that we offer.
pub(crate) fn offer(peer: &PeerConfig, own: &OwnRestart) -> Vec<Capability> {
    let Some(policy) = &peer.graceful_restart else {
        // For no family at all: routes go with the session, but End-of-RIB markers are sent only to who offers it.
        return vec![Capability::GracefulRestart(GracefulRestart::default())];
    };
    let family = |f: &Family| GracefulFamily {
        afi: Afi::of(*f).into(),
        safi: Safi::Unicast.into(),
        forwarding: own.forwarding.contains(f),
    };
    let restart = GracefulRestart {
        restarted: own.restarted,
        notification: true,
        restart_time: u16::try_from(policy.restart_time.as_secs()).unwrap_or(u16::MAX),
        families: peer.families.iter().map(family).collect(),
    };
    let mut offered = vec![Capability::GracefulRestart(restart)];
    if !policy.long_lived_time.is_zero() {
        // For no family: we keep theirs for long, and don't ask for as much (RFC 9494 section 3.1).
        offered.push(Capability::LongLived(LongLived::default()));
    }
    offered
}
