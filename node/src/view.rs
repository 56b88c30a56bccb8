//! Questions of operators and their answers: the shapes behind `-o json`, which are documented in `docs/cli.md` and stable.

mod bfd;
mod ipam;
mod kubernetes;
mod order;
mod pods;
mod sample;

pub use ipam::{BlockView, BlocksView, CheckView, FindingView, ForgottenView, PoolView, RepairView, ShowView};
pub use kubernetes::KubernetesView;
pub use order::{DrainView, OrderView, PeerOrder};
pub use pods::{AddressesView, PodsView};
pub use sample::{Sample, SampleKind};

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use petiole_bgp::PeerId;
use petiole_bgp::wire::ShutdownText;
use petiole_prefix::{Family, Prefix};
use petiole_store::UnixNanos;
use serde::{Deserialize, Serialize};

pub use crate::forwarding::SettingView;
pub use bfd::BfdView;

/// A question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Query {
    /// `petiole status`.
    Status,
    /// `petiole bgp peers`.
    Peers,
    /// `petiole bgp routes [received|advertised] [PEER]`.
    Routes {
        /// Which table.
        table: RouteTable,
        /// Only of this leaf.
        peer: Option<PeerId>,
    },
    /// `petiole drain`: announce everything with GRACEFUL_SHUTDOWN, and withdraw it after this time; `None`: when told.
    Drain {
        /// The time.
        after: Option<Duration>,
    },
    /// `petiole undrain`.
    Undrain,
    /// `petiole stop`: withdraw, end the sessions with this text, and end the agent.
    Stop {
        /// Said to every leaf (RFC 9003).
        message: Option<ShutdownText>,
    },
    /// `petiole bgp disable|enable|clear PEER`.
    Peer {
        /// Which leaf.
        peer: PeerId,
        /// What to do.
        order: PeerOrder,
    },
    /// `petiole ipam blocks`.
    Blocks,
    /// `petiole fib`.
    Fib,
    /// `petiole why PREFIX`.
    Why(Prefix),
    /// `petiole ipam assign`: an address of this node for a handle.
    Assign {
        /// The owner of the address, as Calico's handles: any text without `/`.
        handle: String,
        /// One address of each.
        families: Vec<Family>,
    },
    /// `petiole ipam release IP`.
    Release(IpAddr),
    /// `petiole ipam check`: contradictions in the whole keyspace.
    Check {
        /// Whether what is safe to repair is repaired.
        repair: bool,
    },
    /// `petiole ipam show [IP]`: who holds which address.
    Show(Option<IpAddr>),
    /// `petiole ipam forget NODE`: the node is gone for good.
    Forget {
        /// Its name.
        node: String,
        /// Its own addresses, if they are known.
        addresses: Vec<Prefix>,
    },
    /// `petiole bgp trace PEER`: the leaf by its name in `bgp peers`.
    Trace(String),
    /// `/metrics`.
    Metrics,
}

/// One session, for `petiole bgp peers`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PeerView {
    /// The leaf, as configured.
    pub peer: String,
    /// The AS that it must be in: a number or `external`.
    pub configured_asn: String,
    /// The AS that it is in, once its OPEN was read.
    pub asn: Option<u32>,
    /// Its BGP identifier.
    pub router_id: Option<IpAddr>,
    /// FSM state in RFC 4271's words.
    pub state: String,
    /// Why it is not Established.
    pub state_reason: Option<String>,
    /// For how long it is in this state.
    pub state_seconds: f64,
    /// The uplink's interface.
    pub uplink: Option<String>,
    /// Our end of the connection.
    pub local: Option<String>,
    /// Their end.
    pub remote: Option<String>,
    /// Negotiated hold time; 0: none.
    pub hold_time_seconds: Option<f64>,
    /// Negotiated keepalive interval.
    pub keepalive_seconds: Option<f64>,
    /// Families in use.
    pub families: Vec<String>,
    /// What we offered.
    pub capabilities_sent: Vec<String>,
    /// What they offered.
    pub capabilities_received: Vec<String>,
    /// What both sides agreed on beside families and times, in words.
    pub negotiated: Vec<String>,
    /// Families for which the peer has sent End-of-RIB.
    pub end_of_rib_received: Vec<String>,
    /// Families for which we have.
    pub end_of_rib_sent: Vec<String>,
    /// Paths held from it.
    pub prefixes_received: u64,
    /// Prefixes it was told.
    pub prefixes_advertised: u64,
    /// Times Established since the configuration named it.
    pub established_count: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// UPDATEs received.
    pub updates_in: u64,
    /// UPDATEs sent.
    pub updates_out: u64,
    /// Malformed UPDATEs that did not end the session.
    pub update_errors: u64,
    /// UPDATEs stopped by the export guard; anything but 0 is a defect.
    pub guard_drops: u64,
    /// When the next attempt is due.
    pub retry_in_seconds: Option<f64>,
    /// What ended the last session or attempt.
    pub last_error: Option<String>,
    /// The last NOTIFICATION sent, in words.
    pub last_notification_sent: Option<String>,
    /// The last NOTIFICATION received, in words.
    pub last_notification_received: Option<String>,
    /// Families that cannot be announced to it, and why.
    pub not_announced: Vec<String>,
    /// Its BFD session, where one is configured.
    #[serde(default)]
    pub bfd: Option<BfdView>,
    /// How much of its prefix limit each family uses, in words.
    #[serde(default)]
    pub prefix_limits: Vec<String>,
    /// What is kept of its former session while it restarts, by family.
    #[serde(default)]
    pub kept: Vec<KeptView>,
}

