//! Affinities: an owner's claim to a block.

use serde::{Deserialize, Serialize};

use super::{Unknown, Value};
use crate::key::Key;

/// How far a claim, or its end, has come. Only `confirmed` is ownership; the block's own value is the truth either way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum AffinityState {
    /// Announced by a claimer that has not written the block yet, or lost the race for it.
    #[serde(rename = "pending")]
    Pending,
    /// The block is the owner's. Old rows without a state mean this.
    #[default]
    #[serde(rename = "confirmed", alias = "")]
    Confirmed,
    /// The owner is giving the block back.
    #[serde(rename = "pendingDeletion")]
    PendingDeletion,
}

/// The value of [`Key::Affinity`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Affinity {
    /// How far it is.
    #[serde(default)]
    pub state: AffinityState,
    /// Always false in etcd.
    #[serde(default)]
    pub deleted: bool,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Affinity {
    /// A confirmed affinity.
    #[must_use]
    pub fn confirmed() -> Self {
        Self::default()
    }
}

impl Value for Affinity {
    const KIND: &'static str = "affinity";

    fn check(&self, key: &Key) -> Result<Option<()>, String> {
        Ok(matches!(key, Key::Affinity { .. }).then_some(()))
    }

    fn decode(key: &str, value: &[u8]) -> Result<Self, super::ValueError> {
        // Rows of the first versions are empty, which implies that they are confirmed.
        let value = if value.is_empty() || value == b"\"\"" { b"{}" } else { value };
        super::decode(key, value)
    }
}
