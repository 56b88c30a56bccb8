//! How what several holders share is written: as the value itself.

use std::sync::Arc;

use serde::{Serialize, Serializer};

/// For `#[serde(serialize_with)]`: serde's own `rc` feature would offer to read such values back, each as a copy of its own.
pub(crate) fn shared<T: Serialize + ?Sized, S: Serializer>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
    (**value).serialize(serializer)
}
