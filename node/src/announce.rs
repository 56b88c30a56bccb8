//! From facts to announcements, and to what the kernel should hold for them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use petiole_bgp::Originated;
use petiole_bgp::wire::{GRACEFUL_SHUTDOWN, OutCommunities};
use petiole_config::{AnnounceKind, Community};
use petiole_dataplane::{AddressWant, Route, RouteKey, RouteKind, RouteState, Scope, ident};
use petiole_prefix::{Family, Prefix};

use crate::desired::{self, Configured, Facts, GateState, Kind, Proof, Reason};
use crate::effect::Effect;
use crate::event::Event;
use crate::health::{Gate, Verdict};
use crate::node::Node;
use crate::policy;

impl Node {
    /// From facts to announcements and to what the kernel should hold.
    pub(crate) fn announce(&mut self) {
        let facts = Facts {
            blocks: self.owned.iter().copied().collect(),
            source: self.settings.ipam.source,
            unexported: self.unexported(),
            borrowed: self.borrowed(),
            addresses: &self.settings.node.addresses,
            configured: self
                .settings
                .announce
                .iter()
                .zip(&self.gates)
                .map(|(announce, gate)| Configured { announce, gate: gate_state(gate.as_ref()) })
                .collect(),
            drained: self.is_drained(),
            loopback: self.topology.on_loopback().map(|a| (a.addr, a.len)).collect(),
        };
        let filter = |prefix: &Prefix, ifname: Option<&str>| self.filters.judge(prefix, ifname);
        let next = desired::decide(&facts, filter, |kind, prefix| self.proof(kind, prefix));

        let mut withdrawn = BTreeSet::new();
        let mut events = Vec::new();
        for (prefix, (old, _)) in self.decisions.iter().filter(|(_, (old, _))| old.announced()) {
            match next.get(prefix) {
                Some(new) if new.announced() => continue,
                Some(new) => events.push(Event::Withdrawn { prefix: *prefix, reason: new.reason.to_string() }),
                None => events
                    .push(Event::Withdrawn { prefix: *prefix, reason: format!("this {} is no longer here", old.kind) }),
            }
            withdrawn.insert(*prefix);
        }
        let mut decisions = BTreeMap::new();
        for (prefix, new) in next {
            let old = self.decisions.get(&prefix);
            if new.announced() && !old.is_some_and(|(old, _)| old.announced()) {
                events.push(Event::Announced { prefix, reason: new.reason.to_string() });
            }
            let since = old
                .filter(|(old, _)| old.reason.code() == new.reason.code())
                .map_or(self.now.wall, |(_, since)| *since);
            decisions.insert(prefix, (new, since));
        }
        self.decisions = decisions;
        self.effects.extend(events.into_iter().map(Effect::Log));

        // Withdraw first: the speaker's bytes are queued before any plan that follows.
        self.originate();
        self.want_in_kernel(&withdrawn);
        let terrain = self.terrain();
        let changes = self.fib.set_terrain(terrain);
        self.dataplane.update_learned(changes);
    }

    fn originate(&mut self) {
        let mut set = BTreeMap::new();
        for (prefix, (decision, _)) in &self.decisions {
            let Some(ownership) = &decision.ownership else { continue };
            match Originated::new(*prefix, ownership.clone()) {
                Ok(originated) => {
                    set.insert(*prefix, originated.with_communities(self.communities_of(prefix)));
                }
                Err(error) => {
                    self.guard_stops += 1;
                    self.effects.push_back(Effect::Log(Event::GuardStopped(error.to_string())));
                }
            }
        }
        if let Some(speaker) = &mut self.speaker {
            speaker.set_originated(set, self.now.mono);
        }
    }

    /// What a prefix is announced with, but for what belongs to single leaves.
    fn communities_of(&self, prefix: &Prefix) -> Arc<OutCommunities> {
        let general = self.settings.bgp.iter().flat_map(|b| &b.communities);
        let own = self.settings.announce.iter().filter(|a| a.prefix == *prefix).flat_map(|a| &a.communities);
        // RFC 8326 section 4.1.
        let drain = self.is_draining().then_some(&Community::Standard(GRACEFUL_SHUTDOWN));
        Arc::new(policy::communities(general.chain(own).chain(drain)))
    }

