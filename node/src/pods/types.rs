//! What is asked about pods, what is answered, and what is kept on disk.

use std::net::IpAddr;

use petiole_prefix::Family;
use petiole_store::UnixNanos;
use serde::{Deserialize, Serialize};

use super::Gateway;

/// Names a request of the CNI plugin; chosen by the driver that took it, which keeps the namespace that came with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct CniId(pub u64);

/// What addresses and interfaces belong to: a container and the name of its interface.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_IFNAME`.
    pub interface: String,
}

/// What the CNI plugin wants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CniRequest {
    /// Attach a container.
    Add(Box<Attach>),
    /// Detach it.
    Del(Attachment),
    /// Say whether it is attached as ADD left it.
    Check {
        /// Which.
        attachment: Attachment,
        /// The addresses that ADD answered with, as the runtime remembers them.
        addresses: Vec<IpAddr>,
    },
    /// Say whether ADD would be served.
    Status,
    /// Detach everything of this network that is not listed.
    Gc {
        /// The network's name.
        network: String,
        /// What stays.
        valid: Vec<Attachment>,
    },
}

/// An ADD.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Attach {
    /// The name of the network, from the runtime's configuration.
    pub network: String,
    /// Whose interface.
    pub attachment: Attachment,
    /// The path of the namespace, for the record.
    pub netns: Option<String>,
    /// Addresses alone: another plugin does the wiring.
    pub addresses_only: bool,
    /// The bridge that the other plugin puts the container on: the way to its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// Namespace and name of the pod, where the runtime is Kubernetes'.
    pub pod: Option<(String, String)>,
    /// Exactly these addresses; empty for any.
    pub ips: Vec<IpAddr>,
    /// This link-layer address in the container; otherwise one that follows from the attachment.
    pub mac: Option<[u8; 6]>,
    /// This MTU, in octets; otherwise the uplinks'.
    pub mtu: Option<u32>,
    /// Only out of these pools, by name or range; empty for all.
    pub pools: Vec<String>,
}

/// The answer to a [`CniRequest`].
pub type CniReply = Result<CniAnswer, CniFailure>;

/// A request that was fulfilled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CniAnswer {
    /// ADD is done.
    Added(Box<Endpoint>),
    /// Anything else is.
    Done,
}

/// Why a request was not fulfilled.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{words}")]
pub struct CniFailure {
    /// Which kind; the driver knows the specification's number.
    pub kind: CniFault,
    /// Whose fault, where, and what to do.
    pub words: String,
}

impl CniFailure {
    pub(crate) fn new(kind: CniFault, words: impl Into<String>) -> Self {
        Self { kind, words: words.into() }
    }
}

/// Kinds of failures, as a runtime tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CniFault {
    /// The container is not known, or its namespace is gone: DEL is not needed.
    UnknownContainer,
    /// The request cannot be right.
    BadRequest,
    /// The disk failed.
    Io,
    /// Not now.
    TryAgain,
    /// ADD would not be served.
    NotAvailable,
    /// The attachment is not as ADD left it.
    NotAsLeft,
    /// The interface exists already and is another's.
    Exists,
    /// The kernel refused.
    Kernel,
    /// No address is to be had.
    Exhausted,
    /// The address that was asked for is held by another.
    AddressInUse,
}

/// An endpoint: a container's interface with its addresses. It is what the record on disk says, one file each.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Format of the record; 1.
    pub version: u32,
    /// The boot in which it was made: after another one, its container is dead.
    pub boot_id: String,
    /// Where it stands.
    pub state: EndpointState,
    /// Network, attachment and wishes, as ADD said them.
    pub attach: Attach,
    /// Who holds the addresses in the store.
    pub handle: String,
    /// The name of the host's end of the pair, also where another plugin does the wiring: the record's name.
    pub host: String,
    /// The link-layer address of the container's end.
    pub mac: [u8; 6],
    /// MTU of both ends, in octets.
    pub mtu: u32,
    /// At most one of each family, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The routers of its addresses behind a bridge, one of each family; of a bridge's gateway those that it is itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<Gateway>,
    /// When it was made.
    pub since: UnixNanos,
}

/// Where an endpoint stands, as far as the disk knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointState {
    /// In use.
    Live,
    /// No longer: its addresses go back as soon as the store is there.
    Releasing,
}

/// What was found on disk at the start.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FoundEndpoints {
    /// Every record that could be read.
    pub endpoints: Vec<Endpoint>,
    /// Records that could not, each in words. While there are any, nothing is cleaned up that no record knows: it may be theirs.
    pub unreadable: Vec<String>,
}

/// The gateway of pods, for IPv4: on no interface, its link-layer address is put into the pod.
pub const GATEWAY_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 1, 1);

/// The gateway of pods, for IPv6: the address that follows from [`HOST_MAC`] by RFC 4291 appendix A.
pub const GATEWAY_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee);

/// The link-layer address of the host's end of every pair.
pub const HOST_MAC: [u8; 6] = [0xee; 6];

/// The attribute that marks an address as given by this agent, so that its repair frees nothing that another program gave.
pub(crate) const MARK: (&str, &str) = ("petiole", "cni");

impl Attachment {
    /// The name of the host's end: the prefix that says whose it is, and a hash; 14 octets of the 15 that a name may have.
    pub(crate) fn host_name(&self) -> String {
        format!("{}{:011x}", petiole_dataplane::ident::INTERFACE_PREFIX, self.hash(0) >> 20)
    }

    /// A link-layer address that stays the same for the same attachment: locally administered, not a group's.
    pub(crate) fn mac(&self) -> [u8; 6] {
        let [first, rest @ ..] = self.hash(1).to_be_bytes();
        let [b, c, d, e, f, _, _] = rest;
        [(first | 0x02) & 0xfe, b, c, d, e, f]
    }

    /// FNV-1a with a final mix (of SplitMix64), so that every bit depends on every octet.
    fn hash(&self, salt: u8) -> u64 {
        let octets = self.container.bytes().chain([0]).chain(self.interface.bytes()).chain([salt]);
        let fnv = octets.fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Attach {
    /// Who holds the addresses: as Calico names it for the first interface. Another interface of the same container holds
    /// addresses of its own.
    pub(crate) fn handle(&self) -> String {
        if let Some(handle) = self.gateway_handle() {
            return handle;
        }
        let Attachment { container, interface } = &self.attachment;
        match interface.as_str() {
            "eth0" => format!("{}.{container}", self.network),
            other => format!("{}.{container}.{other}", self.network),
        }
    }
}

impl Endpoint {
    /// Whether it has an address of this family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        self.addresses.iter().any(|a| Family::of(*a) == family)
    }
}