/// Paths of a leaf that are used though the session that they came over has ended (RFC 4724).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeptView {
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// How many the leaf has not sent again.
    pub paths: u64,
    /// Since when, in seconds.
    pub seconds: f64,
    /// For how long they are kept from now on, as it stands.
    pub seconds_left: f64,
    /// Whether they are long-lived by now: used only where there is nothing else (RFC 9494).
    pub long_lived: bool,
    /// Whether the leaf is back and has not sent all yet.
    pub back: bool,
    /// What ended the session, in words.
    pub why: String,
}

/// One path in an Adj-RIB-In, for `petiole bgp routes`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PathView {
    /// Destination.
    pub prefix: Prefix,
    /// From which leaf.
    pub peer: String,
    /// The identifier it came with, where the leaf tells several paths of a prefix apart (add-path).
    pub path_id: Option<u32>,
    /// Whether it is used: best, or one of several equal ones.
    pub used: bool,
    /// What became of it and why, in words.
    pub why: String,
    /// Next hop.
    pub next_hop: Option<IpAddr>,
    /// AS path, as routers print it.
    pub as_path: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// Communities of all kinds, as the configuration writes them.
    #[serde(default)]
    pub communities: Vec<String>,
    /// Only-to-Customer (RFC 9234): as received, or the leaf's AS, which is what it means to have it from a provider.
    #[serde(default)]
    pub only_to_customer: Option<u32>,
    /// For how long the session that it came over has been gone, where it is kept nevertheless.
    #[serde(default)]
    pub stale_seconds: Option<f64>,
    /// Why it is kept, in words.
    #[serde(default)]
    pub kept_because: Option<String>,
}

/// One prefix of ours towards one leaf, for `petiole bgp routes advertised`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AdvertisedView {
    /// Destination.
    pub prefix: Prefix,
    /// To which leaf.
    pub peer: String,
    /// By what right it is ours.
    pub ownership: String,
    /// With which next hop; `None` when it was not told.
    pub next_hop: Option<IpAddr>,
    /// With which communities.
    #[serde(default)]
    pub communities: Vec<String>,
    /// How long ago it was told.
    pub age_seconds: Option<f64>,
    /// Why it was not told.
    pub not_announced: Option<String>,
}

/// One thing that happened on a session, for `petiole bgp trace`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct TraceView {
    /// When, in seconds since 1970.
    pub unix_seconds: f64,
    /// `message`, `state` or `event`.
    pub kind: String,
    /// Of a message: whether it was ours.
    pub sent: Option<bool>,
    /// Of a message: over which connection.
    pub connection: Option<String>,
    /// Of a message: our end.
    pub local: Option<SocketAddr>,
    /// Of a message: their end.
    pub remote: Option<SocketAddr>,
    /// Of a message: its octets, header included.
    pub length: Option<u64>,
    /// In words.
    pub what: String,
    /// Of a message: it, or its first 4,096 octets, in hexadecimal.
    pub bytes: Option<String>,
}

/// Which of the speaker's tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteTable {
    /// Best paths of everything learned.
    Best,
    /// Adj-RIB-In with the reason of each path's fate.
    Received,
    /// Adj-RIB-Out.
    Advertised,
}

/// An answer, of the question's kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Query::Status`].
    Status(Box<StatusView>),
    /// To [`Query::Peers`].
    Peers(Vec<PeerView>),
    /// To [`Query::Routes`] with [`RouteTable::Best`] or [`RouteTable::Received`].
    Received(Vec<PathView>),
    /// To [`Query::Routes`] with [`RouteTable::Advertised`].
    Advertised(Vec<AdvertisedView>),
    /// To [`Query::Trace`], oldest first.
    Trace(Vec<TraceView>),
    /// To [`Query::Blocks`].
    Blocks(BlocksView),
    /// To [`Query::Check`].
    Check(CheckView),
    /// To [`Query::Show`].
    Show(ShowView),
    /// To [`Query::Forget`].
    Forgotten(ForgottenView),
    /// To [`Query::Fib`].
    Fib(Vec<FibEntry>),
    /// To [`Query::Why`].
    Why(Box<WhyView>),
    /// To [`Query::Assign`] and [`Query::Release`]: what was assigned, or released.
    Addresses(Vec<Prefix>),
    /// To [`Query::Drain`] and [`Query::Undrain`].
    Drain(DrainView),
    /// To [`Query::Stop`] and [`Query::Peer`].
    Order(OrderView),
    /// To [`Query::Metrics`].
    Metrics(Vec<Sample>),
}

