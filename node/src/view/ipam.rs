//! Pools and blocks.

use petiole_ipam::check::{Finding, HeldAddress};
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

/// `petiole ipam check`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CheckView {
    /// Whether nothing is left that contradicts something else.
    pub clean: bool,
    /// What was looked at, and what could not be.
    pub scope: String,
    /// What was found.
    pub findings: Vec<FindingView>,
}

/// One contradiction.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FindingView {
    /// What contradicts what.
    #[serde(flatten)]
    pub finding: Finding,
    /// In words.
    pub text: String,
    /// Whether it can be, or was, set right.
    pub repair: RepairView,
}

/// What becomes of a contradiction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairView {
    /// Somebody must look at it.
    No,
    /// `--repair` sets it right.
    Possible,
    /// It was set right.
    Done,
    /// This node is setting it right: check again.
    Begun,
    /// Somebody wrote one of its keys in the meantime: check again.
    Overtaken,
    /// The store did not answer: check again.
    Unknown,
}

/// `petiole ipam forget`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ForgottenView {
    /// The node.
    pub node: String,
    /// Its own addresses, as far as it or the operator told: while one of them is announced, nothing is freed.
    pub addresses: Vec<Prefix>,
}

/// `petiole ipam show`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShowView {
    /// Every address that is not free, or the one asked for.
    pub addresses: Vec<HeldAddress>,
    /// Of the one asked for: its pool, and what keeps it back.
    #[serde(default)]
    pub notes: Vec<String>,
}
