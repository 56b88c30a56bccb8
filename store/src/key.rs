//! The keys of Calico's v3 layout that a node reads or writes, and our own.
//!
//! Layout as Project Calico's `libcalico-go/lib/backend/model` writes it for etcd v3. A key parses only from the very text
//! that it displays as, so that no two texts mean the same thing.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use petiole_prefix::{Family, Prefix};
use serde::{Deserialize, Serialize};

/// Everything of IPAM: blocks, affinities, handles and its configuration.
pub const IPAM_PREFIX: &str = "/calico/ipam/v2/";
/// The `IPPool` resources.
pub const POOLS_PREFIX: &str = "/calico/resources/v3/projectcalico.org/ippools/";
/// The `IPReservation` resources.
pub const RESERVATIONS_PREFIX: &str = "/calico/resources/v3/projectcalico.org/ipreservations/";
/// The operators' custom filters, both families.
pub const FILTERS_PREFIX: &str = "/calico/bgp/v1/global/custom_filters/";
/// What is Petiole's own.
pub const OWN_PREFIX: &str = "/petiole/v1/";
/// Nodes that an operator says are gone for good.
pub const FORGOTTEN_PREFIX: &str = "/petiole/v1/forgotten/";

const FORGOTTEN: &str = "forgotten/";
const NODE_OBJECTS: &str = "node-objects/";
const LIVES: &str = "lives/";

const BLOCKS_PREFIX: &str = "/calico/ipam/v2/assignment/";
const HOST_PREFIX: &str = "/calico/ipam/v2/host/";
const VIRTUAL_PREFIX: &str = "/calico/ipam/v2/virtual/";
const HANDLE_PREFIX: &str = "/calico/ipam/v2/handle/";
const CONFIG_KEY: &str = "/calico/ipam/v2/config";

/// Who a block can belong to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Owner {
    /// A node: `host:NAME` in a block.
    Host(String),
    /// Something that is no node, such as `virtual:load-balancer`.
    Virtual(String),
}

impl Owner {
    /// Whether this is the node of that name.
    #[must_use]
    pub fn is_host(&self, node: &str) -> bool {
        matches!(self, Self::Host(name) if name == node)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "host:{name}"),
            Self::Virtual(name) => write!(f, "virtual:{name}"),
        }
    }
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("host", name)) if is_name(name) => Ok(Self::Host(name.to_owned())),
            Some(("virtual", name)) if is_name(name) => Ok(Self::Virtual(name.to_owned())),
            _ => Err(format!("{text:?} is neither host:NAME nor virtual:NAME")),
        }
    }
}

/// A key of the store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Key {
    /// A block: who owns it and who holds its addresses.
    Block(Prefix),
    /// An owner's claim to a block.
    Affinity {
        /// Whose.
        owner: Owner,
        /// To which block.
        block: Prefix,
    },
    /// How many addresses a handle holds in which blocks.
    Handle(String),
    /// The cluster-wide IPAM configuration.
    IpamConfig,
    /// An `IPPool` resource.
    Pool(String),
    /// An `IPReservation` resource.
    Reservation(String),
    /// An operator's filter.
    CustomFilter {
        /// Of which family's announcements.
        family: Family,
        /// Filters are evaluated in the order of their names.
        name: String,
    },
    /// One of Petiole's own, after [`OWN_PREFIX`].
    Own(String),
}

