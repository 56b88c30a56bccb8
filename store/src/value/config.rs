//! The cluster-wide configuration of IPAM.

use serde::{Deserialize, Serialize};

use super::{Unknown, Value, is_false};
use crate::key::Key;

/// How many blocks a node may own where the configuration does not say.
const DEFAULT_MAX_BLOCKS: u64 = 20;

/// The value of [`Key::IpamConfig`].
///
/// A field that is absent means false or 0, as Go leaves it out; a key that is absent means [`IpamConfig::default`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IpamConfig {
    /// Addresses only from the node's own blocks.
    #[serde(default, skip_serializing_if = "is_false")]
    pub strict_affinity: bool,
    /// Nodes may claim blocks.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto_allocate_blocks: bool,
    /// How many blocks a node may own; 0 leaves it to Calico's default of 20.
    #[serde(default, rename = "maxBlocksPerHost", skip_serializing_if = "is_zero")]
    pub max_blocks_per_host: u64,
    /// Of KubeVirt; kept.
    #[serde(default, rename = "kubeVirtVMAddressPersistence", skip_serializing_if = "Option::is_none")]
    pub kube_virt_vm_address_persistence: Option<String>,
    /// How long a released address is kept back, in seconds.
    #[serde(default, rename = "ipCooldownSeconds", skip_serializing_if = "is_zero")]
    pub ip_cooldown_seconds: u64,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl IpamConfig {
    /// How many blocks a node may own.
    #[must_use]
    pub const fn max_blocks(&self) -> u64 {
        if self.max_blocks_per_host == 0 { DEFAULT_MAX_BLOCKS } else { self.max_blocks_per_host }
    }
}

impl Default for IpamConfig {
    fn default() -> Self {
        Self {
            strict_affinity: false,
            auto_allocate_blocks: true,
            max_blocks_per_host: 0,
            kube_virt_vm_address_persistence: None,
            ip_cooldown_seconds: 0,
            unknown: Unknown::new(),
        }
    }
}

impl Value for IpamConfig {
    const KIND: &'static str = "IPAM configuration";

    fn check(&self, key: &Key) -> Result<Option<()>, String> {
        Ok(matches!(key, Key::IpamConfig).then_some(()))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}
