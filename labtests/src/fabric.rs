//! The reference fabric for tests: the lab of `containerlab/clos.clab.yml` under a name of its own, and the questions a
//! test asks its switches.

mod monitor;
mod plan;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

pub use self::monitor::{Event, Monitor, changed};
pub use self::plan::{
    Blocks, FAMILIES, Family, MEMBERS, Member, Role, Uplink, anycast, leaf_as, leaf_number, members, owners, positions,
    services,
};
pub use self::traffic::{Loss, Pod, Stream};
use crate::wait::{check, eventually};
use crate::{Binaries, Lab, NodeHandle, Topology};

/// Both spines.
pub const SPINES: [&str; 2] = ["spine1", "spine2"];
/// The four leaves, rack by rack.
pub const LEAVES: [&str; 4] = ["leaf1", "leaf2", "leaf3", "leaf4"];
/// The nodes with an agent: masters, ingress, workers.
pub const AGENTS: [&str; 9] =
    ["master1", "master2", "master3", "ingress1", "ingress2", "worker1", "worker2", "worker3", "worker4"];

/// A path of a switch's BGP table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BgpPath {
    /// AS path, nearest first.
    pub as_path: Vec<u32>,
    /// The peer it came from; empty for the switch's own.
    pub peer: String,
    /// Its next hop; of two, the global one.
    pub next_hop: String,
    /// Whether it is the best path or shares the load with it.
    pub used: bool,
}

/// A family's table in BGP: the paths of every prefix, sorted.
pub type Table = BTreeMap<String, Vec<BgpPath>>;

/// The workspace's `containerlab/clos.clab.yml`.
pub fn topology_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../containerlab/clos.clab.yml")
}

