//! How the file looks: its sections and keys, their defaults, and what each value must be.
//!
//! Each submodule reads one section. What concerns two sections at once is [`crate::check`]'s affair.

mod announce;
mod bfd;
mod bgp;
mod graceful;
mod ipam;
mod kubernetes;
mod labels;
mod node;
mod paths;
mod policy;
mod store;
mod tcp_ao;

use toml::de::DeTable;

pub(crate) use ipam::IpamDraft;
pub(crate) use kubernetes::KubernetesDraft;
pub(crate) use node::check_name;

use crate::community::Community;
use crate::reader::{At, ROOT, Report, Section, Shape};
use crate::settings::{Announce, EtcdSettings, Paths, PeerSettings, Role};

/// Everything the text says, with its places. What could not be read is missing here and reported.
pub(crate) struct Draft {
    pub(crate) node: NodeDraft,
    pub(crate) store: Option<At<StoreDraft>>,
    pub(crate) bgp: Option<BgpDraft>,
    pub(crate) announce: Vec<AnnounceDraft>,
    pub(crate) ipam: IpamDraft,
    pub(crate) kubernetes: Option<KubernetesDraft>,
    /// Whether `[kubernetes]` is there, readable or not.
    pub(crate) kubernetes_said: bool,
    pub(crate) paths: Paths,
    pub(crate) metrics_listen: Option<At<std::net::SocketAddr>>,
}

pub(crate) struct NodeDraft {
    pub(crate) name: Option<At<String>>,
    /// Whether `name` is there, readable or not.
    pub(crate) name_said: bool,
    pub(crate) roles: Vec<At<Role>>,
    pub(crate) router_id: Option<At<std::net::Ipv4Addr>>,
    pub(crate) addresses: Vec<At<petiole_prefix::Prefix>>,
    pub(crate) labels: std::collections::BTreeMap<String, String>,
}

/// `[store]` as far as it was said.
pub(crate) enum StoreDraft {
    Etcd(EtcdSettings),
    Embedded(std::path::PathBuf),
    /// The section is there but names no store, or one that could not be read.
    Unsaid {
        /// Whether a mistake in it was reported already.
        reported: bool,
    },
}

pub(crate) struct BgpDraft {
    /// Where `[bgp]` is.
    pub(crate) at: usize,
    pub(crate) asn: Option<At<u32>>,
    pub(crate) listen: Option<At<std::net::SocketAddr>>,
    pub(crate) accept_default: bool,
    pub(crate) communities: std::collections::BTreeSet<Community>,
    pub(crate) peers: Vec<PeerDraft>,
    /// Where the first `[[bgp.peer]]` is, readable or not.
    pub(crate) first_peer: Option<usize>,
}

pub(crate) struct PeerDraft {
    /// The peer; `at` is where its address stands.
    pub(crate) peer: At<PeerSettings>,
    /// Where its AS number stands.
    pub(crate) asn_at: usize,
}

pub(crate) struct AnnounceDraft {
    /// The announcement; `at` is where its prefix stands.
    pub(crate) announce: At<Announce>,
}

/// Reads the whole text.
pub(crate) fn read<'a>(report: &mut Report<'_>, table: &'a DeTable<'a>) -> Draft {
    let root = Section::of_table(report, &FILE, 0, table);
    let paths = paths::read(report, &root);
    Draft {
        node: node::read(report, &root),
        store: store::read(report, &root),
        bgp: bgp::read(report, &root),
        announce: announce::read(report, &root),
        ipam: ipam::read(report, &root),
        kubernetes: kubernetes::read(report, &root),
        kubernetes_said: root.raw("kubernetes").is_some(),
        metrics_listen: paths::read_metrics(report, &root),
        paths,
    }
}

/// Opens a section of the file, if it is there.
fn open<'a>(report: &mut Report<'_>, root: &Section<'a>, key: &str, shape: &'static Shape) -> Option<Section<'a>> {
    root.raw(key).and_then(|value| Section::open(report, shape, value))
}

/// Opens a table that is the value of a key, if it is there.
fn inline<'a>(report: &mut Report<'_>, of: &Section<'a>, key: &str, shape: &'static Shape) -> Option<Section<'a>> {
    open(report, of, key, shape)
}

/// The keys of every table there is.
#[cfg(test)]
pub(crate) fn all_keys() -> impl Iterator<Item = &'static [&'static str]> {
    let shapes = [&FILE, &node::NODE, &store::STORE, &store::ETCD, &bgp::BGP, &bgp::PEER, &announce::ANNOUNCE];
    let more = [
        &announce::HEALTH,
        &policy::MAX_PREFIX,
        &ipam::IPAM,
        &ipam::POOL,
        &kubernetes::KUBERNETES,
        &graceful::GRACEFUL_RESTART,
    ];
    let more = more.into_iter().chain([&paths::PATHS, &paths::METRICS, &bfd::BFD, &tcp_ao::TCP_AO]);
    shapes.into_iter().chain(more).map(|shape| shape.keys)
}

/// The key of the sections that each concern one node.
pub(crate) const NODES: &str = "nodes";

const FILE: Shape = Shape {
    name: ROOT,
    keys: &["node", "store", "bgp", "announce", "ipam", "kubernetes", "paths", "metrics", NODES],
    wanted: "[node]",
};

/// The sections that a node's own section may have.
pub(crate) fn sections() -> String {
    let sections: Vec<&str> = FILE.keys.iter().copied().filter(|key| *key != NODES).collect();
    sections.join(", ")
}
