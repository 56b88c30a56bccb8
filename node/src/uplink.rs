//! Uplinks: which interface leads to which leaf, and with which addresses of ours.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use petiole_dataplane::{Address, Link, LinkIndex, Scope};
use petiole_prefix::Prefix;

/// The loopback's interface index, the same in every network namespace.
pub const LOOPBACK: LinkIndex = 1;

/// The way to one leaf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uplink {
    /// The interface.
    pub link: LinkIndex,
    /// Its name.
    pub name: String,
    /// Up, with carrier.
    pub up: bool,
    /// The leaf's address.
    pub remote: IpAddr,
    /// The interface's index where `remote` is link-local, else 0.
    pub scope_id: u32,
    /// Our address on the leaf's subnet, or our link-local one.
    pub local: IpAddr,
    /// Our IPv4 address on the interface, for next hops.
    pub v4: Option<Ipv4Addr>,
    /// Our global IPv6 address on the interface, for next hops; the link-local one where the leaf is known by no other.
    pub v6: Option<Ipv6Addr>,
}

/// Why there is no way to a leaf.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoUplink {
    /// The address is one of this node's.
    #[error("peer {0} is an address of this node: give the leaf's end of the link in [[bgp.peer]] address")]
    OurOwn(IpAddr),
    /// No interface has an address on the peer's subnet.
    #[error(
        "peer {0} is on no subnet of this node: give an uplink an address beside it, or correct [[bgp.peer]] address"
    )]
    NotConnected(IpAddr),
    /// There is no such interface.
    #[error("there is no interface {0}: correct [[bgp.peer]] interface, or create it")]
    NoInterface(String),
    /// The interface has no link-local address that can be used.
    #[error(
        "interface {name} has no IPv6 link-local address, which its unnumbered session runs over: {}",
        why.as_deref().unwrap_or("the kernel is still making one, or another machine has the same (ip -6 address show)")
    )]
    NoLinkLocal {
        /// The interface.
        name: String,
        /// Why, where its settings tell, and what to do.
        why: Option<String>,
    },
    /// No router is heard on the interface.
    #[error("no neighbour on {name}: {why}")]
    NoNeighbour {
        /// The interface.
        name: String,
        /// What was heard, and what to do.
        why: String,
    },
}

/// The addresses and links of the node, as far as routing needs them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topology {
    links: BTreeMap<LinkIndex, Link>,
    addresses: Vec<Address>,
}

impl Topology {
    /// Takes what the kernel shows.
    pub fn new(links: impl IntoIterator<Item = Link>, addresses: impl IntoIterator<Item = Address>) -> Self {
        let mut addresses: Vec<Address> = addresses.into_iter().collect();
        addresses.sort();
        Self { links: links.into_iter().map(|l| (l.index, l)).collect(), addresses }
    }

    /// The way to a leaf.
    ///
    /// # Errors
    /// When the address is ours, or on no subnet of ours.
    pub fn uplink(&self, peer: IpAddr) -> Result<Uplink, NoUplink> {
        if self.addresses.iter().any(|a| a.addr == peer) {
            return Err(NoUplink::OurOwn(peer));
        }
        let ours = self
            .addresses
            .iter()
            .filter(|a| a.link != LOOPBACK && subnet(a).is_some_and(|net| net.contains_addr(peer)))
            .max_by_key(|a| a.len)
            .ok_or(NoUplink::NotConnected(peer))?;
        let on_link =
            || self.addresses.iter().filter(|a| a.link == ours.link && a.scope == Scope::Global && !a.deprecated);
        let v4 = match ours.addr {
            IpAddr::V4(a) => Some(a),
            IpAddr::V6(_) => on_link().find_map(|a| v4(a.addr)),
        };
        let v6 = match ours.addr {
            IpAddr::V6(a) => Some(a),
            IpAddr::V4(_) => on_link().find_map(|a| v6(a.addr)),
        };
        let link = self.links.get(&ours.link);
        Ok(Uplink {
            link: ours.link,
            name: link.map_or_else(|| format!("#{}", ours.link), |l| l.name.clone()),
            up: link.is_some_and(|l| l.up && l.carrier),
            remote: peer,
            scope_id: 0,
            local: ours.addr,
            v4,
            v6,
        })
    }

