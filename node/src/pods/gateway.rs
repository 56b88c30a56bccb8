//! Gateways of bridges: an address of the pool that a bridge has, so that the pods behind it find their router in their own
//! subnet.
//!
//! The gateway is an endpoint as a pod's is, of its own bridge, begun by the first pod behind it: so it is held in the store,
//! recorded, and found by the repair as any other. It goes when the bridge is gone, or with the boot.

use std::collections::BTreeSet;
use std::net::IpAddr;

use petiole_prefix::{Family, Prefix};
use serde::{Deserialize, Serialize};

use super::{
    Ask, Asker, Attach, Attachment, CniFailure, CniFault, CniReply, Endpoint, PodFacts, Pods, QUEUE_PATIENCE, Stage,
};

/// What stands for network and container: no name that the specification allows.
const NONE: &str = "-gateway";

/// An address that a bridge has in a pool, so that the pods behind it find a router there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gateway {
    /// The address.
    pub address: IpAddr,
    /// The length of the pool's prefix: the subnet that bridge and pods take for their own.
    pub length: u8,
}

impl Gateway {
    /// The one with this address, in the pool that has it.
    fn in_pools(address: IpAddr, pools: &[(String, Prefix)]) -> Option<Self> {
        let (_, pool) = pools.iter().find(|(_, cidr)| cidr.contains_addr(address))?;
        Some(Self { address, length: pool.len() })
    }

    /// The subnet.
    fn net(self) -> Prefix {
        Prefix::truncated(self.address, self.length).unwrap_or_else(|_| Prefix::host(self.address))
    }

    /// Whether an address of the subnet can be a host's: not the first, which is all routers' for IPv6, and not the last of IPv4.
    fn has_host(self, addr: IpAddr) -> bool {
        let (net, family) = (self.net(), Family::of(self.address));
        let last = net.subnet(family.max_len(), net.subnet_count(family.max_len()).saturating_sub(1));
        addr != net.addr() && (family == Family::V6 || last.is_none_or(|last| last.addr() != addr))
    }

    /// The two halves of the subnet, first the one without the gateway, which the kernel takes for no neighbour after the other.
    /// A pod that has routes for them through its gateway takes nobody else in the subnet for a neighbour.
    #[must_use]
    pub fn halves(self) -> Vec<Prefix> {
        let net = self.net();
        let mut halves: Vec<Prefix> = (0..2).filter_map(|n| net.subnet(net.len().checked_add(1)?, n)).collect();
        halves.sort_by_key(|half| half.contains_addr(self.address));
        halves
    }
}

/// A bridge's gateway, as the key of an endpoint.
fn key_of(bridge: &str) -> Attachment {
    Attachment { container: NONE.to_owned(), interface: bridge.to_owned() }
}

impl Attach {
    /// Whether it is a bridge's gateway.
    pub(super) fn is_gateway(&self) -> bool {
        self.network.starts_with(NONE)
    }

    /// Whether packets for it come by a route of this agent's.
    pub(super) fn is_routed(&self) -> bool {
        !self.addresses_only || self.bridge.is_some()
    }

    /// Who holds a gateway in the store: the network is followed by the node's name.
    pub(super) fn gateway_handle(&self) -> Option<String> {
        let node = self.network.strip_prefix(NONE)?;
        Some(format!("petiole-gateway{node}.{}", self.attachment.interface))
    }

    /// The gateway of a bridge: in the pools that the first pod behind it may be in.
    fn gateway(&self, bridge: &str, facts: &PodFacts) -> Self {
        Self {
            network: format!("{NONE}-{}", facts.node),
            attachment: key_of(bridge),
            netns: None,
            addresses_only: true,
            bridge: None,
            pod: None,
            ips: Vec::new(),
            mac: None,
            mtu: None,
            pools: self.pools.clone(),
        }
    }
}

impl Ask {
    /// Whom it is about, where it waited for this one: a pod waits for its gateway, too.
    pub(super) fn about(&self, waited_for: &Attachment) -> Attachment {
        match self {
            Self::Add(attach) => attach.attachment.clone(),
            Self::Del | Self::Check(_) => waited_for.clone(),
        }
    }
}

impl Endpoint {
    /// The interface of the host that leads to it.
    pub(super) fn way(&self) -> &str {
        self.attach.bridge.as_deref().unwrap_or(&self.host)
    }
}

