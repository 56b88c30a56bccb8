//! The validated settings of one node.

mod bfd;
mod policy;

pub use bfd::BfdSettings;
pub use policy::{MaxPrefixAction, MaxPrefixSettings, PeerPolicy, PeerRole};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use petiole_prefix::Prefix;
use serde::{Deserialize, Serialize};

use crate::community::Community;

/// Everything one agent was told, validated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// `[node]`.
    pub node: NodeSettings,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[bgp]` and `[[bgp.peer]]`; `None` where no peer is configured.
    pub bgp: Option<BgpSettings>,
    /// `[[announce]]`, in the file's order.
    pub announce: Vec<Announce>,
    /// `[ipam]`.
    pub ipam: IpamSettings,
    /// `[kubernetes]`; `None` where the node knows of no Kubernetes.
    #[serde(default)]
    pub kubernetes: Option<KubernetesSettings>,
    /// `[paths]`.
    pub paths: Paths,
    /// `[metrics] listen`; default 127.0.0.1:9179.
    pub metrics_listen: SocketAddr,
}

/// A role of a node; a node may have several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs pods; owns pod blocks.
    Worker,
    /// Runs the API behind an anycast address.
    Master,
    /// Brings the service range into the cluster.
    Ingress,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Worker, Self::Master, Self::Ingress];

    /// The role as the configuration writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Master => "master",
            Self::Ingress => "ingress",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// `[node]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeSettings {
    /// The node's name in the store; default the hostname.
    pub name: String,
    /// The roles; may be empty.
    pub roles: BTreeSet<Role>,
    /// BGP identifier and preferred source of learned IPv4 routes. `None`: the first global IPv4 on `lo`, else of an uplink.
    pub router_id: Option<Ipv4Addr>,
    /// Host prefixes kept on `lo` and announced as the node's own.
    pub addresses: Vec<Prefix>,
    /// What pools' node selectors are held against.
    pub labels: BTreeMap<String, String>,
}

/// `[store]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StoreSettings {
    /// A cluster's etcd.
    Etcd(EtcdSettings),
    /// A store of this node only, in this folder.
    Embedded(PathBuf),
}

/// `[store] etcd = { ... }`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EtcdSettings {
    /// `http://` or `https://` URLs; at least one.
    pub endpoints: Vec<String>,
    /// CA file (PEM) that signed the servers' certificates.
    pub ca: Option<PathBuf>,
    /// Client certificate (PEM); together with `key`.
    pub cert: Option<PathBuf>,
    /// Client key (PEM).
    pub key: Option<PathBuf>,
    /// Who logs in, where etcd demands a login; a client certificate may stand for it.
    pub login: Option<EtcdLogin>,
}

/// `user` and `password_file` of `[store] etcd`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EtcdLogin {
    /// The name of an etcd user.
    pub user: String,
    /// A file with the password as its one line, read at each login.
    pub password_file: PathBuf,
}

/// `[bgp]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BgpSettings {
    /// The node's AS number; never 0, 23456, 65535 or 4294967295.
    pub asn: u32,
    /// Where sessions are accepted; default `[::]:179`, both families. Port 0 accepts none.
    pub listen: SocketAddr,
    /// Whether a default route learned from a leaf may enter the kernel; default false.
    pub accept_default: bool,
    /// What everything announced carries; default nothing.
    pub communities: BTreeSet<Community>,
    /// At least one, no neighbour twice.
    pub peers: Vec<PeerSettings>,
}

/// Which neighbour a `[[bgp.peer]]` means: `address` or `interface`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Neighbour {
    /// The leaf's address on the uplink.
    Address(IpAddr),
    /// The router that is heard on this interface (unnumbered peering); a name of 1 to 15 bytes that Linux allows and that
    /// does not read as an address.
    Interface(String),
}

impl Neighbour {
    /// The address, where it is known by one.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(addr) => Some(*addr),
            Self::Interface(_) => None,
        }
    }

    /// The interface, where it is found on one.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::Interface(name) => Some(name),
        }
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => fmt::Display::fmt(addr, f),
            Self::Interface(name) => f.pad(name),
        }
    }
}

/// `[[bgp.peer]]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerSettings {
    /// The leaf.
    pub neighbour: Neighbour,
    /// The leaf's TCP port; default 179.
    pub port: u16,
    /// The leaf's AS; `None` for `"external"`: any AS but ours.
    pub asn: Option<u32>,
    /// Hold time offered; default 9 s; 0 (no keepalives) or at least 3 s.
    pub hold_time: Duration,
    /// Whether to wait for the leaf to dial; default false.
    pub passive: bool,
    /// How the leaf is watched by BFD; default not at all.
    pub bfd: Option<BfdSettings>,
    /// What it may do.
    pub policy: PeerPolicy,
    /// The address that sessions are dialled from, of the family of `address`. `None`: the uplink's.
    pub local_address: Option<IpAddr>,
    /// File with the key of TCP MD5 signatures (RFC 2385). Without a usable key in it there is no session.
    pub password_file: Option<PathBuf>,
    /// The TCP authentication option (RFC 5925), never together with `password_file`. Without a kernel that has it, and a usable
    /// key, there is no session.
    pub tcp_ao: Option<TcpAoSettings>,
    /// Whether only packets that no router has forwarded are heard (RFC 5082); default false.
    pub ttl_security: bool,
    /// How restarts are bridged, by default that of `[bgp]`; `None` for `false`: routes go with their session.
    pub graceful_restart: Option<GracefulRestartSettings>,
}