/// `petiole status`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StatusView {
    /// Petiole's version.
    pub version: String,
    /// Node name.
    pub node: String,
    /// Roles, as configured.
    pub roles: Vec<String>,
    /// BGP identifier, as soon as it is known.
    pub router_id: Option<IpAddr>,
    /// Own AS.
    pub asn: Option<u32>,
    /// Time since the agent's start, in seconds.
    pub uptime_seconds: f64,
    /// Ready in the sense of `/readyz`, with what is missing.
    pub ready: bool,
    /// Why not ready; empty when ready.
    pub not_ready: Vec<String>,
    /// The store.
    pub store: StoreView,
    /// The node's Node object; `None` without `[kubernetes]`.
    #[serde(default)]
    pub kubernetes: Option<KubernetesView>,
    /// One line a session.
    pub peers: Vec<PeerLine>,
    /// One line a health gate.
    pub gates: Vec<GateView>,
    /// The node's own blocks.
    pub blocks: Vec<Prefix>,
    /// Every candidate with its verdict.
    pub announcements: Vec<AnnouncementView>,
    /// Whether an operator drains it, or has.
    #[serde(default)]
    pub drain: DrainView,
    /// Containers that are attached.
    #[serde(default)]
    pub pods: PodsView,
    /// Settings of the kernel that the agent changed for pods in this life, or could not change.
    #[serde(default)]
    pub settings: Vec<SettingView>,
    /// Addresses of the node's own blocks, by pool.
    #[serde(default)]
    pub addresses: Vec<AddressesView>,
    /// Why an ADD would be refused now; `None` where it would be served, or on a node that is no worker.
    #[serde(default)]
    pub adds_refused: Option<String>,
    /// Learned prefixes in the Loc-RIB.
    pub routes_learned: u64,
    /// Learned routes that are in the kernel.
    pub routes_in_kernel: u64,
    /// What is wrong, in words that end with the next step; empty when nothing is.
    pub problems: Vec<String>,
    /// What to do next, for a node that has nothing to do yet.
    pub next_steps: Vec<String>,
}

/// The store in `status`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoreView {
    /// `etcd` with its endpoints, or `embedded` with its folder.
    pub kind: String,
    /// `connecting`, `listing`, `in sync` or `frozen`.
    pub state: String,
    /// The last failure in words.
    pub error: Option<String>,
}

/// A session in `status`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerLine {
    /// The leaf.
    pub peer: PeerId,
    /// Its AS, as configured or learned.
    pub asn: Option<u32>,
    /// FSM state.
    pub state: String,
    /// The uplink, by interface name.
    pub uplink: Option<String>,
    /// The last error in words.
    pub last_error: Option<String>,
}

/// A health gate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GateView {
    /// What it guards.
    pub prefix: Prefix,
    /// The check in words.
    pub check: String,
    /// `healthy`, `unhealthy`, or `unknown` before the first verdict.
    pub state: String,
    /// Successes (positive) or failures (negative) in a row.
    pub streak: i64,
    /// The last probe in words.
    pub last: Option<String>,
}

/// A candidate for announcement with its verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AnnouncementView {
    /// Which prefix.
    pub prefix: Prefix,
    /// `block`, `address`, `anycast`, `service-range` or `loopback`.
    pub kind: String,
    /// Whether it is announced.
    pub announced: bool,
    /// Stable code of the deciding reason.
    pub code: String,
    /// The reason in words.
    pub reason: String,
    /// Since when, nanoseconds since the epoch.
    pub since: UnixNanos,
}

/// A route that Petiole wants, or has, in the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FibEntry {
    /// Destination.
    pub prefix: Prefix,
    /// `learned`, `block`, `range`.
    pub kind: String,
    /// `via 10.122.101.0 dev eth1`, sorted; empty for blackholes.
    pub hops: Vec<String>,
    /// Preferred source.
    pub prefsrc: Option<IpAddr>,
    /// `in kernel`, `pending`, `failed`, `held by a foreign route`, `adopted`, `not installed`.
    pub state: String,
    /// Why it is so, in words; empty for `in kernel`.
    pub reason: String,
}

/// `petiole why PREFIX`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WhyView {
    /// What was asked.
    pub prefix: Prefix,
    /// `announced`, `not announced`, `learned` or `unknown`.
    pub verdict: String,
    /// One sentence.
    pub summary: String,
    /// The chain of decisions, from intent to wire.
    pub steps: Vec<WhyStep>,
    /// Paths from leaves, each with its fate.
    pub received: Vec<PathView>,
    /// To which leaves it was announced.
    pub advertised: Vec<AdvertisedView>,
    /// What the kernel holds for exactly this prefix.
    pub kernel: Option<FibEntry>,
}

/// One decision on the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WhyStep {
    /// What was asked: `role`, `ownership`, `filter`, `health`, `kernel`, `guard`, `import`, `decision`, `fib`, `drain`.
    pub question: String,
    /// Whether it lets the prefix pass.
    pub pass: bool,
    /// Stable code.
    pub code: String,
    /// In words.
    pub detail: String,
}
