//! How pods meet the rest of the node: the allocator, the kernel's routes, the store's watch.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use petiole_config::{BlockSource, Role, Settings};
use petiole_dataplane::{Hop, LinkIndex, Route, RouteKey, RouteKind, RouteState, ident};
use petiole_ipam::{IpamSettings, PoolSpec, Problem};
use petiole_prefix::{Family, Prefix};
use petiole_store::watch::WatchPhase;

use super::{CniId, CniRequest, Endpoint, FoundEndpoints, MARK, PodAction, PodFacts};
use crate::announce::pod_key;
use crate::desired::Reason;
use crate::effect::Effect;
use crate::node::Node;
use crate::uplink::Topology;

/// Where no uplink tells: Ethernet's.
const MTU: u32 = 1500;

impl Node {
    pub(crate) fn handle_cni(&mut self, id: CniId, request: CniRequest) {
        self.pods.turn(self.now);
        self.pods.set_facts(self.pod_facts());
        self.pods.handle_request(id, request);
    }

    pub(crate) fn load_endpoints(&mut self, found: FoundEndpoints) {
        self.pods.turn(self.now);
        self.pods.load(&self.boot_id, found);
    }

    /// What pods want of the others, and what the others have for them.
    pub(crate) fn settle_pods(&mut self) {
        self.pods.turn(self.now);
        let routing = self.pods.routing();
        for endpoint in routing {
            if let Some(result) = self.routes_of(&endpoint) {
                self.pods.handle_routed(&endpoint.attach.attachment, result);
            }
        }
        for endpoint in self.pods.announcing() {
            if self.is_told_of(&endpoint) {
                self.pods.handle_announced(&endpoint.attach.attachment, true);
            }
        }
        if self.dataplane.is_mirrored() && self.pods.wants_kernel() {
            let links: BTreeSet<&str> = self.dataplane.links().map(|l| l.name.as_str()).collect();
            self.pods.mend_kernel(&links);
        }
        if self.watch.state().phase == WatchPhase::InSync && self.pods.wants_store() {
            let marked = self.ipam.holders().filter(|(_, held)| held.attribute(MARK.0) == Some(MARK.1));
            let handles = marked.filter_map(|(_, held)| held.handle().map(str::to_owned)).collect();
            self.pods.mend_store(handles);
        }
        loop {
            while let Some(action) = self.pods.poll_action() {
                let now = self.now;
                match action {
                    PodAction::Assign(id, request) => self.ipam.handle_assign(id, request, now.mono, now.wall),
                    PodAction::Release(id, target) => self.ipam.handle_release(id, target, now.mono, now.wall),
                    PodAction::Effect(effect) => self.push(*effect),
                }
            }
            self.drain_ipam();
            // What needs no transaction is answered at once, and may ask for more.
            if !self.drain_replies() {
                break;
            }
        }
        if self.pods.poll_changed() {
            self.mark_dirty();
        }
    }

    /// The routes of all pods, as far as their interfaces are there.
    pub(crate) fn pod_routes(&self) -> BTreeMap<RouteKey, Route> {
        let links: BTreeMap<&str, LinkIndex> = self.dataplane.links().map(|l| (l.name.as_str(), l.index)).collect();
        let reachable = self.pods.reachable().filter_map(|e| Some((e, *links.get(e.way())?)));
        reachable
            .flat_map(|(e, link)| e.addresses.iter().map(move |a| (pod_key(Prefix::host(*a)), pod_route(link))))
            .collect()
    }

    /// Whether the kernel holds the routes of an endpoint; `None` while it cannot be said.
    fn routes_of(&self, endpoint: &Endpoint) -> Option<Result<(), String>> {
        let mut all = true;
        for addr in &endpoint.addresses {
            match self.dataplane.state(&pod_key(Prefix::host(*addr))) {
                RouteState::InKernel => {}
                state @ (RouteState::Failed { .. } | RouteState::HeldByForeign { .. }) => {
                    return Some(Err(state.to_string()));
                }
                _ => all = false,
            }
        }
        all.then_some(Ok(()))
    }

    /// Whether the leaves know all they have to so that packets come to an endpoint.
    fn is_told_of(&self, endpoint: &Endpoint) -> bool {
        let in_own_block = |addr: &IpAddr| self.owned.iter().any(|block| block.contains_addr(*addr));
        let mut others = endpoint.addresses.iter().filter(|a| !in_own_block(a)).peekable();
        if others.peek().is_none() {
            return true;
        }
        let borrowed = self.borrowed();
        let mut borrowed_here = others.filter(|a| borrowed.contains_key(*a));
        borrowed_here.all(|addr| {
            let prefix = Prefix::host(*addr);
            match self.decisions.get(&prefix).map(|(decision, _)| decision) {
                None => false,
                Some(decision) if decision.announced() => self.speaker.as_ref().is_none_or(|s| s.is_told(&prefix)),
                // Only this reason passes by itself.
                Some(decision) => !matches!(decision.reason, Reason::NotInKernel(_)),
            }
        })
    }

