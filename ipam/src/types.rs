//! What goes into an [`Ipam`](crate::Ipam) and what comes out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use petiole_store::Revision;
use serde::{Deserialize, Serialize};

/// What the configuration says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IpamSettings {
    /// This node's name, as it stands in the store.
    pub node: String,
    /// Whether this node wants blocks: it has the role worker.
    pub want_block: bool,
    /// Pools to create where the store has none there.
    pub pools: Vec<PoolSpec>,
    /// Whether these are all that may be claimed from: they are the ranges that a Node object names.
    pub only_these: bool,
    /// The node selectors to create them with, by range; those without one are for all nodes.
    pub selectors: BTreeMap<Prefix, String>,
    /// What the node selectors of pools are held against.
    pub labels: BTreeMap<String, String>,
    /// What this node assigns to nobody who does not name it, beside the store's reservations.
    pub reserved: Vec<Prefix>,
    /// How long a forgotten node must not have been heard of before what it held is freed.
    pub grace_time: Duration,
    /// Ranges that are not for pods, each with what it is, such as "the service range of the Kubernetes API".
    pub taken: BTreeMap<Prefix, String>,
}

impl Default for IpamSettings {
    fn default() -> Self {
        Self {
            node: String::new(),
            want_block: false,
            pools: Vec::new(),
            only_these: false,
            selectors: BTreeMap::new(),
            labels: BTreeMap::new(),
            reserved: Vec::new(),
            grace_time: Duration::from_secs(60),
            taken: BTreeMap::new(),
        }
    }
}

/// A pool that the configuration asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolSpec {
    /// The range.
    pub cidr: Prefix,
    /// The prefix length of its blocks: 20 to 32, or 116 to 128 for IPv6.
    pub block_size: u8,
}

impl PoolSpec {
    /// A pool of the whole range, of blocks with 64 addresses, or of one block where it is smaller than that.
    #[must_use]
    pub fn of_range(cidr: Prefix) -> Self {
        let default = match cidr.family() {
            Family::V4 => 26,
            Family::V6 => 122,
        };
        Self { cidr, block_size: cidr.len().max(default) }
    }
}

/// Names a transaction that is under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct TxnId(pub u64);

/// Names a request; chosen by the caller, unique among those not yet answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// A request for one address of each family asked for; both or none.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AssignRequest {
    /// Who holds the addresses. A handle that holds them already gets the same again.
    pub handle: String,
    /// One address of each.
    pub families: Vec<Family>,
    /// Attributes beside `node` and `timestamp`, which are added: `pod` and `namespace`, for people and for other tools.
    pub attributes: BTreeMap<String, String>,
    /// Exactly these, at most one of each family; empty for any. A family without one here gets any address.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Only out of these pools, each by its name or its range; empty for those that are assigned from without being asked for.
    #[serde(default)]
    pub pools: Vec<String>,
}

/// What to give back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ReleaseTarget {
    /// One address, whoever holds it.
    Address(IpAddr),
    /// Everything that this handle holds.
    Handle(String),
}

/// The answer to a request: the addresses that were assigned, or released.
pub type Reply = Result<Vec<IpAddr>, AssignError>;

/// Why a request was not fulfilled. Nothing is held by it then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum AssignError {
    /// The request cannot be right.
    #[error("{0}")]
    BadRequest(String),
    /// The address that it names is held by another, or cools down.
    #[error("{0}")]
    AddressInUse(String),
    /// A value that the request depends on cannot be read.
    #[error("{0}; repair or delete the key, then try again")]
    Garbage(String),
    /// No address was free, and no block could be claimed in time.
    #[error("no free {family} address on this node: {why}")]
    NoAddress {
        /// Of which family.
        family: Family,
        /// What stood in the way, and what to do.
        why: String,
    },
    /// The store did not answer in time. Try again.
    #[error("the store did not answer in time: {0}; try again when `petiole status` shows it in sync")]
    StoreAway(String),
}

/// A block that this node may announce.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwnedBlock {
    /// Its range.
    pub cidr: Prefix,
    /// The revision of the store at which the block said so.
    pub mod_revision: Revision,
    /// Addresses that are held, those cooling down included; 0 for a block of the last known good state.
    pub used: usize,
    /// Addresses that can be assigned; 0 for a block of the last known good state.
    pub free: usize,
    /// Whether the store said so in this life of the agent; otherwise it is from the last known good state.
    pub confirmed: bool,
    /// Whether it is to be announced: false where its pool says `disableBGPExport`.
    pub is_exported: bool,
}

/// A block of the store, for `petiole ipam blocks`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlockView {
    /// Its range.
    pub cidr: Prefix,
    /// The node that owns it, or `virtual:NAME`; `None` for a block without an owner.
    pub owner: Option<String>,
    /// The nodes beside the owner that hold addresses in it.
    pub borrowers: Vec<String>,
    /// Addresses that are held, those cooling down included.
    pub used: usize,
    /// Addresses that can be assigned.
    pub free: usize,
    /// The revision of its last write.
    pub mod_revision: Revision,
}

/// A pool of the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolView {
    /// The name of the `IPPool` resource.
    pub name: String,
    /// The range.
    pub cidr: Prefix,
    /// The prefix length of its blocks.
    pub block_size: u8,
    /// How many blocks it has; saturates.
    pub blocks: u64,
    /// How many of them are in the store.
    pub claimed: u64,
    /// Why this node claims no new block from it; `None` when it may.
    pub refused: Option<String>,
}

/// Why an [`Ipam`](crate::Ipam) wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum IpamTimer {
    /// A transaction that failed is tried again.
    Retry,
    /// What a forgotten node held may be freed.
    Reclaim,
    /// A block has been empty for so long that it is given back.
    Return,
    /// A request has waited as long as it may.
    RequestPatience,
}
