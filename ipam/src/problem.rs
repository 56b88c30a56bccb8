//! What stands in the way, in words that say what to do.

use petiole_prefix::{Family, Prefix};
use serde::{Deserialize, Serialize};

/// Something that an operator should know, or do something about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Problem {
    /// A worker finds no pool of any family.
    #[error(
        "the store holds no IP pool, so this worker waits without a block: create one with `calicoctl create -f`, or set \
         [ipam] pools = [{{ cidr = \"10.123.128.0/17\", block_size = 26 }}]"
    )]
    NoPool,
    /// There are pools, and none is for this worker.
    #[error("no IP pool of the store serves this worker, so it waits without a block: {why}")]
    NoPoolForNode {
        /// Each pool with its reason.
        why: String,
    },
    /// Every block of every usable pool of a family is taken.
    #[error(
        "every {family} pool is exhausted ({}): add a pool, or free a block (`calicoctl delete node NAME` gives back those of a node that is gone)",
        Exhausted::list(pools)
    )]
    PoolExhausted {
        /// The family.
        family: Family,
        /// The pools that were tried.
        pools: Vec<Exhausted>,
    },
    /// A pool of the configuration exists with another block size.
    #[error(
        "pool {cidr} has block size {store} in the store but {settings} in [ipam] pools: no block is claimed from it until they \
         agree; a pool's block size cannot be changed, so correct the configuration or create another pool"
    )]
    BlockSizeDiffers {
        /// The range.
        cidr: Prefix,
        /// As the store says.
        store: u8,
        /// As the configuration says.
        settings: u8,
    },
    /// A pool of the configuration overlaps one of the store, so it is not created.
    #[error(
        "pool {settings} of [ipam] pools overlaps pool {name} ({store}) of the store and is not created: correct one of the two"
    )]
    SettingsOverlap {
        /// As the configuration says.
        settings: Prefix,
        /// The other's name.
        name: String,
        /// The other's range.
        store: Prefix,
    },
    /// Two pools of the store overlap.
    #[error("pools {first} and {second} overlap: no block is claimed from either until one of them is deleted")]
    PoolsOverlap {
        /// One's name.
        first: String,
        /// The other's name.
        second: String,
    },
    /// A pool asks for something that is not supported, or is not meant for this node.
    #[error("no block is claimed from pool {name} ({cidr}): {why}")]
    PoolRefused {
        /// Its name.
        name: String,
        /// Its range.
        cidr: Prefix,
        /// What it asks for, and what to do.
        why: String,
    },
    /// A value could not be read.
    #[error("{error}; what it said before, if anything, is not used: repair or delete the key")]
    Garbage {
        /// The key.
        key: String,
        /// The key again, and what is wrong with the value.
        error: String,
    },
    /// The configuration of the cluster forbids to claim blocks.
    #[error("no block is claimed: {why}")]
    ClaimsForbidden {
        /// Which setting, and what to do.
        why: String,
    },
    /// A block of this node is also claimed by an affinity of another.
    #[error("block {cidr} names this node as its owner, but node {other} has an affinity to it as well: delete {key}")]
    OtherClaim {
        /// The block.
        cidr: Prefix,
        /// The other node.
        other: String,
        /// The key of the other node's affinity.
        key: String,
    },
    /// A forgotten node shows signs of life, or nobody can tell whether it does.
    #[error(
        "node {node} is to be forgotten, but its blocks or addresses are still announced, or no leaf is in sync to tell: nothing of \
         it is freed; stop it, or delete {key}"
    )]
    ForgottenAlive {
        /// The node.
        node: String,
        /// The key of the order to forget it.
        key: String,
    },
    /// A transaction keeps failing.
    #[error("the store refuses to {what}: {error}; it is tried again")]
    TxnRefused {
        /// What the transaction was for.
        what: String,
        /// The store's words.
        error: String,
    },
}

/// A pool without a free block.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Exhausted {
    /// Its name.
    pub name: String,
    /// Its range.
    pub cidr: Prefix,
    /// How many blocks it has.
    pub blocks: u64,
}

impl Exhausted {
    fn list(pools: &[Self]) -> String {
        let words: Vec<String> =
            pools.iter().map(|p| format!("{} {}: all {} blocks are taken", p.name, p.cidr, p.blocks)).collect();
        words.join(", ")
    }
}