    fn want_in_kernel(&mut self, withdrawn: &BTreeSet<Prefix>) {
        let mut addresses = BTreeSet::new();
        for prefix in &self.settings.node.addresses {
            addresses.insert(AddressWant {
                addr: prefix.addr(),
                len: prefix.len(),
                scope: Scope::Global,
                deprecated: false,
            });
        }
        for announce in self.settings.announce.iter().filter(|a| a.kind == AnnounceKind::Anycast) {
            // Local for this node whatever the gate says: what it guards is only whether others are told. Link scope, or
            // deprecated, so that it never becomes the source of the node's own packets.
            let (addr, len) = (announce.prefix.addr(), announce.prefix.len());
            let v4 = announce.prefix.family() == Family::V4;
            addresses.insert(AddressWant {
                addr,
                len,
                scope: if v4 { Scope::Link } else { Scope::Global },
                deprecated: !v4,
            });
        }
        self.dataplane.set_addresses(addresses);

        let withdrawn_blocks =
            withdrawn.iter().filter(|p| !self.settings.announce.iter().any(|a| a.prefix == **p)).copied().collect();
        let blocks = self.order.keep(&self.owned, &withdrawn_blocks, self.now.mono);
        let mut routes = BTreeMap::new();
        for block in blocks {
            if self.owned.contains(&block) || self.dataplane.state(&block_key(block)) == RouteState::InKernel {
                routes.insert(block_key(block), block_route());
            }
        }
        for announce in self.settings.announce.iter().filter(|a| a.kind == AnnounceKind::ServiceRange) {
            let source = self.source(announce.prefix.family());
            routes.insert(range_key(announce.prefix), range_route(source));
        }
        routes.extend(self.pod_routes());
        self.dataplane.set_static_routes(routes);
    }

    /// What the kernel holds of what makes an announcement true.
    fn proof(&self, kind: Kind, prefix: &Prefix) -> Proof {
        if !self.dataplane.is_mirrored() {
            return Proof::Missing("its state is being read".to_owned());
        }
        match kind {
            Kind::Block => self.route_proof(&block_key(*prefix)),
            Kind::Borrowed => self.route_proof(&pod_key(*prefix)),
            Kind::ServiceRange => self.route_proof(&range_key(*prefix)),
            Kind::Address | Kind::Anycast => {
                if self.topology.on_loopback().any(|a| a.addr == prefix.addr()) {
                    Proof::InKernel
                } else {
                    Proof::Missing(format!("{} is not on lo", prefix.addr()))
                }
            }
            // It was found there.
            Kind::Loopback => Proof::InKernel,
        }
    }

    /// Whether the kernel holds something that the last verdict missed there.
    pub(crate) fn is_proven_meanwhile(&self) -> bool {
        let mut missing = self.decisions.iter().filter(|(_, (d, _))| matches!(d.reason, Reason::NotInKernel(_)));
        missing.any(|(prefix, (decision, _))| self.proof(decision.kind, prefix) == Proof::InKernel)
    }

    fn route_proof(&self, key: &RouteKey) -> Proof {
        match self.dataplane.state(key) {
            RouteState::InKernel => Proof::InKernel,
            other => Proof::Missing(other.to_string()),
        }
    }

    /// The BGP identifier: as configured, else the first global IPv4 on `lo`, else of an uplink.
    pub(crate) fn router_id(&self) -> Option<Ipv4Addr> {
        self.settings.node.router_id.or_else(|| self.topology.default_router_id())
    }

    /// The preferred source of learned routes of a family, if this node has it.
    pub(crate) fn source(&self, family: Family) -> Option<IpAddr> {
        let wanted = match family {
            Family::V4 => self.router_id().map(IpAddr::V4),
            Family::V6 => self.settings.node.addresses.iter().map(Prefix::addr).find(|a| Family::of(*a) == Family::V6),
        };
        wanted.filter(|addr| self.topology.has(*addr))
    }
}

fn gate_state(gate: Option<&Gate>) -> GateState {
    match gate {
        None => GateState::Ungated,
        Some(gate) if gate.verdict() == Verdict::Healthy => GateState::Open(gate.words()),
        Some(gate) => GateState::Closed(gate.words()),
    }
}

/// Where a block's blackhole stands: packets for its free addresses end here instead of bouncing off the leaf.
pub(crate) const fn block_key(block: Prefix) -> RouteKey {
    RouteKey { prefix: block, table: ident::TABLE_MAIN, metric: ident::METRIC_BLOCK }
}

/// Where the route to a pod stands.
pub(crate) const fn pod_key(address: Prefix) -> RouteKey {
    RouteKey { prefix: address, table: ident::TABLE_MAIN, metric: ident::METRIC_POD }
}

fn block_route() -> Route {
    Route { kind: RouteKind::Blackhole, protocol: ident::ROUTE_PROTOCOL, prefsrc: None, hops: Vec::new() }
}

/// Where a service range stands: a local route, so that every address of it is this node's, and the service proxy's rules see
/// the packets. A blackhole in the main table would do the opposite.
pub(crate) const fn range_key(range: Prefix) -> RouteKey {
    RouteKey { prefix: range, table: ident::TABLE_LOCAL, metric: ident::METRIC_RANGE }
}

/// With the node's own address as the source: the kernel would otherwise take the service's own for connections that start
/// here, and the pod that the proxy sends them to would answer to any ingress node.
const fn range_route(source: Option<IpAddr>) -> Route {
    // No hop means `lo`, as a dump has it.
    Route { kind: RouteKind::Local, protocol: ident::ROUTE_PROTOCOL, prefsrc: source, hops: Vec::new() }
}
