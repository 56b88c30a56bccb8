//! Unnumbered links: who is at the other end, found from router advertisements (RFC 4861).
//!
//! A leaf whose links have no addresses is found by the advertisements that it sends from its link-local address, and finds
//! this node by ours, which say at the same time that we are nobody's default router. [`Neighbours`] decides when to ask, when to
//! advertise, and who the neighbour is; the driver only sends and hears.

mod link;
mod packet;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv6Addr;
use std::time::Duration;

use petiole_dataplane::LinkIndex;
use serde::{Deserialize, Serialize};

use crate::uplink::Topology;
use link::Discovery;
pub use packet::{ALL_NODES, ALL_ROUTERS, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION};

/// What the driver of router discovery is to do, in this order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiscoveryAction {
    /// Hear solicitations and advertisements on this interface, and look at its settings.
    Listen {
        /// Its name.
        interface: String,
        /// Its index.
        link: LinkIndex,
    },
    /// Stop that.
    Close {
        /// The interface's index.
        link: LinkIndex,
    },
    /// Send an ICMPv6 message with hop limit 255; the kernel fills in source and checksum.
    Send {
        /// By this interface.
        link: LinkIndex,
        /// To whom.
        to: Ipv6Addr,
        /// The message.
        bytes: Vec<u8>,
    },
}

/// What the driver of router discovery found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiscoveryEvent {
    /// A solicitation or an advertisement came, with hop limit 255 and a right checksum.
    Heard {
        /// On which interface.
        link: LinkIndex,
        /// From whom.
        from: Ipv6Addr,
        /// The ICMPv6 message.
        bytes: Vec<u8>,
    },
    /// The interface's settings, at first and when they change.
    Sysctls {
        /// The interface's index.
        link: LinkIndex,
        /// Its settings.
        sysctls: LinkSysctls,
    },
    /// Nothing can be heard or sent; empty words when that is over.
    Trouble {
        /// The interface's index.
        link: LinkIndex,
        /// In words.
        what: String,
    },
}

/// `/proc/sys/net/ipv6/conf/IFACE/`, as far as it can stand in the way; `None` for what can't be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LinkSysctls {
    /// 1: no IPv6 at all.
    pub disable_ipv6: Option<i32>,
    /// 1: no link-local address by itself.
    pub addr_gen_mode: Option<i32>,
    /// 1: advertisements are heeded by hosts, 2: by routers too.
    pub accept_ra: Option<i32>,
    /// Not 0: a router.
    pub forwarding: Option<i32>,
}

impl LinkSysctls {
    /// Whether the kernel makes default routes and addresses of what routers advertise.
    const fn heeds_routers(&self) -> bool {
        match (self.accept_ra, self.forwarding) {
            (Some(2), _) => true,
            (Some(1), forwarding) => matches!(forwarding, Some(0) | None),
            _ => false,
        }
    }
}

/// The neighbours of all unnumbered links.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    links: BTreeMap<String, Discovery>,
    actions: VecDeque<DiscoveryAction>,
    changed: bool,
}

impl Neighbours {
    /// None known yet, on these interfaces.
    pub(crate) fn new(interfaces: impl IntoIterator<Item = String>, seed: &[u8; 32]) -> Self {
        let links = interfaces.into_iter().map(|name| {
            let discovery = Discovery::new(crate::seed::derive(seed, &name));
            (name, discovery)
        });
        Self { links: links.collect(), actions: VecDeque::new(), changed: false }
    }

    /// Links or addresses changed.
    pub(crate) fn set_topology(&mut self, topology: &Topology, now: Duration) {
        for (name, discovery) in &mut self.links {
            let link = topology.link_named(name);
            let index = link.map(|l| l.index);
            if discovery.link != index {
                if let Some(link) = discovery.link {
                    self.actions.push_back(DiscoveryAction::Close { link });
                }
                if let Some(link) = index {
                    self.actions.push_back(DiscoveryAction::Listen { interface: name.clone(), link });
                }
            }
            let local = link.filter(|l| l.up && l.carrier).and_then(|l| topology.link_local(l.index));
            self.changed |= discovery.set_link(index, local, now);
        }
        self.transmit(now);
    }

    /// Takes in what the driver found.
    pub(crate) fn handle(&mut self, event: DiscoveryEvent, now: Duration) {
        let link = match &event {
            DiscoveryEvent::Heard { link, .. }
            | DiscoveryEvent::Sysctls { link, .. }
            | DiscoveryEvent::Trouble { link, .. } => *link,
        };
        let Some(discovery) = self.links.values_mut().find(|d| d.link == Some(link)) else { return };
        match event {
            DiscoveryEvent::Heard { from, bytes, .. } => {
                self.changed |= packet::decode(from, &bytes).is_ok_and(|message| discovery.heard(from, message, now));
            }
            DiscoveryEvent::Sysctls { sysctls, .. } => {
                self.changed |= std::mem::replace(&mut discovery.sysctls, sysctls) != sysctls;
            }
            DiscoveryEvent::Trouble { what, .. } => discovery.trouble = what,
        }
        self.transmit(now);
    }

    /// Whether the session with the neighbour of an interface is Established: it then is the neighbour, however long it has
    /// not advertised itself.
    pub(crate) fn set_established(&mut self, interface: &str, established: bool, now: Duration) {
        if let Some(discovery) = self.links.get_mut(interface) {
            self.changed |= discovery.set_established(established, now);
        }
        self.transmit(now);
    }

    /// Runs what is due.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        for discovery in self.links.values_mut() {
            self.changed |= discovery.handle_timeout(now);
        }
        self.transmit(now);
    }

    fn transmit(&mut self, now: Duration) {
        for discovery in self.links.values_mut() {
            let Some(link) = discovery.link else { continue };
            while let Some((to, bytes)) = discovery.poll_message(now) {
                self.actions.push_back(DiscoveryAction::Send { link, to, bytes });
            }
        }
    }

    /// The next thing for the driver.
    pub(crate) fn poll_action(&mut self) -> Option<DiscoveryAction> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.links.values().filter_map(Discovery::poll_timeout).min()
    }

    /// Whether a neighbour came, went or changed since this was asked last.
    pub(crate) fn poll_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The neighbour on an interface.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(crate) fn neighbour(&self, interface: &str) -> Result<Ipv6Addr, String> {
        let discovery = self.links.get(interface).ok_or("nobody listens there")?;
        discovery.neighbour.ok_or_else(|| discovery.why_none().to_owned())
    }

    /// Why an interface has no link-local address, as far as its settings say so.
    pub(crate) fn why_no_address(&self, interface: &str) -> Option<String> {
        let sysctls = &self.links.get(interface)?.sysctls;
        match (sysctls.disable_ipv6, sysctls.addr_gen_mode) {
            (Some(1), _) => Some(format!("IPv6 is switched off there; set net.ipv6.conf.{interface}.disable_ipv6 = 0")),
            (_, Some(1)) => {
                Some(format!("the kernel is told to make none; set net.ipv6.conf.{interface}.addr_gen_mode = 0"))
            }
            _ => None,
        }
    }

    /// What a person should know about, and can do something about.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.links.iter().flat_map(|(name, discovery)| discovery.problems(name))
    }
}

#[cfg(test)]
mod tests;