/// Why a text is not a key that Petiole knows.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// It belongs to something else and is left alone.
    #[error("{0:?} is no key that Petiole reads")]
    Foreign(String),
    /// It stands where one of ours should, but cannot be one.
    #[error("key {key:?}: {wrong}")]
    Malformed {
        /// The whole key.
        key: String,
        /// What is wrong with it.
        wrong: String,
    },
}

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// [`KeyError::Foreign`] for keys of others, [`KeyError::Malformed`] for one that cannot mean anything.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let malformed = |wrong: String| KeyError::Malformed { key: text.to_owned(), wrong };
        let name = |rest: &str| {
            if is_name(rest) { Ok(rest.to_owned()) } else { Err(malformed(format!("{rest:?} is no name"))) }
        };
        if text == CONFIG_KEY {
            return Ok(Self::IpamConfig);
        }
        if let Some(rest) = text.strip_prefix(BLOCKS_PREFIX) {
            return Ok(Self::Block(block(rest).map_err(malformed)?));
        }
        for (prefix, owner) in [(HOST_PREFIX, Owner::Host as fn(String) -> Owner), (VIRTUAL_PREFIX, Owner::Virtual)] {
            let Some(rest) = text.strip_prefix(prefix) else { continue };
            let Some((who, rest)) = rest.split_once('/') else {
                // `/calico/ipam/v2/host/NAME` alone marks a host in some versions of Calico; it says nothing we need.
                return Err(KeyError::Foreign(text.to_owned()));
            };
            return Ok(Self::Affinity { owner: owner(name(who)?), block: block(rest).map_err(malformed)? });
        }
        if let Some(rest) = text.strip_prefix(HANDLE_PREFIX) {
            return Ok(Self::Handle(name(rest)?));
        }
        if let Some(rest) = text.strip_prefix(POOLS_PREFIX) {
            return Ok(Self::Pool(name(rest)?));
        }
        if let Some(rest) = text.strip_prefix(RESERVATIONS_PREFIX) {
            return Ok(Self::Reservation(name(rest)?));
        }
        if let Some(rest) = text.strip_prefix(FILTERS_PREFIX) {
            let (family, rest) = match rest.split_once('/') {
                Some(("v4", rest)) => (Family::V4, rest),
                Some(("v6", rest)) => (Family::V6, rest),
                _ => return Err(malformed(format!("{rest:?} is neither v4/NAME nor v6/NAME"))),
            };
            return Ok(Self::CustomFilter { family, name: name(rest)? });
        }
        if let Some(rest) = text.strip_prefix(OWN_PREFIX) {
            return if rest.is_empty() {
                Err(malformed("it has no name".to_owned()))
            } else {
                Ok(Self::Own(rest.to_owned()))
            };
        }
        Err(KeyError::Foreign(text.to_owned()))
    }

    /// The key that says that a node is gone for good.
    #[must_use]
    pub fn forgotten(node: &str) -> Self {
        Self::Own(format!("{FORGOTTEN}{node}"))
    }

    /// The key that each life of a node's agent writes before it relies on anything, and binds what it writes to.
    #[must_use]
    pub fn life(node: &str) -> Self {
        Self::Own(format!("{LIVES}{node}"))
    }

    /// The key by which a node says which object of the Kubernetes API is its own.
    #[must_use]
    pub fn node_object(node: &str) -> Self {
        Self::Own(format!("{NODE_OBJECTS}{node}"))
    }

    /// The node that this key says is gone for good.
    #[must_use]
    pub fn forgotten_node(&self) -> Option<&str> {
        let Self::Own(rest) = self else { return None };
        rest.strip_prefix(FORGOTTEN).filter(|node| is_name(node))
    }

    /// The key of a node's affinity to a block.
    #[must_use]
    pub fn host_affinity(node: &str, block: Prefix) -> Self {
        Self::Affinity { owner: Owner::Host(node.to_owned()), block }
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(cidr) => write!(f, "{BLOCKS_PREFIX}{}", BlockPart(*cidr)),
            Self::Affinity { owner: Owner::Host(name), block } => {
                write!(f, "{HOST_PREFIX}{name}/{}", BlockPart(*block))
            }
            Self::Affinity { owner: Owner::Virtual(name), block } => {
                write!(f, "{VIRTUAL_PREFIX}{name}/{}", BlockPart(*block))
            }
            Self::Handle(name) => write!(f, "{HANDLE_PREFIX}{name}"),
            Self::IpamConfig => f.write_str(CONFIG_KEY),
            Self::Pool(name) => write!(f, "{POOLS_PREFIX}{name}"),
            Self::Reservation(name) => write!(f, "{RESERVATIONS_PREFIX}{name}"),
            Self::CustomFilter { family, name } => write!(f, "{FILTERS_PREFIX}{}/{name}", version(*family)),
            Self::Own(rest) => write!(f, "{OWN_PREFIX}{rest}"),
        }
    }
}

/// `ipv4/block/10.0.0.0-26`, the end of the keys of blocks and affinities.
struct BlockPart(Prefix);

impl fmt::Display for BlockPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip{}/block/{}-{}", version(self.0.family()), self.0.addr(), self.0.len())
    }
}

const fn version(family: Family) -> &'static str {
    match family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    }
}

fn block(text: &str) -> Result<Prefix, String> {
    let wrong = || format!("{text:?} is not like ipv4/block/10.0.0.0-26");
    let (_, dashed) = text.split_once("/block/").ok_or_else(wrong)?;
    let (addr, len) = dashed.rsplit_once('-').ok_or_else(wrong)?;
    let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
    let len: u8 = len.parse().map_err(|_| wrong())?;
    let cidr = Prefix::new(addr, len).map_err(|e| e.to_string())?;
    // Other spellings of the same block, or one under the wrong family, would let it be held twice.
    if BlockPart(cidr).to_string() == text { Ok(cidr) } else { Err(wrong()) }
}

/// One segment of a key: not empty, no slash.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

#[cfg(test)]
mod tests;
