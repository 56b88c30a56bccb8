//! Handles: who holds how many addresses in which blocks.

use std::collections::BTreeMap;

use petiole_prefix::Prefix;
use serde::{Deserialize, Serialize};

use super::{Unknown, Value, by_text};
use crate::key::Key;

/// The value of [`Key::Handle`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Handle {
    /// How many addresses it holds in each block.
    #[serde(with = "by_text")]
    pub block: BTreeMap<Prefix, u64>,
    /// Always false in etcd.
    #[serde(default)]
    pub deleted: bool,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Handle {
    /// Counts one more address in this block.
    pub fn add(&mut self, block: Prefix) {
        let count = self.block.entry(block).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// Counts one address less in this block; more than are counted is no harm.
    pub fn remove(&mut self, block: Prefix) {
        if let Some(count) = self.block.get_mut(&block) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.block.remove(&block);
            }
        }
    }

    /// Whether it holds nothing, so that its key is deleted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }
}

impl Value for Handle {
    const KIND: &'static str = "handle";

    fn check(&self, key: &Key) -> Result<Option<()>, String> {
        Ok(matches!(key, Key::Handle(_)).then_some(()))
    }
}
