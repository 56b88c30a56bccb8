//! The import policy: built in, the same for every leaf (RFC 8212: there is always one).

use std::collections::BTreeMap;
use std::net::IpAddr;

use petiole_prefix::Prefix;

use crate::guard::Originated;
use crate::rib::Reason;
use crate::wire::{self, Attributes, Role};

/// What the policy knows of us and of the session.
pub(super) struct ImportContext<'a> {
    pub(super) local_asn: u32,
    pub(super) peer_asn: u32,
    /// Our end of the session.
    pub(super) local: Option<IpAddr>,
    /// What we tell the peer to send to.
    pub(super) next_hops: [Option<IpAddr>; 2],
    pub(super) originated: &'a BTreeMap<Prefix, Originated>,
}

/// Marks what a provider or a route server sent (RFC 9234 section 5): from here it could go to customers only. It goes nowhere;
/// the mark is kept for who looks at the route.
pub(super) fn mark(attributes: &mut Attributes, role: Option<Role>, peer_asn: u32) {
    if let Some(Role::Customer | Role::RouteServerClient) = role {
        attributes.only_to_customer.get_or_insert(peer_asn);
    }
}

/// Why paths with these attributes are refused; `None` if they are welcome.
pub(super) fn verdict(attributes: &Attributes, ctx: &ImportContext<'_>) -> Option<Reason> {
    if attributes.as_path.contains(ctx.local_asn) {
        return Some(Reason::RejectedOwnAs);
    }
    if attributes.as_path.first() != Some(ctx.peer_asn) {
        return Some(Reason::RejectedFirstAs);
    }
    let next_hop = attributes.next_hop;
    let link_local = matches!(next_hop, IpAddr::V6(a) if a.is_unicast_link_local());
    if next_hop.is_unspecified() || (wire::is_martian(&Prefix::host(next_hop)) && !link_local) {
        return Some(Reason::RejectedMartianNextHop);
    }
    let ours = ctx.local.into_iter().chain(ctx.next_hops.into_iter().flatten()).any(|a| a.to_canonical() == next_hop);
    if ours || ctx.originated.contains_key(&Prefix::host(next_hop)) {
        return Some(Reason::RejectedOwnNextHop);
    }
    None
}
