use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The node's own Node object in `status`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KubernetesView {
    /// Its name.
    pub node: String,
    /// `connecting`, `watching`, `missing`, `deleted` or `away`.
    pub state: String,
    /// Its labels, as they were seen last, also in an earlier life.
    pub labels: BTreeMap<String, String>,
}
