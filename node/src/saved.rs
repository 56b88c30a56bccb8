//! The last known good state: what an agent that starts without its store goes on with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use petiole_prefix::Prefix;
use petiole_store::UnixNanos;
use serde::{Deserialize, Serialize};

use crate::operator::Orders;

/// What is on disk. Blocks, ranges and borrowed addresses count only under the same boot id: after a reboot there are no pods, so they wait for the store.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Saved {
    /// Format of this file; 1.
    pub version: u32,
    /// The node that wrote it. Another name makes it void: the blocks belong to somebody else.
    pub node: String,
    /// The boot in which it was written.
    pub boot_id: String,
    /// When it was written.
    pub written: UnixNanos,
    /// The blocks that this node owned, with the revision at which the store said so.
    pub blocks: BTreeMap<Prefix, i64>,
    /// The ranges that the Node object named, where they are announced instead of blocks.
    #[serde(default)]
    pub ranges: BTreeSet<Prefix>,
    /// The addresses that this node held in blocks of others, with the block of each.
    #[serde(default)]
    pub borrowed: BTreeMap<IpAddr, Prefix>,
    /// The blocks, of this node or lent to it, that were not to be announced.
    #[serde(default)]
    pub unexported: BTreeSet<Prefix>,
    /// The custom filters in force: key to text.
    pub filters: BTreeMap<String, String>,
    /// The last verdict of each health gate, by the announced prefix.
    pub gates: BTreeMap<Prefix, bool>,
    /// The labels of this node's Node object; they hold over boots.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What operators ordered; holds over boots.
    #[serde(default)]
    pub orders: Orders,
}