    /// The addresses that this node holds in blocks that are not its own, with the block of each; until the store has spoken,
    /// also those of the last known good state.
    pub(crate) fn borrowed(&self) -> BTreeMap<IpAddr, Prefix> {
        let mut borrowed = if self.store_seen { BTreeMap::new() } else { self.found_borrowed.clone() };
        borrowed.extend(self.ipam.borrowed());
        borrowed
    }

    /// The blocks that are not to be announced, nor any part of them; until the store has spoken, also those of the last known
    /// good state.
    pub(crate) fn unexported(&self) -> BTreeSet<Prefix> {
        let mut unexported = if self.store_seen { BTreeSet::new() } else { self.found_unexported.clone() };
        unexported.extend(self.ipam.unexported());
        unexported
    }

    pub(crate) fn pod_facts(&self) -> PodFacts {
        let pools = self.ipam.pools();
        let usable = pools.iter().filter(|p| p.refused.is_none()).map(|p| p.cidr.family());
        let families: BTreeSet<Family> = usable.chain(self.owned.iter().map(Prefix::family)).collect();
        let uplinks = self.uplinks.values().flatten().filter_map(|u| self.topology.link_named(&u.name));
        PodFacts {
            node: self.settings.node.name.clone(),
            refusal: self.pod_refusal(&families),
            store: self.watch.state().last_error.clone(),
            families: families.into_iter().collect(),
            pools: pools.iter().map(|p| (p.name.clone(), p.cidr)).collect(),
            mtu: uplinks.map(|l| l.mtu).min().unwrap_or(MTU),
        }
    }

    /// Why no ADD would be served.
    fn pod_refusal(&self, families: &BTreeSet<Family>) -> Option<String> {
        if !self.settings.node.roles.contains(&Role::Worker) {
            return Some("this node is no worker: add \"worker\" to [node] roles".to_owned());
        }
        if let Some(words) = self.range_refusal() {
            return Some(words);
        }
        if self.watch.state().phase != WatchPhase::InSync {
            let why = self.troubles.get("store").cloned();
            return Some(why.unwrap_or_else(|| "the store is being read".to_owned()));
        }
        let pools = self.ipam.pools();
        let is_usable = |block: &Prefix| pools.iter().any(|p| p.refused.is_none() && p.cidr.contains(block));
        let free = self.ipam.blocks().values().any(|b| b.free > 0 && is_usable(&b.cidr));
        let stands = |p: &&Problem| {
            matches!(
                p,
                Problem::NoPool
                    | Problem::NoPoolForNode { .. }
                    | Problem::PoolExhausted { .. }
                    | Problem::ClaimsForbidden { .. }
            )
        };
        let problems = self.ipam.problems();
        let no_family = families.is_empty();
        if let Some(words) = families.iter().find_map(|family| self.ipam.nothing_left(*family)) {
            return Some(words);
        }
        match problems.iter().find(stands) {
            Some(problem) if !free || no_family => Some(problem.to_string()),
            _ if no_family => Some(Problem::NoPool.to_string()),
            _ => None,
        }
    }

    /// Links and addresses, but for pods': routing has nothing to learn from those.
    pub(crate) fn read_topology(&self) -> Topology {
        let pods: BTreeSet<LinkIndex> =
            self.dataplane.links().filter(|l| ident::is_own_interface(&l.name)).map(|l| l.index).collect();
        let links = self.dataplane.links().filter(|l| !pods.contains(&l.index));
        let addresses = self.dataplane.addresses().filter(|a| !pods.contains(&a.link));
        Topology::new(links.cloned(), addresses.cloned())
    }

    /// Hands out the allocator's answers; whether there were any.
    pub(crate) fn drain_replies(&mut self) -> bool {
        let mut any = false;
        while let Some((request, reply)) = self.ipam.poll_reply() {
            any = true;
            if reply.is_err() {
                // Whether it is in vain to try again is a matter of what stands in the way now.
                self.pods.set_facts(self.pod_facts());
            }
            if let Some(reply) = self.pods.handle_reply(request, reply) {
                self.reply_ipam(request, reply);
            }
        }
        any
    }

    pub(crate) fn drain_ipam(&mut self) {
        while let Some((txn_id, txn)) = self.ipam.poll_txn() {
            let id = self.effect_id();
            self.note_txn(id, txn_id);
            self.push(Effect::Txn { id, txn });
        }
    }
}

/// What the allocator has to know of the settings.
pub(crate) fn ipam_settings(settings: &Settings) -> IpamSettings {
    let Settings { node, ipam, .. } = settings;
    IpamSettings {
        node: node.name.clone(),
        want_block: node.roles.contains(&Role::Worker),
        pools: ipam.pools.iter().map(|p| PoolSpec { cidr: p.cidr, block_size: p.block_size }).collect(),
        only_these: ipam.source == BlockSource::Node,
        selectors: ipam.pools.iter().filter_map(|p| Some((p.cidr, p.node_selector.clone()?))).collect(),
        labels: node.labels.clone(),
        reserved: ipam.reserved.clone(),
        grace_time: ipam.grace_time,
        taken: BTreeMap::new(),
    }
}

fn pod_route(link: LinkIndex) -> Route {
    Route {
        kind: RouteKind::Unicast,
        protocol: ident::ROUTE_PROTOCOL,
        prefsrc: None,
        hops: vec![Hop { gateway: None, link }],
    }
}