    /// The way to the leaf that is heard on an interface, over link-local addresses (RFC 5549 section 6, RFC 4291 section 2.5.6).
    ///
    /// # Errors
    /// When the interface or its link-local address is missing, or no leaf was heard.
    pub fn uplink_on(&self, name: &str, neighbour: Result<Ipv6Addr, String>) -> Result<Uplink, NoUplink> {
        let link = self.link_named(name).ok_or_else(|| NoUplink::NoInterface(name.to_owned()))?;
        let up = link.up && link.carrier;
        let local = self.link_local(link.index).ok_or_else(|| match up {
            true => NoUplink::NoLinkLocal { name: name.to_owned(), why: None },
            // The kernel takes the address away with the link.
            false => NoUplink::NoNeighbour { name: name.to_owned(), why: "the link is down".to_owned() },
        })?;
        let remote = neighbour.map_err(|why| NoUplink::NoNeighbour { name: name.to_owned(), why })?;
        let global = |a: &&Address| a.link == link.index && a.scope == Scope::Global && !a.deprecated;
        Ok(Uplink {
            link: link.index,
            name: name.to_owned(),
            up,
            remote: IpAddr::V6(remote),
            scope_id: link.index,
            local: IpAddr::V6(local),
            v4: self.addresses.iter().filter(global).find_map(|a| v4(a.addr)),
            v6: Some(local),
        })
    }

    /// The interface of that name.
    #[must_use]
    pub fn link_named(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|l| l.name == name)
    }

    /// The link-local address of an interface, where it has one that can be used.
    #[must_use]
    pub fn link_local(&self, link: LinkIndex) -> Option<Ipv6Addr> {
        let on_link = self.addresses.iter().filter(|a| a.link == link && !a.deprecated);
        on_link.filter_map(|a| v6(a.addr)).find(Ipv6Addr::is_unicast_link_local)
    }

    /// Whether the address is on any interface.
    #[must_use]
    pub fn has(&self, addr: IpAddr) -> bool {
        self.addresses.iter().any(|a| a.addr == addr)
    }

    /// The addresses on `lo`, loopback's own included.
    pub fn on_loopback(&self) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(|a| a.link == LOOPBACK)
    }

    /// Subnets that are connected now: of addresses on interfaces that are up, `lo` excepted.
    pub fn connected(&self) -> impl Iterator<Item = (Prefix, LinkIndex)> + '_ {
        self.addresses
            .iter()
            .filter(|a| a.link != LOOPBACK && self.links.get(&a.link).is_some_and(|l| l.up && l.carrier))
            .filter_map(|a| subnet(a).map(|net| (net, a.link)))
    }

    /// The name of an interface; its number where it is unknown.
    #[must_use]
    pub fn link_name(&self, link: LinkIndex) -> String {
        self.links.get(&link).map_or_else(|| format!("#{link}"), |l| l.name.clone())
    }

    /// The BGP identifier where none is configured: the first global IPv4 on `lo`, else of an uplink.
    #[must_use]
    pub fn default_router_id(&self) -> Option<Ipv4Addr> {
        let global = |on_lo: bool| {
            self.addresses
                .iter()
                .filter(move |a| (a.link == LOOPBACK) == on_lo && a.scope == Scope::Global)
                .find_map(|a| v4(a.addr).filter(|a| !a.is_loopback() && !a.is_link_local()))
        };
        global(true).or_else(|| global(false))
    }
}

fn subnet(address: &Address) -> Option<Prefix> {
    Prefix::truncated(address.addr, address.len).ok()
}

const fn v4(addr: IpAddr) -> Option<Ipv4Addr> {
    match addr {
        IpAddr::V4(a) => Some(a),
        IpAddr::V6(_) => None,
    }
}

const fn v6(addr: IpAddr) -> Option<Ipv6Addr> {
    match addr {
        IpAddr::V6(a) => Some(a),
        IpAddr::V4(_) => None,
    }
}

#[cfg(test)]
mod tests;
