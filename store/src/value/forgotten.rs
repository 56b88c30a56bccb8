//! Nodes that an operator says are gone for good.

use petiole_prefix::Prefix;
use serde::{Deserialize, Serialize};

use super::{Unknown, Value, null_as_default};
use crate::key::Key;

/// The value of [`Key::forgotten`]: this node will not come back, and what it holds may be freed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Forgotten {
    /// When the operator said so (RFC 3339).
    pub since: String,
    /// The node's own addresses: while one of them is announced to the fabric, the node is alive after all.
    #[serde(default, deserialize_with = "null_as_default")]
    pub addresses: Vec<Prefix>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Value for Forgotten {
    const KIND: &'static str = "note of a forgotten node";

    fn check(&self, key: &Key) -> Result<Option<()>, String> {
        Ok(key.forgotten_node().map(|_| ()))
    }
}
