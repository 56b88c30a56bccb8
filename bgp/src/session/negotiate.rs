//! What two OPENs agree on.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use petiole_prefix::Family;

use super::graceful::{self, OwnRestart};
use crate::config::{LocalConfig, PeerConfig};
use crate::wire::{
    AddPath, AddPathFamily, Afi, Capability, ErrorCode, ExtendedNextHop, GracefulRestart, LongLived,
    MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, Notification, Open, Role, Safi, UpdateContext,
};

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
    /// Refreshes have a beginning and an end (RFC 7313).
    pub(crate) enhanced_refresh: bool,
    /// They may send messages of up to 65,535 octets: we offered to read them (RFC 8654 section 3).
    pub(crate) extended_in: bool,
    /// We may.
    pub(crate) extended_out: bool,
    /// Their role (RFC 9234).
    pub(crate) role: Option<Role>,
    /// What they said of graceful restarts; their last word counts (RFC 4724 section 3).
    pub(crate) graceful_restart: Option<GracefulRestart>,
    /// What they said of long-lived ones; only beside the former (RFC 9494 section 4.1).
    pub(crate) long_lived: Option<LongLived>,
    pub(crate) capabilities_received: Vec<Capability>,
}

impl Negotiated {
    /// Largest message we read from them, in octets.
    pub(crate) const fn max_message_in(&self) -> usize {
        if self.extended_in { MAX_EXTENDED_MESSAGE_LEN } else { MAX_MESSAGE_LEN }
    }

    /// Largest message they read from us, in octets.
    pub(crate) const fn max_message_out(&self) -> usize {
        if self.extended_out { MAX_EXTENDED_MESSAGE_LEN } else { MAX_MESSAGE_LEN }
    }

    /// A third of the hold time (RFC 4271 section 10).
    pub(crate) fn keepalive(&self) -> Duration {
        self.hold_time / 3
    }
}

/// What of the moment our OPEN depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Circumstances {
    /// The connection runs over IPv6.
    pub(crate) over_ipv6: bool,
}

/// What we say in our OPEN.
pub(crate) fn our_open(local: &LocalConfig, peer: &PeerConfig, own: &OwnRestart, circumstances: Circumstances) -> Open {
    let mut capabilities: Vec<_> = peer.families.iter().map(|f| Capability::Unicast(*f)).collect();
    capabilities.extend([Capability::RouteRefresh, Capability::EnhancedRouteRefresh]);
    capabilities.extend([Capability::ExtendedMessage, Capability::FourOctetAs(local.asn)]);
    capabilities.extend(graceful::offer(peer, own));
    if peer.add_path_receive {
        // Never to send: what is ours has one path.
        let family = |f: &Family| AddPathFamily {
            afi: Afi::of(*f).into(),
            safi: Safi::Unicast.into(),
            receive: true,
            send: false,
        };
        capabilities.push(Capability::AddPath(AddPath { families: peer.families.iter().map(family).collect() }));
    }
    if circumstances.over_ipv6 && peer.families.contains(&Family::V4) {
        capabilities.push(Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6]));
    }
    capabilities.extend(peer.role.map(Capability::Role));
    Open { asn: local.asn, hold_time: peer.hold_time, router_id: local.router_id, capabilities }
}

/// Holds their OPEN against ours, as it was sent, and our settings.
///
/// # Errors
/// The NOTIFICATION that answers an OPEN we can't accept (RFC 4271 section 6.2).
pub(crate) fn negotiate(ours: &Open, theirs: Open, peer: &PeerConfig) -> Result<Negotiated, Notification> {
    if !peer.remote_asn.accepts(theirs.asn, ours.asn) {
        return Err(Notification::new(ErrorCode::Open, 2));
    }
    let families = families(&theirs, peer)?;
    let role = role(&theirs, peer)?;
    let (offered, has) = (&ours.capabilities, &theirs.capabilities);
    let both = |c: &Capability| offered.contains(c) && has.contains(c);
    let graceful_restart = has.iter().rev().find_map(|c| match c {
        Capability::GracefulRestart(restart) => Some(restart.clone()),
        _ => None,
    });
    let offers_notification =
        |c: &Capability| matches!(c, Capability::GracefulRestart(GracefulRestart { notification: true, .. }));
    let long_lived = has.iter().rev().find_map(|c| match c {
        Capability::LongLived(long_lived) => Some(long_lived.clone()),
        _ => None,
    });
    Ok(Negotiated {
        asn: theirs.asn,
        router_id: theirs.router_id,
        hold_time: peer.hold_time.min(theirs.hold_time),
        route_refresh: both(&Capability::RouteRefresh),
        enhanced_refresh: both(&Capability::RouteRefresh) && both(&Capability::EnhancedRouteRefresh),
        extended_in: offered.contains(&Capability::ExtendedMessage),
        extended_out: both(&Capability::ExtendedMessage),
        notification_restart: offered.iter().any(offers_notification)
            && graceful_restart.as_ref().is_some_and(|g| g.notification),
        role,
        long_lived: long_lived.filter(|_| graceful_restart.is_some()),
        graceful_restart,
        update: UpdateContext {
            four_octet_as: has.iter().any(|c| matches!(c, Capability::FourOctetAs(_))),
            extended_next_hop: extends_next_hop(offered) && extends_next_hop(has),
            add_path: families
                .iter()
                .copied()
                .filter(|f| receives_paths(offered, *f) && sends_paths(has, *f))
                .collect(),
            families,
        },
        capabilities_received: theirs.capabilities,
    })
}

