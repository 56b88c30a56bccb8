//! Who holds which address.

use std::net::IpAddr;

use petiole_prefix::Prefix;
use petiole_store::KeyValue;
use petiole_store::value::{Block, Value};
use serde::{Deserialize, Serialize};

/// An address that is not free.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldAddress {
    /// The address.
    pub address: IpAddr,
    /// Its block.
    pub block: Prefix,
    /// The block's owner, `host:NAME` or `virtual:NAME`.
    pub owner: Option<String>,
    /// Who holds it; `null` while it cools down.
    pub handle: Option<String>,
    /// The node that it is for.
    pub node: Option<String>,
    /// The pod, as `NAMESPACE/NAME`, where whoever asked for it said so.
    pub pod: Option<String>,
    /// Since when it has been cooling down (RFC 3339).
    pub released_at: Option<String>,
}

/// Every address that is not free, in order; blocks that cannot be read are left out.
#[must_use]
pub fn held(kvs: &[KeyValue]) -> Vec<HeldAddress> {
    let blocks = kvs.iter().filter_map(|kv| Block::decode(&kv.key, &kv.value).ok());
    let mut held: Vec<HeldAddress> = blocks.flat_map(|block| of_block(&block)).collect();
    held.sort_by_key(|h| h.address);
    held
}

fn of_block(block: &Block) -> Vec<HeldAddress> {
    let ordinals = (0u16..).take(block.allocations.len());
    let held = ordinals.filter_map(|ordinal| {
        let attribute = block.attribute(ordinal)?;
        let said = |key: &str| attribute.secondary.get().and_then(|s| s.get(key)).cloned();
        Some(HeldAddress {
            address: block.address(ordinal)?,
            block: block.cidr,
            owner: block.owner().map(|o| o.to_string()),
            handle: attribute.handle_id.get().cloned(),
            node: said("node"),
            pod: said("pod").map(|pod| match said("namespace") {
                Some(namespace) => format!("{namespace}/{pod}"),
                None => pod,
            }),
            released_at: attribute.released_at.get().cloned(),
        })
    });
    held.collect()
}