/// `tcp_ao = { ... }`: one master key tuple (RFC 5925 section 3.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TcpAoSettings {
    /// File with the master key, 1 to 80 bytes on one line.
    pub key_file: PathBuf,
    /// SendID: the KeyID of what we send; default 1.
    pub send_id: u8,
    /// RecvID: the KeyID of what the leaf sends; default 1.
    pub recv_id: u8,
    /// How keys are derived and segments authenticated.
    pub algorithm: TcpAoAlgorithm,
}

impl TcpAoSettings {
    /// KeyID of either direction where nothing is said.
    pub const ID: u8 = 1;
}

/// The algorithms that RFC 5926 asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum TcpAoAlgorithm {
    /// `KDF_HMAC_SHA1` and HMAC-SHA-1-96.
    #[default]
    HmacSha1,
    /// `KDF_AES_128_CMAC` and AES-128-CMAC-96.
    Aes128Cmac,
}

impl TcpAoAlgorithm {
    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha-1-96",
            Self::Aes128Cmac => "aes-128-cmac-96",
        }
    }
}

/// `graceful_restart = { ... }`; all in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GracefulRestartSettings {
    /// How long the leaf is asked to keep our routes while we restart; 1 s to 4095 s, default 120 s.
    pub restart_time: Duration,
    /// How long at most a leaf's routes stay in use after its session has ended, until it has sent them again; default 360 s.
    pub stale_time: Duration,
    /// The most that a leaf gets of the long-lived stale time it asks for (RFC 9494); default 24 h, 0 for none.
    pub long_lived_time: Duration,
}

/// What an `[[announce]]` announces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnnounceKind {
    /// A host prefix, several nodes' at once; the address is put on `lo`.
    Anycast,
    /// A range made local on `lo`, so that the service proxy of this node serves it.
    ServiceRange,
}

impl AnnounceKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Anycast, Self::ServiceRange];

    /// The kind as the configuration writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anycast => "anycast",
            Self::ServiceRange => "service-range",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// `[[announce]]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Announce {
    /// What it is.
    pub kind: AnnounceKind,
    /// What is announced; a host prefix for `anycast`.
    pub prefix: Prefix,
    /// What it carries beside the communities of `[bgp]` and of the leaf.
    pub communities: BTreeSet<Community>,
    /// The gate: announced only while healthy. `None` announces always.
    pub health: Option<HealthSettings>,
}

/// `health = { ... }`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HealthSettings {
    /// What is probed.
    pub check: HealthCheck,
    /// Time from the start of one probe to the start of the next; default 1 s, at least 10 ms.
    pub interval: Duration,
    /// How long a probe may take; default the interval.
    pub timeout: Duration,
    /// Successes in a row before announcing; default 2, at least 1.
    pub rise: u32,
    /// Failures in a row before withdrawing; default 3, at least 1.
    pub fall: u32,
}

/// One way to ask whether a service is healthy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum HealthCheck {
    /// GET; healthy on any 2xx. `https` verifies against `ca`, or against nothing where `insecure` was said.
    Http {
        /// `http://` or `https://` URL with an address or a name.
        url: String,
        /// CA file (PEM) for `https`.
        ca: Option<PathBuf>,
        /// Skip the verification of the server's certificate.
        insecure: bool,
    },
    /// A TCP connection is accepted.
    Tcp(SocketAddr),
    /// A command exits with 0; argv, run without a shell.
    Command(Vec<String>),
}

/// `[ipam] source`: who says which ranges are this node's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockSource {
    /// The store: blocks are claimed from its pools.
    #[default]
    Store,
    /// The node's own Node object: its `spec.podCIDRs`.
    Node,
}

impl BlockSource {
    /// The source as the configuration writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Node => "node",
        }
    }
}

/// `[ipam]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IpamSettings {
    /// Who says which ranges are this node's.
    #[serde(default)]
    pub source: BlockSource,
    /// Pools created where the store has none that overlaps.
    pub pools: Vec<PoolSettings>,
    /// What this node assigns to nobody who does not name it, as if the store had an `IPReservation` of it.
    pub reserved: Vec<Prefix>,
    /// How long nothing must be heard of a node that is gone for good before what it held is freed, and how long the API must say
    /// of a silent one that it was deleted; whole seconds, default 60 s.
    pub grace_time: Duration,
}

impl IpamSettings {
    /// The grace time where none is said.
    pub const GRACE_TIME: Duration = Duration::from_secs(60);
}

impl Default for IpamSettings {
    fn default() -> Self {
        Self { source: BlockSource::Store, pools: Vec::new(), reserved: Vec::new(), grace_time: Self::GRACE_TIME }
    }
}

/// One pool of `[ipam] pools`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolSettings {
    /// The pool's prefix.
    pub cidr: Prefix,
    /// Length of its blocks: 20 to 32 for IPv4 (default 26), 116 to 128 for IPv6 (default 122).
    pub block_size: u8,
    /// Which nodes take blocks of it, in Calico's grammar, by their labels; `None`: all. It is written into the pool when that is
    /// created, and counts as the store has it from then on.
    pub node_selector: Option<String>,
}

/// `[kubernetes]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KubernetesSettings {
    /// How the API server is found and asked.
    pub access: KubernetesAccess,
    /// `metadata.name` of this node's Node object; default the node's name.
    pub node: String,
}

/// Where the API server's address and this node's credentials come from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KubernetesAccess {
    /// A kubeconfig file, its current context.
    Kubeconfig(PathBuf),
    /// The service account of the pod that the agent runs in.
    InCluster,
}

/// `[paths]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Paths {
    /// Last known good state, endpoint records; default `/var/lib/petiole`.
    pub state: PathBuf,
    /// Sockets and the lock file; default `/run/petiole`.
    pub run: PathBuf,
}