/// Their role, which must be the one that belongs to ours (RFC 9234 section 4.2).
fn role(theirs: &Open, peer: &PeerConfig) -> Result<Option<Role>, Notification> {
    let mut said = theirs.capabilities.iter().filter_map(|c| match c {
        Capability::Role(role) => Some(*role),
        _ => None,
    });
    let role = said.next();
    // Several that differ are a mismatch, whatever ours is.
    let several = said.any(|other| Some(other) != role);
    let ours = peer.role.map(Role::counterpart);
    let fits = match (ours, role) {
        (None, _) => true,
        (Some(_), None) => !peer.strict_role,
        (Some(wanted), Some(role)) => role == wanted,
    };
    if several || !fits { Err(Notification::new(ErrorCode::Open, ROLE_MISMATCH)) } else { Ok(role) }
}

/// RFC 9234 section 4.2.
const ROLE_MISMATCH: u8 = 11;

/// The families spoken on both sides.
fn families(theirs: &Open, peer: &PeerConfig) -> Result<BTreeSet<Family>, Notification> {
    let has = |capability: &Capability| theirs.capabilities.contains(capability);
    let multiprotocol = |c: &Capability| matches!(c, Capability::Unicast(_) | Capability::OtherFamily { .. });
    // Who speaks of no family at all speaks IPv4 (RFC 4760 section 8).
    let classic = !theirs.capabilities.iter().any(multiprotocol);
    let spoken = |f: &Family| has(&Capability::Unicast(*f)) || (classic && *f == Family::V4);
    let families: BTreeSet<Family> = peer.families.iter().copied().filter(spoken).collect();
    if !families.is_empty() {
        return Ok(families);
    }
    // RFC 5492 section 5: say which capabilities are missed.
    let mut missed = Vec::new();
    for family in &peer.families {
        Capability::Unicast(*family).encode(&mut missed);
    }
    Err(Notification::new(ErrorCode::Open, 7).with_data(&missed))
}

/// IPv4 unicast over IPv6 next hops (RFC 8950 section 4).
fn extends_next_hop(capabilities: &[Capability]) -> bool {
    let wanted = ExtendedNextHop::IPV4_OVER_IPV6;
    capabilities.iter().any(|c| matches!(c, Capability::ExtendedNextHop(tuples) if tuples.contains(&wanted)))
}

fn receives_paths(capabilities: &[Capability], family: Family) -> bool {
    add_path(capabilities, family).is_some_and(|f| f.receive)
}

fn sends_paths(capabilities: &[Capability], family: Family) -> bool {
    add_path(capabilities, family).is_some_and(|f| f.send)
}

/// What was said of a family; its first mention counts (RFC 7911 section 4).
fn add_path(capabilities: &[Capability], family: Family) -> Option<AddPathFamily> {
    let values = capabilities.iter().filter_map(|c| match c {
        Capability::AddPath(add_path) => Some(&add_path.families),
        _ => None,
    });
    values.flatten().find(|f| f.family() == Some(family)).copied()
}

#[cfg(test)]
impl Negotiated {
    /// What a test that does not care for terms uses.
    pub(crate) fn sample() -> Self {
        let peer = PeerConfig::new(Ipv4Addr::LOCALHOST.into(), crate::config::RemoteAsn::External);
        let peer = PeerConfig { graceful_restart: None, ..peer };
        let local = LocalConfig { asn: 65000, router_id: Ipv4Addr::LOCALHOST };
        let ours = our_open(&local, &peer, &OwnRestart::default(), Circumstances::default());
        let theirs = Open { asn: 65001, router_id: Ipv4Addr::new(10, 0, 0, 1), ..ours.clone() };
        negotiate(&ours, theirs, &peer).unwrap()
    }
}

#[cfg(test)]
mod tests;
