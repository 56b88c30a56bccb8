//! Pools and blocks.

use petiole_prefix::Prefix;
use serde::{Deserialize, Serialize};

/// `petiole ipam blocks`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlocksView {
    /// The pools.
    pub pools: Vec<PoolView>,
    /// Every block that the store holds.
    pub blocks: Vec<BlockView>,
}

/// A pool.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolView {
    /// Name of its resource.
    pub name: String,
    /// Its prefix.
    pub cidr: Prefix,
    /// Length of its blocks.
    pub block_size: u8,
    /// How many blocks it has.
    pub total: u64,
    /// How many are claimed.
    pub claimed: u64,
    /// Whether new blocks may be claimed, and why not.
    pub refused: Option<String>,
}

/// A block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BlockView {
    /// Its prefix.
    pub cidr: Prefix,
    /// The owner's name; `None` without affinity.
    pub owner: Option<String>,
    /// Whether this node owns it.
    pub ours: bool,
    /// Addresses in use.
    pub used: u32,
    /// Addresses in all.
    pub size: u32,
}
