//! `IPPool` and `IPReservation` resources, as `calicoctl` writes them.
//!
//! Fields and defaults: `api/pkg/apis/projectcalico/v3/ippool.go` of Project Calico.

use petiole_prefix::{Family, Prefix};
use serde::{Deserialize, Serialize};

use super::{Unknown, Value, is_false, null_as_default};
use crate::key::Key;

const API_VERSION: &str = "projectcalico.org/v3";

/// What every resource has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Metadata {
    /// As in the key.
    pub name: String,
    /// A random UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// RFC 3339.
    #[serde(default, rename = "creationTimestamp")]
    pub creation_timestamp: Option<String>,
    /// Labels, annotations, and fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Whether packets between pods are wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Encapsulation {
    /// Never.
    #[default]
    #[serde(alias = "")]
    Never,
    /// Always.
    Always,
    /// Only between subnets.
    CrossSubnet,
}

/// The specification of an [`IPPool`](Pool).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolSpec {
    /// The range.
    pub cidr: Prefix,
    /// VXLAN between nodes.
    #[serde(default, rename = "vxlanMode", skip_serializing_if = "Option::is_none")]
    pub vxlan_mode: Option<Encapsulation>,
    /// IP in IP between nodes.
    #[serde(default, rename = "ipipMode", skip_serializing_if = "Option::is_none")]
    pub ipip_mode: Option<Encapsulation>,
    /// Pods' addresses are hidden behind the node's when they leave the pools.
    #[serde(default, rename = "natOutgoing", skip_serializing_if = "is_false")]
    pub nat_outgoing: bool,
    /// Nothing new is assigned from it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disabled: bool,
    /// Its blocks are not announced.
    #[serde(default, rename = "disableBGPExport", skip_serializing_if = "is_false")]
    pub disable_bgp_export: bool,
    /// The prefix length of its blocks; absent or 0 means 26, or 122 for IPv6.
    #[serde(default, rename = "blockSize", skip_serializing_if = "is_zero")]
    pub block_size: u8,
    /// Which nodes use it; absent or empty means `all()`.
    #[serde(default, rename = "nodeSelector", skip_serializing_if = "String::is_empty")]
    pub node_selector: String,
    /// Which namespaces use it; absent or empty means all.
    #[serde(default, rename = "namespaceSelector", skip_serializing_if = "String::is_empty")]
    pub namespace_selector: String,
    /// `Workload`, `Tunnel`, `LoadBalancer`; absent means the first two.
    #[serde(default, rename = "allowedUses", skip_serializing_if = "Option::is_none")]
    pub allowed_uses: Option<Vec<String>>,
    /// `Automatic`, or `Manual`: only when asked for by name.
    #[serde(default, rename = "assignmentMode", skip_serializing_if = "Option::is_none")]
    pub assignment_mode: Option<String>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The value of [`Key::Pool`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// `IPPool`.
    pub kind: String,
    /// `projectcalico.org/v3`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Its name and birth.
    pub metadata: Metadata,
    /// What it says.
    pub spec: PoolSpec,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Pool {
    /// A pool for pods without encapsulation or NAT, as `calicoctl create` would write it.
    #[must_use]
    pub fn new(name: &str, cidr: Prefix, block_size: u8, uid: String, created: String) -> Self {
        Self {
            kind: "IPPool".to_owned(),
            api_version: API_VERSION.to_owned(),
            metadata: Metadata {
                name: name.to_owned(),
                uid: Some(uid),
                creation_timestamp: Some(created),
                unknown: Unknown::new(),
            },
            spec: PoolSpec {
                cidr,
                vxlan_mode: Some(Encapsulation::Never),
                ipip_mode: Some(Encapsulation::Never),
                nat_outgoing: false,
                disabled: false,
                disable_bgp_export: false,
                block_size,
                node_selector: "all()".to_owned(),
                namespace_selector: String::new(),
                allowed_uses: Some(vec!["Workload".to_owned(), "Tunnel".to_owned()]),
                assignment_mode: Some("Automatic".to_owned()),
                unknown: Unknown::new(),
            },
            unknown: Unknown::new(),
        }
    }

    /// The prefix length of its blocks.
    #[must_use]
    pub const fn block_size(&self) -> u8 {
        match (self.spec.block_size, self.spec.cidr.family()) {
            (0, Family::V4) => 26,
            (0, Family::V6) => 122,
            (size, _) => size,
        }
    }

    /// Whether pods may have its addresses.
    #[must_use]
    pub fn is_for_workloads(&self) -> bool {
        self.spec.allowed_uses.as_ref().is_none_or(|uses| uses.is_empty() || uses.iter().any(|u| u == "Workload"))
    }
}

impl Value for Pool {
    const KIND: &'static str = "IP pool";

    fn check(&self, key: &Key) -> Result<Option<()>, String> {
        let Key::Pool(name) = key else { return Ok(None) };
        if *name != self.metadata.name {
            return Err(format!("it is named {:?}", self.metadata.name));
        }
        let cidr = self.spec.cidr;
        let sizes = match cidr.family() {
            Family::V4 => 20..=32,
            Family::V6 => 116..=128,
        };
        let size = self.block_size();
        if !sizes.contains(&size) {
            return Err(format!("block size {size} is not in {} to {}", sizes.start(), sizes.end()));
        }
        if size < cidr.len() {
            return Err(format!("blocks of /{size} do not fit into {cidr}"));
        }
        Ok(Some(()))
    }
}

/// The specification of an [`IPReservation`](Reservation).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReservationSpec {
    /// Ranges that are not assigned to anybody who does not ask for an address by name.
    #[serde(default, rename = "reservedCIDRs", deserialize_with = "null_as_default")]
    pub reserved_cidrs: Vec<Prefix>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The value of [`Key::Reservation`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reservation {
    /// `IPReservation`.
    pub kind: String,
    /// `projectcalico.org/v3`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Its name and birth.
    pub metadata: Metadata,
    /// What it says.
    pub spec: ReservationSpec,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Value for Reservation {
    const KIND: &'static str = "IP reservation";

    fn check(&self, key: &Key) -> Result<Option<()>, String> {
        Ok(matches!(key, Key::Reservation(_)).then_some(()))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_zero(value: &u8) -> bool {
    *value == 0
}