impl Pods {
    /// Begins with a pod, once its bridge has a gateway if it needs one.
    pub(super) fn begin_behind_gateway(&mut self, key: Attachment, asker: Asker, attach: Attach) {
        let Some(bridge) = attach.bridge.clone() else { return self.begin(key, asker, attach) };
        let gateway = key_of(&bridge);
        if !self.works.contains_key(&gateway) {
            self.begin(gateway.clone(), Asker::Nobody, attach.gateway(&bridge, &self.facts));
        }
        match self.works.get_mut(&gateway) {
            Some(work) if work.stage == Stage::Live => self.begin(key, asker, attach),
            Some(work) => work.waiting.push_back((asker, Ask::Add(Box::new(attach)), self.now + QUEUE_PATIENCE)),
            None => {
                let words = format!("bridge {bridge} cannot have a gateway now; try again");
                self.answer(asker, Err(CniFailure::new(CniFault::TryAgain, words)));
            }
        }
    }

    /// Says where the routers of an endpoint with new addresses are, and of a gateway in which subnets. Otherwise it fails, or
    /// without a failure has to begin again, with other addresses.
    pub(super) fn place_behind_gateway(&mut self, key: &Attachment) -> Result<(), Option<CniFailure>> {
        let Some(work) = self.works.get(key) else { return Ok(()) };
        let again = |words: String| Some(CniFailure::new(CniFault::TryAgain, words));
        let attach = &work.endpoint.attach;
        let of = |addr: &IpAddr| -> Result<Gateway, Option<CniFailure>> {
            let Some(bridge) = attach.bridge.as_ref() else {
                return Gateway::in_pools(*addr, &self.facts.pools)
                    .ok_or_else(|| again(format!("{addr} is in no pool any more; try again")));
            };
            let behind = self.works.get(&key_of(bridge)).map_or(&[][..], |w| w.endpoint.gateways.as_slice());
            let Some(gateway) = behind.iter().find(|g| Family::of(g.address) == Family::of(*addr)) else {
                return Err(again(format!(
                    "bridge {bridge} has no gateway of {}: its first pod had no address of it; delete the bridge once no pod is \
                     on it, or name one with another \"bridge\"",
                    Family::of(*addr)
                )));
            };
            if !gateway.net().contains_addr(*addr) {
                let words = format!(
                    "{addr} is not of {}, and bridge {bridge} has its gateway {} there: a bridge has one pool of each family; name \
                     it in \"ipam.pools\", and for another pool another \"bridge\"",
                    gateway.net(),
                    gateway.address
                );
                return Err(Some(CniFailure::new(CniFault::Exhausted, words)));
            }
            Ok(*gateway)
        };
        if attach.bridge.is_none() && !attach.is_gateway() {
            return Ok(());
        }
        let gateways = work.endpoint.addresses.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        let pairs = work.endpoint.addresses.iter().zip(&gateways);
        let edge = pairs.filter(|(addr, gateway)| !gateway.has_host(**addr)).map(|(addr, _)| *addr).next();
        let retried = self.retried.remove(key);
        let Some(work) = self.works.get_mut(key) else { return Ok(()) };
        let Some(edge) = edge else {
            work.endpoint.gateways = gateways;
            return Ok(());
        };
        if retried {
            return Err(again(format!(
                "{edge} is the first or the last of its pool, and no host's behind a bridge: reserve it ([ipam] reserved, or an \
                 IPReservation)"
            )));
        }
        // An address that was given back is the last to be given again.
        self.retried.insert(key.clone());
        if !work.endpoint.attach.is_gateway() {
            let ask = Ask::Add(Box::new(work.endpoint.attach.clone()));
            work.waiting.push_front((work.asker, ask, self.now + QUEUE_PATIENCE));
        }
        Err(None)
    }

    /// Tells the pods that wait for a gateway that there will be none.
    pub(super) fn refuse_behind_gateway(&mut self, key: &Attachment, outcome: &CniReply) {
        let Some(work) = self.works.get_mut(key).filter(|w| w.endpoint.attach.is_gateway()) else { return };
        let Err(CniFailure { kind, words }) = outcome else { return };
        let failure = CniFailure::new(*kind, format!("no gateway for bridge {}: {words}", key.interface));
        for (asker, ..) in std::mem::take(&mut work.waiting) {
            self.answer(asker, Err(failure.clone()));
        }
    }

    /// The gateways that nothing needs any more: their bridge is gone, twice in a row or at the start, and no pod is behind it.
    pub(super) fn gateways_of_no_bridge(&mut self, links: &BTreeSet<&str>, first: bool) -> Vec<Attachment> {
        let used: BTreeSet<String> = self.works.values().filter_map(|w| w.endpoint.attach.bridge.clone()).collect();
        let mut gone = Vec::new();
        for (key, work) in &mut self.works {
            if work.stage == Stage::Live && work.endpoint.attach.is_gateway() {
                let missing = !links.contains(key.interface.as_str()) && !used.contains(&key.interface);
                if missing && (first || work.missed) {
                    gone.push(key.clone());
                }
                work.missed = missing;
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests;
