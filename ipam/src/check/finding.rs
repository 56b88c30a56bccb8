//! What can contradict what.

use std::net::IpAddr;

use petiole_prefix::Prefix;
use petiole_store::value::AffinityState;
use serde::{Deserialize, Serialize};

/// A contradiction in the keyspace. The `kind` in JSON is stable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// A value cannot be read, or contradicts itself or its key.
    #[error("{error}")]
    Garbage {
        /// The key.
        key: String,
        /// What is wrong.
        error: String,
    },
    /// Two pools share addresses.
    #[error("pools {first} and {second} overlap")]
    PoolsOverlap {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// Two blocks share addresses: one address could be held twice.
    #[error("block {inner} lies inside block {outer}: their addresses may be held twice")]
    BlocksOverlap {
        /// The larger.
        outer: Prefix,
        /// The smaller.
        inner: Prefix,
    },
    /// A block lies in no pool.
    #[error("block {block} lies in no pool")]
    OutsidePools {
        /// The block.
        block: Prefix,
    },
    /// A block has another size than its pool says.
    #[error("block {block} lies in pool {pool}, whose blocks are /{size}")]
    SizeDiffers {
        /// The block.
        block: Prefix,
        /// The pool's range.
        pool: Prefix,
        /// The pool's block size.
        size: u8,
    },
    /// A block has no owner and no address in use, so nobody ever frees it.
    #[error("block {block} has no owner and no address in use")]
    AbandonedBlock {
        /// The block.
        block: Prefix,
    },
    /// A block names an owner that has no affinity to it.
    #[error("block {block} names {owner}, which has no affinity to it")]
    BlockWithoutAffinity {
        /// The block.
        block: Prefix,
        /// `host:NAME` or `virtual:NAME`.
        owner: String,
    },
    /// Addresses that are neither free nor held.
    #[error("{} of block {block} can be neither assigned nor released", list(addresses))]
    LostAddresses {
        /// The block.
        block: Prefix,
        /// Which.
        addresses: Vec<IpAddr>,
    },
    /// Attributes that no allocation points to.
    #[error("block {block} has {count} attribute(s) that no address uses")]
    AttributesUnused {
        /// The block.
        block: Prefix,
        /// How many.
        count: usize,
    },
    /// An address is held by nobody in particular.
    #[error("{address} is held without a handle: only `petiole ipam release {address}` frees it")]
    AddressWithoutHandleId {
        /// The block.
        block: Prefix,
        /// The address.
        address: IpAddr,
    },
    /// An affinity to a block that is not there.
    #[error("{node} has an affinity ({state:?}) to block {block}, which does not exist")]
    AffinityWithoutBlock {
        /// The block.
        block: Prefix,
        /// Whose.
        node: String,
        /// How far it is.
        state: AffinityState,
    },
    /// An affinity to a block that names another owner, or none.
    #[error("{node} has an affinity ({state:?}) to block {block}, which belongs to {}", owner.as_deref().unwrap_or("nobody"))]
    AffinityToOthersBlock {
        /// The block.
        block: Prefix,
        /// Whose.
        node: String,
        /// How far it is.
        state: AffinityState,
        /// Whom the block names.
        owner: Option<String>,
    },
    /// A claim, or the end of one, that was not finished.
    #[error("the affinity of {node} to its block {block} is {state:?}")]
    Unconfirmed {
        /// The block.
        block: Prefix,
        /// Whose.
        node: String,
        /// How far it is.
        state: AffinityState,
    },
    /// A handle counts addresses in a block in which it holds none.
    #[error("handle {handle} counts {counted} address(es) in block {block} and holds none there")]
    HandleWithoutAddress {
        /// The handle.
        handle: String,
        /// The block.
        block: Prefix,
        /// As the handle says.
        counted: u64,
    },
    /// A handle counts other than it holds.
    #[error("handle {handle} counts {counted} address(es) in block {block} and holds {held}")]
    HandleCountDiffers {
        /// The handle.
        handle: String,
        /// The block.
        block: Prefix,
        /// As the handle says.
        counted: u64,
        /// As the block says.
        held: u64,
    },
    /// Addresses name a handle that is not there.
    #[error("{held} address(es) of block {block} are held by {handle}, and there is no such handle")]
    AddressesWithoutHandle {
        /// The handle.
        handle: String,
        /// The block.
        block: Prefix,
        /// As the block says.
        held: u64,
    },
    /// A handle that counts nothing.
    #[error("handle {handle} holds nothing")]
    EmptyHandle {
        /// The handle.
        handle: String,
    },
    /// A pod of this node uses an address that the store does not give it.
    #[error("{handle} of this node uses {address}, which {}", holder.as_deref().map_or_else(|| "nobody holds".to_owned(), |h| format!("{h} holds")))]
    EndpointWithoutAddress {
        /// The pod's handle.
        handle: String,
        /// The address.
        address: IpAddr,
        /// Who holds it.
        holder: Option<String>,
    },
    /// A pod of this node is recorded, and its interface is not there: nor is its namespace, or somebody took it away.
    #[error("{handle} of this node has no interface {interface}: its namespace is gone, or somebody removed it")]
    EndpointWithoutInterface {
        /// The pod's handle.
        handle: String,
        /// The host's end.
        interface: String,
    },
    /// An interface of a pod that this node does not have.
    #[error("interface {interface} of this node belongs to no pod of it")]
    InterfaceWithoutEndpoint {
        /// The host's end.
        interface: String,
    },
    /// This node holds an address for which it has no pod.
    #[error("{address} is held by {handle} on this node, which has no such pod")]
    AddressWithoutEndpoint {
        /// The handle.
        handle: String,
        /// The address.
        address: IpAddr,
    },
}

impl Finding {
    /// Whether it is about the value of this key.
    pub(crate) fn is_of(&self, wanted: &str) -> bool {
        matches!(self, Self::Garbage { key, .. } if key == wanted)
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