/// A lab name that no other test uses at the same time.
pub fn unique_name(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The fabric, up, with the agents started; it goes with the value. Fails where there is no agent binary.
pub fn clos(stem: &str) -> Result<Lab> {
    let binaries = Binaries::find()?;
    if binaries.agent.is_none() {
        return Err(anyhow!("no agent: cargo build -p petiole, or set PETIOLE_BIN"));
    }
    clos_with(stem, &binaries)
}

/// The fabric with these binaries.
pub fn clos_with(stem: &str, binaries: &Binaries) -> Result<Lab> {
    let topology = Topology::load(&topology_file(), Some(&unique_name(stem)), &|name| std::env::var(name).ok())?;
    Lab::up(&topology, binaries)
}

/// Waits until every session between spines and leaves is established, both families.
pub fn wait_switches(lab: &Lab, within: Duration) -> Result<()> {
    for spine in SPINES {
        wait_established(&lab.node(spine)?, &LEAVES, within)?;
    }
    Ok(())
}

/// Waits until every session between the leaves and these nodes is established, both families.
pub fn wait_agents(lab: &Lab, agents: &[&str], within: Duration) -> Result<()> {
    for leaf in LEAVES {
        let leaf = lab.node(leaf)?;
        let ends = leaf.record().links.iter().filter_map(|(_, far)| far.split(':').next());
        let mine: Vec<&str> = ends.filter(|far| agents.contains(far)).collect();
        wait_established(&leaf, &mine, within)?;
    }
    Ok(())
}

/// Waits until the switch's sessions to these neighbours, named by description, are established, both families.
pub fn wait_established(switch: &NodeHandle, neighbours: &[&str], within: Duration) -> Result<()> {
    let what = format!("{}: established with {neighbours:?}", switch.name());
    eventually(within, &what, || {
        let summary = switch.vtysh_json("show bgp summary json").map_err(|error| format!("{error:#}"))?;
        for family in ["ipv4Unicast", "ipv6Unicast"] {
            for neighbour in neighbours {
                let state = peer_state(&summary[family]["peers"], neighbour);
                check(state == "Established", format!("{family} {neighbour} {state}"))?;
            }
        }
        Ok::<(), String>(())
    })
}

fn peer_state(peers: &Value, description: &str) -> String {
    let mut peers = peers.as_object().into_iter().flat_map(|peers| peers.values());
    let peer = peers.find(|peer| peer["desc"] == description);
    peer.and_then(|peer| peer["state"].as_str()).unwrap_or("absent").to_owned()
}

/// The paths a switch's BGP table has for exactly this prefix, sorted; none where it has none.
pub fn paths(switch: &NodeHandle, prefix: &str) -> Result<Vec<BgpPath>> {
    let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
    let entry = switch.vtysh_json(&format!("show bgp {family} unicast {prefix} json"))?;
    // A longer query than a prefix answers with the covering entry.
    if entry["prefix"] != prefix {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for path in entry["paths"].as_array().into_iter().flatten().filter(|path| path["valid"] == true) {
        paths.push(BgpPath {
            as_path: as_path(path["aspath"]["string"].as_str().unwrap_or_default())?,
            peer: path["peer"]["peerId"].as_str().unwrap_or_default().to_owned(),
            next_hop: next_hop(&path["nexthops"]),
            used: path["bestpath"]["overall"] == true || path["multipath"] == true,
        });
    }
    paths.sort();
    Ok(paths)
}

fn as_path(text: &str) -> Result<Vec<u32>> {
    let text = if text == "Local" { "" } else { text };
    text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().with_context(|| format!("AS path {text}"))
}

fn next_hop(hops: &Value) -> String {
    let hops = hops.as_array().map(Vec::as_slice).unwrap_or_default();
    let hop = hops.iter().find(|hop| hop["scope"] == "global").or_else(|| hops.first());
    hop.and_then(|hop| hop["ip"].as_str()).unwrap_or_default().to_owned()
}

/// A switch's whole BGP table of a family.
pub fn table(switch: &NodeHandle, family: Family) -> Result<Table> {
    read_table(&switch.vtysh_json(&format!("show bgp {} unicast json", family.frr()))?)
}

fn read_table(json: &Value) -> Result<Table> {
    let mut table = Table::new();
    for (prefix, entries) in json["routes"].as_object().into_iter().flatten() {
        let mut paths = Vec::new();
        for path in entries.as_array().into_iter().flatten().filter(|path| path["valid"] == true) {
            paths.push(BgpPath {
                as_path: as_path(path["path"].as_str().unwrap_or_default())?,
                peer: path["peerId"].as_str().unwrap_or_default().to_owned(),
                next_hop: next_hop(&path["nexthops"]),
                used: path["bestpath"] == true || path["multipath"] == true,
            });
        }
        paths.sort();
        table.insert(prefix.clone(), paths);
    }
    Ok(table)
}

/// What a leaf was told by one of its nodes, before any policy and choice: prefix and next hop.
pub fn told(leaf: &NodeHandle, member: &Member, family: Family) -> Result<BTreeMap<String, String>> {
    let peers = member.links(Family::V4);
    let peer = peers.iter().find(|link| link.leaf == leaf.name());
    let peer = peer.ok_or_else(|| anyhow!("{} is not on {}", member.name, leaf.name()))?;
    let command = format!("show bgp {} unicast neighbors {} received-routes json", family.frr(), peer.address);
    let answer = leaf.vtysh_json(&command)?;
    let mut told = BTreeMap::new();
    for (prefix, route) in answer["receivedRoutes"].as_object().into_iter().flatten() {
        let hop = route["nextHopGlobal"].as_str().or_else(|| route["nextHop"].as_str());
        told.insert(prefix.clone(), hop.unwrap_or_default().to_owned());
    }
    Ok(told)
}

/// The blocks in the store and whose they are, by etcd's own client on one of the masters.
pub fn blocks(lab: &Lab, master: &str) -> Result<Blocks> {
    let get = ["etcdctl", "get", "--prefix", "/calico/ipam/v2/assignment/", "--print-value-only"];
    let mut blocks = Blocks::new();
    for value in lab.node(master)?.exec(&get)?.lines().filter(|line| !line.trim().is_empty()) {
        let block: Value = serde_json::from_str(value).with_context(|| format!("a block: {value}"))?;
        let owner = block["affinity"].as_str().and_then(|affinity| affinity.strip_prefix("host:")).unwrap_or_default();
        let cidr = block["cidr"].as_str().ok_or_else(|| anyhow!("a block without cidr: {value}"))?;
        blocks.entry(owner.to_owned()).or_default().insert(cidr.to_owned());
    }
    Ok(blocks)
}

/// Waits until every worker has a block of each family and every switch has everything that the nodes announce, by the
/// right paths; returns the blocks.
pub fn wait_settled(lab: &Lab, within: Duration) -> Result<Blocks> {
    let settled = || -> Result<Blocks> {
        let blocks = blocks(lab, "master1")?;
        for member in members(Role::Worker) {
            let own = blocks.get(member.name);
            let has = |family| own.into_iter().flatten().any(|block| Family::of(block) == family);
            if !FAMILIES.into_iter().all(has) {
                return Err(anyhow!("{} has {own:?}", member.name));
            }
        }
        for switch in SPINES.iter().chain(&LEAVES) {
            check_switch(&lab.node(switch)?, &blocks)?;
        }
        Ok(blocks)
    };
    eventually(within, "the fabric is settled", settled)
}

/// Whether a switch has everything that the nodes own, by the paths of its place, and nothing else of theirs.
pub fn check_switch(switch: &NodeHandle, blocks: &Blocks) -> Result<()> {
    for family in FAMILIES {
        check_owned(switch, family, &owners(family, blocks))?;
    }
    Ok(())
}

/// Whether a switch has each of these prefixes by the paths of its place, and nothing else of any node.
pub fn check_owned(switch: &NodeHandle, family: Family, owners: &BTreeMap<String, Vec<&Member>>) -> Result<()> {
    check_table(switch.name(), &table(switch, family)?, owners).map_err(|wrong| anyhow!("{}: {wrong}", switch.name()))
}

fn check_table(switch: &str, table: &Table, owners: &BTreeMap<String, Vec<&Member>>) -> Result<(), String> {
    let is_node = |asn: &u32| *asn >= 4_200_000_000;
    for (prefix, paths) in table {
        for path in paths.iter().filter(|path| path.as_path.iter().any(is_node)) {
            let last = path.as_path.last().copied().unwrap_or_default();
            let owns = owners.get(prefix).is_some_and(|owners| owners.iter().any(|owner| owner.asn() == last));
            check(owns, format!("{prefix} is not of AS {last}: {path:?}"))?;
            let nodes = path.as_path.iter().filter(|asn| is_node(asn)).count();
            check(nodes == 1, format!("{prefix} goes through a node: {path:?}"))?;
        }
    }
    for (prefix, owners) in owners {
        check_paths(switch, prefix, table.get(prefix).map(Vec::as_slice).unwrap_or_default(), owners)?;
    }
    Ok(())
}

/// Whether a switch has this prefix from these members by the paths of its place.
pub fn check_owners(switch: &NodeHandle, prefix: &str, owners: &[&Member]) -> Result<()> {
    let paths = paths(switch, prefix)?;
    check_paths(switch.name(), prefix, &paths, owners).map_err(|wrong| anyhow!("{}: {wrong}", switch.name()))
}

fn check_paths(switch: &str, prefix: &str, paths: &[BgpPath], owners: &[&Member]) -> Result<(), String> {
    let used: Vec<&BgpPath> = paths.iter().filter(|path| path.used).collect();
    let (allowed, count) = positions(switch, owners);
    let peers: BTreeSet<&str> = used.iter().map(|path| path.peer.as_str()).collect();
    let right = used.iter().all(|path| allowed.contains(&path.as_path));
    check(
        right && used.len() == count && peers.len() == count,
        format!("{prefix}: {count} of {allowed:?} expected, but: {paths:?}"),
    )
}

/// The origin ASes of the used paths, sorted: who a switch sends packets for this prefix to.
pub fn origins(switch: &NodeHandle, prefix: &str) -> Result<Vec<u32>> {
    let used = paths(switch, prefix)?.into_iter().filter(|path| path.used);
    let mut origins: Vec<u32> = used.filter_map(|path| path.as_path.last().copied()).collect();
    origins.sort_unstable();
    Ok(origins)
}

/// All prefixes of a family in a switch's BGP table, sorted as text.
pub fn prefixes(switch: &NodeHandle, family: &str) -> Result<Vec<String>> {
    let table = switch.vtysh_json(&format!("show bgp {family} unicast json"))?;
    let mut prefixes: Vec<String> = table["routes"].as_object().into_iter().flat_map(|r| r.keys().cloned()).collect();
    prefixes.sort();
    Ok(prefixes)
}

/// The gateways a node's kernel has for exactly this prefix in its main table, sorted; none where it has no such route.
pub fn gateways(node: &NodeHandle, prefix: &str) -> Result<Vec<String>> {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let routes = node.ip_json(&[family, "route", "show", "exact", prefix])?;
    let routes = routes.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut gateways: Vec<String> = routes.iter().flat_map(gateways_of).collect();
    gateways.sort();
    Ok(gateways)
}

/// The gateways of a route as `ip -json` shows it, sorted.
pub fn gateways_of(route: &Value) -> Vec<String> {
    let hops = route["nexthops"].as_array().map_or_else(|| vec![route], |hops| hops.iter().collect());
    let of = |hop: &Value| hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str()).map(str::to_owned);
    let mut gateways: Vec<String> = hops.into_iter().filter_map(of).collect();
    gateways.sort();
    gateways
}
